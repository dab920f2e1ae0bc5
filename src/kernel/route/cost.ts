/**
 * The price of running a request on a worker: predicted microseconds of work, as named terms that add
 * up. No weights: each term is time that somebody really waits, now or at a later turn.
 *
 *   waiting    until its prefill can begin: prefill queued there, and a slot to become free
 *   prefill    of what is not cached there: what parting a thread from its KV costs is in here
 *   fetch      of what is cached, but in host memory or on disk, where that beats computing it
 *   decode     its answer: each step is longer with those that decode beside it, and prompts of the
 *              threads that sit there come in between
 *   delay      its prefill stops those who run there, and its answer makes each of their steps longer
 *   crowding   live context it pushes out of that cache: somebody computes it again at a later turn
 *   explore    never above 0: what the prefill may be cheaper by, where classes of workers compete, one
 *              of them is not well known yet, and it is its turn to be tried
 *
 * Who runs there is not who runs there now: threads that think will be back before a long answer ends,
 * and those that run will go. A thread is taken for a two-state process that alternates between running
 * and thinking; its expected activity over a stay of length D goes from its present state to its duty
 * at the rate both means give. Counting only those who run now moves threads back and forth between
 * workers that are equally loaded but for the moment; counting only who sits there ignores a queue.
 */
import type { Candidate } from '../../model/kernel-io.ts';
import type { PrefillCurve, Worker } from '../../model/worker.ts';
import type { Load } from '../book.ts';
import type { LiveThreads, Pace } from '../session/threads.ts';
import type { Curve, PrefillWork } from './curve.ts';

/** What is the same wherever the request runs. */
export interface Asked {
  nowUs: number;
  promptTokens: number;
  /** Of them, those that can be found in a cache: whole blocks, without the last token. */
  usableTokens: number;
  /** Output tokens its answer is expected to have. */
  outputTokens: number;
  /** Where its thread sits, what it counts for there and whether it runs something; if anywhere. */
  seat: { worker: Worker['id']; tokens: number; runs: boolean } | undefined;
  /** Of threads: how long they run and think. */
  pace: Pace;
  /** Mean predicted prefill of requests lately. */
  prefillUsMean: number;
  /** In [0, 1): classes with a larger share of doubt are given the benefit of it; 1: none is. */
  caution: number;
}

/** A worker as a price sees it. */
export interface Place {
  readonly worker: Worker;
  readonly load: Pick<Load, 'requests' | 'decoding' | 'prefillUsLeft' | 'outputTokens'>;
  readonly live: LiveThreads;
  readonly curve: Curve;
}

/**
 * What of a request is priced. `prefill`: its prompt alone, on a worker that computes nothing else.
 * `decode`: its answer, where the prompt was computed elsewhere: what a worker lacks of it is brought
 * there, which takes `transferUs` for so many tokens and counts as `fetch`.
 */
export type Stage =
  | { kind: 'whole' | 'prefill' }
  | { kind: 'decode'; transferUs: (tokens: number) => number };

export const WHOLE: Stage = { kind: 'whole' };

/** Leading prompt tokens held in device memory, there or in host memory, in any tier: ascending. */
export interface Held {
  device: number;
  host: number;
  disk: number;
}

/** Prices one request on many workers; allocates nothing for each of them. */
export class Pricing {
  readonly #asked: Asked;
  /** Share of its time that a thread runs. */
  readonly #duty: number;
  /** How fast the present is forgotten: 1 / (1 / service + 1 / gap). */
  readonly #relaxUs: number;
  readonly #cycleUs: number;
  readonly #work: PrefillWork;

