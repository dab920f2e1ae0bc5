/** Who could take a request now, and at what price. Touches nothing. */
import type { Arrival, Candidate } from '../../model/kernel-io.ts';
import type { Book } from '../book.ts';
import type { ExactIndex } from '../index/exact.ts';
import { overlapOf } from '../index/overlap.ts';
import type { PredictedIndex } from '../index/predicted.ts';
import type { Waiter } from '../queue/waiting.ts';
import type { Threads } from '../session/threads.ts';
import type { WorkerState, Workers } from '../workers.ts';
import { priceOf } from './cost.ts';
import { eligible } from './filter.ts';

export interface SurveyParts {
  workers: Workers;
  book: Book;
  exact: ExactIndex;
  predicted: PredictedIndex;
  threads: Threads;
  requestsPerSlotMax: number;
}

export class Survey {
  readonly #parts: SurveyParts;

  constructor(parts: SurveyParts) {
    this.#parts = parts;
  }

  candidates(nowUs: number, waiter: Waiter, outputTokensExpected: number): Candidate[] {
    const { request } = waiter;
    const able = this.#able(waiter);
    if (able.length === 0) return [];
    const overlap = overlapOf(nowUs, request.hashes, this.#parts);
    // The engine always computes the last token: somebody has to make its logits.
    const usable = Math.max(0, Math.floor((request.promptTokens - 1) / request.blockTokens));
    return able.map((state) => {
      const blocks = overlap.blocks(state.worker.id, state.mode);
      const matchedTokens = Math.min(blocks, usable) * request.blockTokens;
      return this.#price(nowUs, request, state, { matchedTokens, outputTokensExpected });
    });
  }

  /** With room, and not tried before; whoever failed it is asked again where there is nobody else. */
  #able(waiter: Waiter): WorkerState[] {
    const { workers, book, requestsPerSlotMax } = this.#parts;
    const withRoom = eligible(waiter.request, workers.values()).filter(
      ({ worker: { id, slots, requestsMax } }) =>
        book.count(id) < Math.min(requestsMax, slots * requestsPerSlotMax),
    );
    const untried = withRoom.filter(({ worker }) => !waiter.excluded.has(worker.id));
    return untried.length > 0 ? untried : withRoom;
  }

  #price(
    nowUs: number,
    request: Arrival,
    { worker, mode }: WorkerState,
    given: { matchedTokens: number; outputTokensExpected: number },
  ): Candidate {
    const { book, threads } = this.#parts;
    const { matchedTokens } = given;
    const live = threads.live(nowUs, worker.id, threads.of(request));
    const price = priceOf(request, {
      worker,
      load: book.load(nowUs, worker.id),
      outputs: book.outputs(worker.id),
      matchedTokens,
      live,
      outputTokensExpected: Math.min(given.outputTokensExpected, request.outputTokensMax),
    });
    return { worker: worker.id, mode, matchedTokens, liveTokens: live.tokens, ...price };
  }
}
