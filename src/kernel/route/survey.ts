/**
 * Who could take a request now, and at what price. Touches nothing but the candidates it hands out:
 * each worker has one, written anew by every survey, so a decision over many workers makes no garbage.
 * Whoever keeps a candidate copies it.
 *
 * Beyond `ALL_MAX` workers not all are asked, but those where it matters: the thread's home, those that
 * hold most of the prompt, and `SAMPLE` others at random. That none of the best fiftieth is among 256
 * happens in 6 of 1,000 decisions, and then the next best is taken.
 */
import type { Prng } from '../../base/prng.ts';
import type { ExactIndex } from '../index/exact.ts';
import { overlapOf } from '../index/overlap.ts';
import type { PredictedIndex } from '../index/predicted.ts';
import type { Waiter } from '../queue/waiting.ts';
import type { Threads } from '../session/threads.ts';
import type { Underway } from '../underway.ts';
import type { WorkerState, Workers } from '../workers.ts';
import { type Held, Pricing } from './cost.ts';
import { obstacle } from './filter.ts';
import type { Arriving, Replicator } from './replicate.ts';

export interface SurveyParts {
  workers: Workers;
  exact: ExactIndex;
  predicted: PredictedIndex;
  threads: Threads;
  underway: Underway;
  replicator: Replicator;
  rng: Prng;
  requestsPerSlotMax: number;
}

const ALL_MAX = 1024;
const SAMPLE = 256;
const DEEPEST = 16;

/** What requests are like lately. */
export interface Typical {
  outputTokens: number;
  prefillUs: number;
}

export class Survey {
  readonly #parts: SurveyParts;
  readonly #able: WorkerState[] = [];
  readonly #asked = new Set<WorkerState>();

  constructor(parts: SurveyParts) {
    this.#parts = parts;
  }

  /** Each with its candidate written; valid until the next survey; in the order the workers joined. */
  able(nowUs: number, waiter: Waiter, typical: Typical): readonly WorkerState[] {
    const { request } = waiter;
    const overlap = overlapOf(nowUs, request.hashes, this.#parts);
    this.#findAble(waiter);
    if (this.#able.length === 0) return this.#able;
    const { curve } = this.#able[0];
    const pricing = new Pricing({
      nowUs,
      promptTokens: request.promptTokens,
      outputTokens: Math.min(typical.outputTokens, request.outputTokensMax),
      seat: this.#seatOf(waiter),
      pace: this.#parts.threads.pace(),
      prefillUsMean: typical.prefillUs,
      caution: this.#able.some((state) => state.curve !== curve) ? this.#parts.rng.next() : 1,
    });
    const underway = this.#parts.underway.depths(nowUs, request.hashes);
    const arriving = this.#parts.replicator.arriving(nowUs, request.hashes);
    const { blockTokens } = request;
    // The engine always computes the last token: somebody has to make its logits.
    const usable = Math.max(0, Math.floor((request.promptTokens - 1) / blockTokens));
    const held: Held = { device: 0, host: 0, disk: 0 };
    for (const state of this.#able) {
      const { mode, candidate } = state;
      const known = overlap.matched(candidate.worker, mode);
      // What is being computed lies in device memory.
      const computing = mode === 'exact' ? (underway.get(candidate.worker) ?? 0) : 0;
      const device = Math.max(known?.device ?? 0, computing);
      const host = Math.max(known?.host ?? 0, device);
      held.device = Math.min(device, usable) * blockTokens;
      held.host = Math.min(host, usable) * blockTokens;
      held.disk = Math.min(Math.max(known?.disk ?? 0, host), usable) * blockTokens;
      candidate.mode = mode;
      pricing.write(state, held, candidate);
      if (candidate.awaits !== undefined) candidate.awaits = undefined;
      const copy = mode === 'exact' ? arriving.get(candidate.worker) : undefined;
      if (copy === undefined) continue;
      const tokens = Math.min(copy.blocks, usable) * blockTokens;
      if (tokens > held.disk) priceArriving(pricing, state, { held, copy, tokens });
      // Those who would share it with it wait for it themselves: their time is in `waiting`.
      else if (tokens > (known?.disk ?? 0) * blockTokens) candidate.awaits = copy.move;
    }
    return this.#able;
  }

  /** With room, and not tried before; whoever failed it is asked again where there is nobody else. */
  #findAble(waiter: Waiter): void {
    const { workers } = this.#parts;
    const { request, excluded } = waiter;
    const able = this.#able;
    const all = workers.serving(request.model);
    // Where some serve only some, a sample may miss the few that serve this one.
    const isChoosy = request.wants !== undefined || workers.hasRules(request.model);
    if (all.length > ALL_MAX && !isChoosy) this.#keepAble(waiter, this.#sample(waiter, all));
    else able.length = 0;
    if (able.length === 0) this.#keepAble(waiter, all);
    if (excluded.size === 0) return;
    const untried = able.filter((state) => !excluded.has(state.worker.id));
    if (untried.length === 0) return;
    able.length = 0;
    able.push(...untried);
  }

  #keepAble({ request }: Waiter, states: Iterable<WorkerState>): void {
    const { requestsPerSlotMax } = this.#parts;
    this.#able.length = 0;
    for (const state of states) {
      const { worker, load } = state;
      if (load.requests >= Math.min(worker.requestsMax, worker.slots * requestsPerSlotMax))
        continue;
      if (obstacle(request, state) === undefined) this.#able.push(state);
    }
  }

  /** The prompt was looked up before. */
  #sample(waiter: Waiter, all: readonly WorkerState[]): Iterable<WorkerState> {
    const { workers, exact, rng } = this.#parts;
    const { model } = waiter.request;
    const asked = this.#asked;
    asked.clear();
    const home = this.#seatOf(waiter)?.worker;
    const known = exact.deepest(DEEPEST);
    if (home !== undefined) known.push(home);
    for (const id of known) {
      const state = workers.get(id);
      if (state?.worker.models.includes(model)) asked.add(state);
    }
    for (let i = 0; i < SAMPLE; i++) asked.add(rng.pick(all));
    return asked;
  }

  #seatOf({ request }: Waiter) {
    const { threads } = this.#parts;
    const thread = threads.of(request);
    const seat = thread && threads.seatOf(thread);
    return seat && { ...seat, runs: thread.running > 0 };
  }
}

/** Waits for a copy that is on its way there where that is quicker than doing without. */
function priceArriving(
  pricing: Pricing,
  state: WorkerState,
  { held, copy, tokens }: { held: Held; copy: Arriving; tokens: number },
): void {
  const { candidate } = state;
  const withoutUs = candidate.totalUs;
  const leftUs = Math.round(copy.leftUs);
  pricing.write(state, { device: held.device, host: tokens, disk: tokens }, candidate);
  if (candidate.totalUs + leftUs >= withoutUs) {
    pricing.write(state, held, candidate);
    return;
  }
  candidate.terms.fetch += leftUs;
  candidate.totalUs += leftUs;
  candidate.awaits = copy.move;
}