  constructor(asked: Asked) {
    const { serviceUs, gapUs } = asked.pace;
    this.#asked = asked;
    this.#cycleUs = serviceUs + gapUs;
    // Before anything is known, threads are taken to be busy.
    this.#duty = this.#cycleUs > 0 ? serviceUs / this.#cycleUs : 1;
    this.#relaxUs = this.#cycleUs > 0 ? (serviceUs * gapUs) / this.#cycleUs : 0;
    this.#work = {
      uncachedTokens: 0,
      contextTokens: asked.promptTokens,
      hostTokens: 0,
      diskTokens: 0,
      decoding: 0,
    };
  }

  /** Writes matched tokens, terms and total of running at `place`. */
  write(place: Place, held: Held, into: Candidate, stage: Stage = WHOLE): void {
    const { nowUs, seat, caution } = this.#asked;
    const { worker, load, live, curve } = place;
    const outputTokens = stage.kind === 'prefill' ? 0 : this.#asked.outputTokens;
    const isHome = seat !== undefined && seat.worker === worker.id;
    const threads = isHome ? live.threads - 1 : live.threads;
    const running = isHome && seat.runs ? live.running - 1 : live.running;
    const liveTokens = isHome ? live.tokens - seat.tokens : live.tokens;
    // Requests of no thread run as long as they run: nobody knows whether they come back. Where only
    // prompts are computed, whoever came before is served before.
    const loose = stage.kind === 'prefill' ? 0 : Math.max(0, load.requests - live.running);

    const isBrought = stage.kind === 'decode';
    const work = isBrought ? this.#brought(held) : this.#cheapest(curve, held, load.decoding);
    const hostUs = curve.fetchUs(work);
    const prefillUs = curve.prefillUs(work) - hostUs;
    const broughtTokens = isBrought ? this.#asked.usableTokens - held.disk : 0;
    const fetchUs = hostUs + (isBrought ? stage.transferUs(broughtTokens) : 0);
    const waitingUs = load.prefillUsLeft(nowUs) + this.#untilSlot(place);
    const readyUs = waitingUs + prefillUs + fetchUs;
    const alone = curve.stepUs(1, 0);
    const stayUs = readyUs + outputTokens * alone;
    const active = loose + this.#active(threads, running, readyUs);
    const company = loose + this.#active(threads, running, stayUs);

    const { terms } = into;
    terms.waiting = Math.round(waitingUs);
    terms.prefill = Math.round(prefillUs);
    terms.fetch = Math.round(fetchUs);
    const stepUs = curve.stepUs(1 + company, this.#interruptedUs(threads, alone));
    terms.decode = Math.round(outputTokens * stepUs);
    terms.delay = Math.round(prefillUs * active + curve.sequenceUs * outputTokens * company);
    terms.crowding = Math.round(this.#pushedOut(place, liveTokens, threads));
    const explored = caution < curve.doubt ? Math.min(1, curve.unsureness(work)) : 0;
    terms.explore = explored > 0 ? -Math.round(prefillUs * explored) : 0;
    into.totalUs =
      terms.waiting +
      terms.prefill +
      terms.fetch +
      terms.decode +
      terms.delay +
      terms.crowding +
      terms.explore;
    into.matchedTokens = this.#asked.promptTokens - work.uncachedTokens;
    into.hostTokens = work.hostTokens;
    into.diskTokens = work.diskTokens;
    if (broughtTokens > 0) into.broughtTokens = broughtTokens;
    else if (into.broughtTokens !== undefined) into.broughtTokens = undefined;
    into.liveTokens = liveTokens;
  }

  /** All but its last block was computed elsewhere, or lies here. */
  #brought({ device, host, disk }: Held): PrefillWork {
    const work = this.#work;
    work.decoding = 0;
    work.uncachedTokens = this.#asked.promptTokens - this.#asked.usableTokens;
    work.hostTokens = host - device;
    work.diskTokens = disk - host;
    return work;
  }

  /** What of the cached prompt is worth fetching: down to the tier from which on computing is quicker. */
  #cheapest(curve: Curve, held: Held, decoding: number): PrefillWork {
    const { promptTokens } = this.#asked;
    const work = this.#work;
    work.decoding = decoding;
    work.uncachedTokens = promptTokens - held.device;
    work.hostTokens = 0;
    work.diskTokens = 0;
    if (held.disk === held.device) return work;
    const hostTokens = held.host - held.device;
    let leastUs = curve.prefillUs(work);
    let kept = 0;
    for (const depth of [1, 2]) {
      work.hostTokens = hostTokens;
      work.diskTokens = depth === 2 ? held.disk - held.host : 0;
      work.uncachedTokens = promptTokens - (depth === 2 ? held.disk : held.host);
      const us = curve.prefillUs(work);
      if (us > leastUs) continue;
      leastUs = us;
      kept = depth;
    }
    work.hostTokens = kept > 0 ? hostTokens : 0;
    work.diskTokens = kept === 2 ? held.disk - held.host : 0;
    work.uncachedTokens = promptTokens - [held.device, held.host, held.disk][kept];
    return work;
  }

  /** Of the threads that sit there, how many run on average in the next `us`. */
  #active(threads: number, running: number, us: number): number {
    if (threads === 0) return 0;
    const steady = threads * this.#duty;
    if (this.#relaxUs <= 0) return steady;
    const x = us / this.#relaxUs;
    return steady + (running - steady) * (x > 1e-6 ? (1 - Math.exp(-x)) / x : 1);
  }

  /** Time per output token in which prompts of those who sit there are computed. */
  #interruptedUs(threads: number, stepUs: number): number {
    if (this.#cycleUs <= 0) return 0;
    return stepUs * Math.min(1, (threads * this.#asked.prefillUsMean) / this.#cycleUs);
  }

  /** Until enough of those there have ended that a slot is free: the first in are the first out. */
  #untilSlot({ worker, load, curve }: Place): number {
    const toEnd = load.requests - worker.slots;
    if (toEnd < 0) return 0;
    const left = this.#asked.outputTokens - load.outputTokens(toEnd);
    return Math.max(1, left) * curve.stepUs(worker.slots, 0);
  }

  /**
   * Time to compute again what does not fit beside it, by whoever it was and all who wait meanwhile.
   * Where more is needed than fits, what is missing goes round: each turn pushes out the next one's. So
   * all of its own context counts, also what lies there already: it could leave.
   */
  #pushedOut({ worker, curve }: Place, liveTokens: number, threads: number): number {
    const { promptTokens, outputTokens } = this.#asked;
    const own = promptTokens + outputTokens;
    const over = liveTokens + own - worker.cacheTokens;
    if (over <= 0) return 0;
    const lost = {
      uncachedTokens: Math.min(promptTokens, over),
      contextTokens: promptTokens,
      hostTokens: 0,
      diskTokens: 0,
      decoding: this.#work.decoding,
    };
    return curve.prefillUs(lost) * (1 + threads);
  }
}

/** By the curve on a worker's card: microseconds to compute `uncached` tokens that end at `context`. */
export function prefill(curve: PrefillCurve, uncached: number, context: number): number {
  return (
    curve.perTokenUs * uncached + curve.perTokenContextUs * uncached * (context - uncached / 2)
  );
}
