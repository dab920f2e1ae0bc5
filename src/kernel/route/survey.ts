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
import type { Arrival, PrefillStage, WorkerWants } from '../../model/kernel-io.ts';
import type { Worker } from '../../model/worker.ts';
import type { ExactIndex } from '../index/exact.ts';
import { type Overlap, overlapOf } from '../index/overlap.ts';
import type { PredictedIndex } from '../index/predicted.ts';
import type { Waiter } from '../queue/waiting.ts';
import type { Threads } from '../session/threads.ts';
import type { Underway } from '../underway.ts';
import { isPrefiller, type WorkerState, type Workers } from '../workers.ts';
import { blankCandidate } from './candidate.ts';
import { type Held, Pricing, type Stage, WHOLE } from './cost.ts';
import { obstacle } from './filter.ts';
import type { Giver, Moves } from './moves.ts';

export interface SurveyParts {
  workers: Workers;
  exact: ExactIndex;
  predicted: PredictedIndex;
  threads: Threads;
  underway: Underway;
  moves: Moves;
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

/** Who computes a prompt for another, and for whom as things stand. */
export interface First {
  state: WorkerState;
  next: PrefillStage['next'];
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
  /** Of the prompt surveyed last. */
  #holder: Giver | undefined;

  constructor(parts: SurveyParts) {
    this.#parts = parts;
  }

