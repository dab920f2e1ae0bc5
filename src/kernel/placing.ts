/**
 * Where a request goes, from the survey to the booking, and what its end teaches. Choosing touches
 * nothing; one method books.
 */
import { assert, must } from '../base/assert.ts';
import type { Prng } from '../base/prng.ts';
import { RunningMean } from '../base/running-mean.ts';
import type { RequestId } from '../model/ids.ts';
import type { Candidate, Decision } from '../model/kernel-io.ts';
import type { Book, Booking } from './book.ts';
import type { Confidence } from './confidence.ts';
import type { ExactIndex } from './index/exact.ts';
import type { PredictedIndex } from './index/predicted.ts';
import { type Policy, type Seen, seenAs } from './policy.ts';
import type { Waiter } from './queue/waiting.ts';
import { learn } from './route/learning.ts';
import type { Replicator } from './route/replicate.ts';
import { shortlist } from './route/shortlist.ts';
import { Survey } from './route/survey.ts';
import type { Thread, Threads } from './session/threads.ts';
import type { Underway } from './underway.ts';
import type { Workers } from './workers.ts';

export interface PlacingParts {
  workers: Workers;
  book: Book;
  exact: ExactIndex;
  predicted: PredictedIndex;
  confidence: Confidence;
  underway: Underway;
  threads: Threads;
  replicator: Replicator;
  rng: Prng;
}

/** A request that runs, beside its booking. */
interface Running {
  waiter: Waiter;
  thread: Thread | undefined;
  /** It began when a copy had come, not when it was placed. */
  awaits: boolean;
}

/** Running means look back so many requests. */
const MEMORY = 50;

export class Placing {
  readonly #parts: PlacingParts;
  readonly #survey: Survey;
  readonly #running = new Map<RequestId, Running>();
  readonly #outputTokens: RunningMean;
  readonly #prefillUs = new RunningMean({ memory: MEMORY, prior: 0 });
  readonly #seen: Seen[] = [];
  policy: Policy;

  constructor(
    parts: PlacingParts,
    given: { policy: Policy; requestsPerSlotMax: number; outputTokensExpected: number },
  ) {
    this.#parts = parts;
    this.policy = given.policy;
    const { requestsPerSlotMax } = given;
    // Its own stream: how many workers there are shifts no policy's draws.
    const rng = parts.rng.fork('survey');
    this.#survey = new Survey({ ...parts, rng, requestsPerSlotMax });
    this.#outputTokens = new RunningMean({ memory: MEMORY, prior: given.outputTokensExpected });
  }

  get running(): number {
    return this.#running.size;
  }

  /** Undefined where nobody has room for it. */
  place(nowUs: number, waiter: Waiter): Decision | undefined {
    const { request } = waiter;
    const typical = { outputTokens: this.#outputTokens.mean, prefillUs: this.#prefillUs.mean };
    const able = this.#survey.able(nowUs, waiter, typical);
    if (able.length === 0) return undefined;
    const { policy } = this;
    const seen = this.#seen;
    seen.length = 0;
    for (const { worker, load, candidate } of able) {
      seen.push(seenAs(policy, worker, { requests: load.requests, candidate }));
    }
    const chosen = policy.choose(request, seen, this.#parts.rng);
    const state = able.find(({ worker }) => worker.id === chosen);
    this.#reserve(nowUs, waiter, must(state, 'a policy chooses among those it sees').candidate);
    return {
      policy: policy.name,
      chosen,
      candidates: shortlist(able, chosen),
      eligible: able.length,
      queuedUs: nowUs - waiter.arrivedUs,
      attempt: waiter.attempt,
    };
  }

  /** What was placed came to an end; undefined where it had before. `outputTokens` 0: of no use. */
  ended(
    nowUs: number,
    request: RequestId,
    answer: { outputTokens: number; cachedTokens: number | undefined } | undefined,
  ): { booking: Booking; waiter: Waiter } | undefined {
    const { book, confidence, underway, threads } = this.#parts;
    const released = book.release(nowUs, request);
    const running = this.#running.get(request);
    this.#running.delete(request);
    confidence.dropped(request);
    underway.dropped(request);
    if (running?.thread !== undefined) {
      threads.ended(nowUs, running.thread, answer?.outputTokens ?? 0);
    }
    if (released === undefined || running === undefined) return undefined;
    const { booking, end } = released;
    const state = this.#parts.workers.get(booking.worker);
    if (answer !== undefined) {
      this.#outputTokens.add(answer.outputTokens);
      // Exact events say as well as the engine itself what was cached.
      const believed = state?.mode === 'exact' ? booking.matchedTokens : undefined;
      const cachedTokens = running.awaits ? undefined : (answer.cachedTokens ?? believed);
      const { outputTokens } = answer;
      const slots = state?.worker.slots ?? 0;
      if (state !== undefined) {
        learn(state.curve, { booking, end, outputTokens, cachedTokens, slots });
      }
    }
    return { booking, waiter: running.waiter };
  }

  check(): void {
    assert(this.#running.size === this.#parts.book.size, 'each running request is booked');
  }

  #reserve(nowUs: number, waiter: Waiter, candidate: Candidate): void {
    const { workers, book, confidence, underway, threads, predicted } = this.#parts;
    const { request } = waiter;
    const { id, promptTokens, hashes } = request;
    const { worker, matchedTokens, hostTokens, diskTokens, terms } = candidate;
    confidence.placed(nowUs, request, candidate);
    underway.started(id, worker, hashes);
    const prefillUs = terms.prefill + terms.fetch;
    this.#prefillUs.add(prefillUs);
    book.reserve(nowUs, {
      ...{ request: id, worker, prefillUs },
      ...{ promptTokens, matchedTokens, hostTokens, diskTokens },
    });
    const thread = threads.of(request);
    if (thread !== undefined) threads.placed(thread, worker, { promptTokens, matchedTokens });
    this.#running.set(id, { waiter, thread, awaits: candidate.awaits !== undefined });
    if (candidate.mode !== 'exact') {
      const { cacheTokens, blockTokens } = must(workers.get(worker), 'it was surveyed').worker;
      predicted.placed(nowUs, worker, hashes, Math.floor(cacheTokens / blockTokens));
    }
    this.policy.placed?.(request, worker);
  }
}
