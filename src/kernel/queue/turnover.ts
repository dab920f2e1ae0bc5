/**
 * How often a place becomes free while somebody waits for one, by model.
 *
 *   gap = (time seen + prior · p) / (ends seen + p)
 *
 * Seen are gaps between two ends while somebody waited: then all places are taken, and that is what the
 * fleet can do. Not the time to the first of them, nor since the last: engines that began together end
 * together, so a while without an end says little. What is long ago is forgotten, the prior first.
 */
import { assert } from '../../base/assert.ts';

/** About so many ends are remembered. */
const MEMORY = 50;
const KEPT = 1 - 1 / MEMORY;
/** At first, what the price curves say weighs as much as so many ends that were seen. */
const PRIOR_ENDS = 8;

interface Seen {
  waiting: number;
  /** The last end since somebody waits; undefined: none yet. */
  lastUs: number | undefined;
  us: number;
  ends: number;
  priorEnds: number;
}

export class Turnover {
  readonly #models = new Map<string, Seen>();

  /** Models that somebody waits for. */
  get modelCount(): number {
    let count = 0;
    for (const { waiting } of this.#models.values()) if (waiting > 0) count++;
    return count;
  }

  /** How many wait for a place with the model. */
  waiting(model: string): number {
    return this.#models.get(model)?.waiting ?? 0;
  }

  joined(model: string): void {
    const seen = this.#models.get(model);
    if (seen !== undefined) seen.waiting++;
    else {
      const nothing = { lastUs: undefined, us: 0, ends: 0, priorEnds: PRIOR_ENDS };
      this.#models.set(model, { waiting: 1, ...nothing });
    }
  }

  /** Somebody waits no longer, however that came. */
  left(model: string): void {
    const seen = this.#models.get(model);
    assert(seen !== undefined && seen.waiting > 0, 'who leaves has waited');
    if (--seen.waiting === 0) seen.lastUs = undefined;
  }

  /** A request ended: its place is free. To be told before it is taken. */
  ended(nowUs: number, model: string): void {
    const seen = this.#models.get(model);
    if (seen === undefined || seen.waiting === 0) return;
    if (seen.lastUs !== undefined) {
      seen.us = seen.us * KEPT + (nowUs - seen.lastUs);
      seen.ends = seen.ends * KEPT + 1;
      seen.priorEnds *= KEPT;
    }
    seen.lastUs = nowUs;
  }

  /** Mean microseconds between two ends; `priorUs`: what is thought of it before any was seen. */
  gapUs(model: string, priorUs: number): number {
    const seen = this.#models.get(model);
    if (seen === undefined) return priorUs;
    return (seen.us + priorUs * seen.priorEnds) / (seen.ends + seen.priorEnds);
  }
}
