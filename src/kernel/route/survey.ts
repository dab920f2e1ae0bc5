/**
 * Who could take a request now, and at what price. Touches nothing but the candidates it hands out:
 * each worker has one, written anew by every survey, so a decision over many workers makes no garbage.
 * Whoever keeps a candidate copies it.
 *
 * Beyond `SURVEYED_MAX` workers not all are asked, but those where it matters: the thread's home, those that
 * hold most of the prompt, and `SAMPLE` others at random. That none of the best fiftieth is among 256
 * happens in 6 of 1,000 decisions, and then the next best is taken.
 */
import { must } from '../../base/assert.ts';
import type { Prng } from '../../base/prng.ts';
import type { WorkerId } from '../../model/ids.ts';
import type { Arrival, WorkerWants } from '../../model/kernel-io.ts';
import type { Worker } from '../../model/worker.ts';
import type { ExactIndex } from '../index/exact.ts';
import { type Overlap, overlapOf } from '../index/overlap.ts';
import type { PredictedIndex } from '../index/predicted.ts';
import type { Waiter } from '../queue/waiting.ts';
import type { Threads } from '../session/threads.ts';
import type { Underway } from '../underway.ts';
import type { WorkerState, Workers } from '../workers.ts';
import { blankCandidate } from './candidate.ts';
import { type Held, Pricing, type Stage, WHOLE } from './cost.ts';
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

/** In larger fleets only some workers are priced for each request. */
export const SURVEYED_MAX = 1024;
const SAMPLE = 256;
const DEEPEST = 16;

/** What is looked up once for all workers, and valid until the next look. */
interface Look {
  request: Arrival;
  overlap: Overlap;
  underway: ReadonlyMap<WorkerId, number>;
  /** Leading blocks of the prompt that can be found in a cache: the last token is always computed. */
  usable: number;
  pricing: Pricing;
}

/** What requests are like lately. */
export interface Typical {
  outputTokens: number;
  prefillUs: number;
}

export class Survey {
  readonly #parts: SurveyParts;
  readonly #able: WorkerState[] = [];
  readonly #asked = new Set<WorkerState>();
  readonly #held: Held = { device: 0, host: 0, disk: 0 };
  readonly #scratch = blankCandidate('' as WorkerId);
  #last: Look | undefined;

  constructor(parts: SurveyParts) {
    this.#parts = parts;
  }