  /**
   * Each with its candidate written; valid until the next survey; in the order the workers joined.
   * `among`: nobody but these; undefined: anybody. `movesKv`: what the holder has of the prompt can be
   * copied to others.
   */
  able(
    nowUs: number,
    waiter: Waiter,
    typical: Typical,
    { among, movesKv }: { among?: ReadonlySet<WorkerId> | undefined; movesKv?: true | undefined },
  ): readonly WorkerState[] {
    const { request } = waiter;
    const overlap = overlapOf(nowUs, request.hashes, this.#parts);
    this.#findAble(waiter, among);
    if (this.#able.length === 0) return this.#able;
    const look = this.#look(nowUs, { waiter, typical, overlap });
    const { moves } = this.#parts;
    const arriving = moves.arriving(nowUs, request.hashes);
    const holder = request.whenIdle || !movesKv ? undefined : moves.giver(nowUs, request);
    this.#holder = holder;
    const { pricing, usable } = look;
    const { blockTokens } = request;
    for (const state of this.#able) {
      const { mode, candidate } = state;
      const held = this.#heldBy(state, look);
      candidate.mode = mode;
      const giver = this.giverFor(waiter, state.worker);
      pricing.write(state, held, candidate, giver === undefined ? WHOLE : this.#answerOn(state));
      if (candidate.awaits !== undefined) candidate.awaits = undefined;
      if (candidate.brings !== undefined) candidate.brings = undefined;
      if (giver !== undefined || mode !== 'exact') continue;
      const copy = arriving.get(candidate.worker);
      if (copy === undefined) {
        if (holder !== undefined) this.#priceBrought(nowUs, look, { state, held, holder });
        continue;
      }
      const tokens = Math.min(copy.blocks, usable) * blockTokens;
      const known = overlap.matched(candidate.worker, mode)?.disk ?? 0;
      if (tokens > held.disk) {
        const isCheaper = priceArriving(pricing, state, { held, leftUs: copy.leftUs, tokens });
        if (isCheaper) candidate.awaits = copy.move;
      }
      // Those who would share it with it wait for it themselves: their time is in `waiting`.
      else if (tokens > known * blockTokens) candidate.awaits = copy.move;
    }
    this.#last = look;
    return this.#able;
  }

  /** Who gives what a candidate `brings`, and how many tokens of it lie there already. */
  bringing(to: WorkerState): { giver: Giver; heldTokens: number } {
    const giver = must(this.#holder, 'whoever brings KV has it from somebody');
    const { disk } = this.#heldBy(to, must(this.#last, 'workers were surveyed before'));
    return { giver, heldTokens: disk };
  }

  /**
   * Who should compute the prompt for one of the `able`, its candidate written; undefined where the
   * cheapest of those had better compute it itself. Only workers that compute nothing but prompts are
   * asked, so a short tail stays with whoever holds the rest. To be asked right after `able`.
   */
  first({ request, excluded }: Waiter): First | undefined {
    // A prompt alone needs no second stage.
    if (request.outputTokensMax <= 1 || !this.#parts.workers.hasRules(request.model))
      return undefined;
    const look = must(this.#last, 'workers were surveyed before');
    const { pricing } = look;
    let first: WorkerState | undefined;
    for (const state of this.#parts.workers.serving(request.model)) {
      if (excluded.has(state.worker.id) || !this.#computesFor(request, state)) continue;
      const { candidate } = state;
      candidate.mode = state.mode;
      pricing.write(state, this.#heldBy(state, look), candidate, PREFILL);
      if (first === undefined || candidate.totalUs < first.candidate.totalUs) first = state;
    }
    if (first === undefined) return undefined;
    let wholeUs = Number.POSITIVE_INFINITY;
    let answerUs = Number.POSITIVE_INFINITY;
    let next: First['next'] | undefined;
    for (const state of this.#able) {
      wholeUs = Math.min(wholeUs, state.candidate.totalUs);
      if (state === first || !canGive(request, first.worker, state.worker)) continue;
      const held = this.#heldBy(state, look);
      pricing.write(state, held, this.#scratch, this.#answerOn(state));
      if (this.#scratch.totalUs >= answerUs) continue;
      answerUs = this.#scratch.totalUs;
      next = { worker: state.worker.id, heldTokens: held.disk };
    }
    if (next === undefined || first.candidate.totalUs + answerUs >= wholeUs) return undefined;
    return { state: first, next };
  }

  /** Whoever computed the prompt and can give its KV there; if they left since, it is computed anew. */
  giverFor({ request, prefilledOn }: Waiter, worker: Worker): WorkerState | undefined {
    const giver = prefilledOn === undefined ? undefined : this.#parts.workers.get(prefilledOn);
    if (giver === undefined || giver.worker.id === worker.id) return undefined;
    return canGive(request, giver.worker, worker) ? giver : undefined;
  }

  /** With what the holder has of it, where copying that is quicker than computing it. */
  #priceBrought(
    nowUs: number,
    { usable, request, pricing }: Look,
    { state, held, holder }: { state: WorkerState; held: Held; holder: Giver },
  ): void {
    const { moves } = this.#parts;
    const tokens = Math.min(holder.blocks, usable) * request.blockTokens;
    if (tokens <= held.disk || !moves.takes(nowUs, state, { giver: holder, tokens })) return;
    const leftUs = moves.transferUs(state.worker, tokens - held.disk);
    // Whoever runs at either end is held up by it.
    const delayUs = leftUs * (state.live.running + holder.state.live.running);
    const isCheaper = priceArriving(pricing, state, { held, leftUs, tokens, delayUs });
    if (isCheaper) state.candidate.brings = holder.state.worker.id;
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
      pace: this.#parts.threads.pace(nowUs),
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
    const { moves } = this.#parts;
    return { kind: 'decode', transferUs: (tokens) => moves.transferUs(worker, tokens) };
  }

  #computesFor(request: Arrival, state: WorkerState): boolean {
    if (!isPrefiller(state) || !this.hasRoom(state)) return false;
    const wants = { ...(request.wants ?? NO_WANTS), role: 'prefill' as const };
    return obstacle({ ...request, wants }, state) === undefined;
  }

  /** For one more, whatever it is. */
  hasRoom({ worker, load }: WorkerState): boolean {
    const { requestsPerSlotMax } = this.#parts;
    return load.requests < Math.min(worker.requestsMax, worker.slots * requestsPerSlotMax);
  }

  /** With room, and not tried before; whoever failed it is asked again where there is nobody else. */
  #findAble(waiter: Waiter, among: ReadonlySet<WorkerId> | undefined): void {
    const { workers } = this.#parts;
    const { request, excluded } = waiter;
    const able = this.#able;
    const all = workers.serving(request.model);
    // Where some serve only some, a sample may miss the few that serve this one.
    const isChoosy = request.wants !== undefined || workers.hasRules(request.model);
    const isFew = among !== undefined && among.size <= SURVEYED_MAX;
    if (all.length > SURVEYED_MAX && !isChoosy && !isFew) {
      this.#keepAble(waiter, this.#sample(waiter, all), among);
    } else able.length = 0;
    if (able.length === 0) this.#keepAble(waiter, all, among);
    if (excluded.size === 0) return;
    const untried = able.filter((state) => !excluded.has(state.worker.id));
    if (untried.length === 0) return;
    able.length = 0;
    able.push(...untried);
  }

  #keepAble(
    { request }: Waiter,
    states: Iterable<WorkerState>,
    among: ReadonlySet<WorkerId> | undefined,
  ): void {
    this.#able.length = 0;
    for (const state of states) {
      if (among?.has(state.worker.id) === false) continue;
      if (this.hasRoom(state) && obstacle(request, state) === undefined) this.#able.push(state);
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

/** Whether one can answer a prompt that the other computed: KV is moved by the names of its blocks. */
function canGive({ hashes }: Arrival, from: Worker, to: Worker): boolean {
  if (from.handoff !== undefined && from.handoff === to.handoff) return true;
  return hashes.length > 0 && to.kvLayout !== undefined && to.kvLayout === from.kvLayout;
}

/** With a copy that is there in `leftUs`, where that is quicker than doing without: then true. */
function priceArriving(
  pricing: Pricing,
  state: WorkerState,
  copy: { held: Held; leftUs: number; tokens: number; delayUs?: number },
): boolean {
  const { candidate } = state;
  const { held, tokens } = copy;
  const withoutUs = candidate.totalUs;
  const waitUs = Math.round(copy.leftUs);
  const delayUs = Math.round(copy.delayUs ?? 0);
  pricing.write(state, { device: held.device, host: tokens, disk: tokens }, candidate);
  if (candidate.totalUs + waitUs + delayUs >= withoutUs) {
    pricing.write(state, held, candidate);
    return false;
  }
  candidate.terms.fetch += waitUs;
  candidate.terms.delay += delayUs;
  candidate.totalUs += waitUs + delayUs;
  return true;
}