  /** Each with its candidate written; valid until the next survey; in the order the workers joined. */
  able(nowUs: number, waiter: Waiter, typical: Typical): readonly WorkerState[] {
    const { request } = waiter;
    const overlap = overlapOf(nowUs, request.hashes, this.#parts);
    this.#findAble(waiter);
    if (this.#able.length === 0) return this.#able;
    const look = this.#look(nowUs, { waiter, typical, overlap });
    const arriving = this.#parts.replicator.arriving(nowUs, request.hashes);
    const { pricing, usable } = look;
    const { blockTokens } = request;
    for (const state of this.#able) {
      const { mode, candidate } = state;
      const held = this.#heldBy(state, look);
      candidate.mode = mode;
      const giver = this.giverFor(waiter, state.worker);
      pricing.write(state, held, candidate, giver === undefined ? WHOLE : this.#answerOn(state));
      if (candidate.awaits !== undefined) candidate.awaits = undefined;
      const copy = mode === 'exact' ? arriving.get(candidate.worker) : undefined;
      if (copy === undefined || giver !== undefined) continue;
      const tokens = Math.min(copy.blocks, usable) * blockTokens;
      const known = overlap.matched(candidate.worker, mode)?.disk ?? 0;
      if (tokens > held.disk) priceArriving(pricing, state, { held, copy, tokens });
      // Those who would share it with it wait for it themselves: their time is in `waiting`.
      else if (tokens > known * blockTokens) candidate.awaits = copy.move;
    }
    this.#last = look;
    return this.#able;
  }

  /**
   * Who should compute the prompt for one of the `able`, its candidate written; undefined where the
   * cheapest of those had better compute it itself. Only workers that compute nothing but prompts are
   * asked, so a short tail stays with whoever holds the rest. To be asked right after `able`.
   */
  first({ request, excluded }: Waiter): WorkerState | undefined {
    const look = must(this.#last, 'workers were surveyed before');
    const { pricing } = look;
    let first: WorkerState | undefined;
    for (const state of this.#parts.workers.serving(request.model)) {
      if (excluded.has(state.worker.id) || !this.#isPrefiller(request, state)) continue;
      const { candidate } = state;
      candidate.mode = state.mode;
      pricing.write(state, this.#heldBy(state, look), candidate, PREFILL);
      if (first === undefined || candidate.totalUs < first.candidate.totalUs) first = state;
    }
    if (first === undefined) return undefined;
    let wholeUs = Number.POSITIVE_INFINITY;
    let answerUs = Number.POSITIVE_INFINITY;
    for (const state of this.#able) {
      wholeUs = Math.min(wholeUs, state.candidate.totalUs);
      if (!canMove(first.worker, state.worker)) continue;
      pricing.write(state, this.#heldBy(state, look), this.#scratch, this.#answerOn(state));
      answerUs = Math.min(answerUs, this.#scratch.totalUs);
    }
    return first.candidate.totalUs + answerUs < wholeUs ? first : undefined;
  }

  /** Whoever computed the prompt and can give its KV there; if they left since, it is computed anew. */
  giverFor({ prefilledOn }: Waiter, worker: Worker): WorkerState | undefined {
    const giver = prefilledOn === undefined ? undefined : this.#parts.workers.get(prefilledOn);
    return giver !== undefined && canMove(giver.worker, worker) ? giver : undefined;
  }

  #look(nowUs: number, given: { waiter: Waiter; typical: Typical; overlap: Overlap }): Look {
    const { waiter, typical, overlap } = given;
    const { request } = waiter;
    const { curve } = this.#able[0];
    const { promptTokens, blockTokens } = request;
    // The engine always computes the last token: somebody has to make its logits.
    const usable = Math.max(0, Math.floor((promptTokens - 1) / blockTokens));
    const pricing = new Pricing({
      nowUs,
      promptTokens,
      usableTokens: usable * blockTokens,
      outputTokens: Math.min(typical.outputTokens, request.outputTokensMax),
      seat: this.#seatOf(waiter),
      pace: this.#parts.threads.pace(),
      prefillUsMean: typical.prefillUs,
      caution: this.#able.some((state) => state.curve !== curve) ? this.#parts.rng.next() : 1,
    });
    const underway = this.#parts.underway.depths(nowUs, request.hashes);
    return { request, overlap, underway, usable, pricing };
  }

  /** The same object at each call. */
  #heldBy({ worker, mode }: WorkerState, look: Look): Held {
    const { request, overlap, underway, usable } = look;
    const held = this.#held;
    const known = overlap.matched(worker.id, mode);
    // What is being computed lies in device memory.
    const computing = mode === 'exact' ? (underway.get(worker.id) ?? 0) : 0;
    const device = Math.max(known?.device ?? 0, computing);
    const host = Math.max(known?.host ?? 0, device);
    held.device = Math.min(device, usable) * request.blockTokens;
    held.host = Math.min(host, usable) * request.blockTokens;
    held.disk = Math.min(Math.max(known?.disk ?? 0, host), usable) * request.blockTokens;
    return held;
  }

  #answerOn({ worker }: WorkerState): Stage {
    const { replicator } = this.#parts;
    return { kind: 'decode', transferUs: (tokens) => replicator.transferUs(worker, tokens) };
  }

  #isPrefiller(request: Arrival, state: WorkerState): boolean {
    if (state.worker.rules?.role !== 'prefill' || !this.#hasRoom(state)) return false;
    const wants = { ...(request.wants ?? NO_WANTS), role: 'prefill' as const };
    return obstacle({ ...request, wants }, state) === undefined;
  }

  #hasRoom({ worker, load }: WorkerState): boolean {
    const { requestsPerSlotMax } = this.#parts;
    return load.requests < Math.min(worker.requestsMax, worker.slots * requestsPerSlotMax);
  }

  /** With room, and not tried before; whoever failed it is asked again where there is nobody else. */
  #findAble(waiter: Waiter): void {
    const { workers } = this.#parts;
    const { request, excluded } = waiter;
    const able = this.#able;
    const all = workers.serving(request.model);
    // Where some serve only some, a sample may miss the few that serve this one.
    const isChoosy = request.wants !== undefined || workers.hasRules(request.model);
    if (all.length > SURVEYED_MAX && !isChoosy) this.#keepAble(waiter, this.#sample(waiter, all));
    else able.length = 0;
    if (able.length === 0) this.#keepAble(waiter, all);
    if (excluded.size === 0) return;
    const untried = able.filter((state) => !excluded.has(state.worker.id));
    if (untried.length === 0) return;
    able.length = 0;
    able.push(...untried);
  }

  #keepAble({ request }: Waiter, states: Iterable<WorkerState>): void {
    this.#able.length = 0;
    for (const state of states) {
      if (this.#hasRoom(state) && obstacle(request, state) === undefined) this.#able.push(state);
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

const PREFILL: Stage = { kind: 'prefill' };
const NO_WANTS: WorkerWants = { tolerations: [], labels: [] };

/** Whether KV of one is any use to the other. */
function canMove(from: Worker, to: Worker): boolean {
  return to.kvLayout !== undefined && to.kvLayout === from.kvLayout;
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
