/**
 * What KV is worth: the time its return would save, times the odds that it returns, per byte.
 *
 * The odds are learned from the cache's own past, as LHD does (Beckmann et al., NSDI 2018): of the
 * blocks that reached an age, how many came back later. Age is counted in turns, not in seconds, so
 * that a pause of everybody ages nobody. Until enough was seen, the unused for longest is worth least.
 */

/** Blocks that came back or left before the odds are believed. */
const SEEN_MIN = 2000;
/** Then old observations count half, so that a change of habits is noticed. */
const SEEN_MAX = 200_000;
/** Ages by powers of two: 0, 1, 2–3, 4–7, … */
const AGES = 24;
/** Odds never reach 0: who never came back may. */
const PRIOR = { back: 1, left: 3 };

/** Microseconds that an engine needs to compute `count` tokens after `position` others. */
export type ComputeUs = (position: number, count: number) => number;

/** Blocks that would leave together. */
export interface Idle {
  /** Tokens before the first of them, and how many they are. */
  position: number;
  tokens: number;
  bytes: number;
  /** The turn in which they were used last; the present is `now`. */
  usedTurn: number;
}

export class Worth {
  readonly #computeUs: ComputeUs;
  readonly #back = new Float64Array(AGES);
  readonly #left = new Float64Array(AGES);
  #seen = 0;
  /** Odds by age class, made anew when an observation came. */
  #odds: Float64Array | undefined;
  #loadBytesPerUs: number | undefined;

  constructor(computeUs: ComputeUs) {
    this.#computeUs = computeUs;
  }

  /** Larger is worth more; only comparable between calls with the same observations. */
  of({ position, tokens, bytes, usedTurn }: Idle, now: number): number {
    if (this.#seen < SEEN_MIN) return usedTurn - now;
    return (this.#computeUs(position, tokens) * this.#oddsAt(now - usedTurn)) / bytes;
  }

  /** A block was used again, so many turns after its last use. */
  cameBack(age: number): void {
    this.#note(this.#back, age);
  }

  /** A block left the cache for good. */
  leftFor(age: number): void {
    this.#note(this.#left, age);
  }

  loaded(bytes: number, elapsedUs: number): void {
    const rate = bytes / Math.max(1, elapsedUs);
    const before = this.#loadBytesPerUs ?? rate;
    this.#loadBytesPerUs = before + (rate - before) / 4;
  }

  /** Whether reading these blocks from disk beats computing them. Unmeasured: it does. */
  isWorthLoading({ position, tokens, bytes }: Omit<Idle, 'usedTurn'>): boolean {
    if (this.#loadBytesPerUs === undefined) return true;
    return bytes / this.#loadBytesPerUs < this.#computeUs(position, tokens);
  }

  #note(counts: Float64Array, age: number): void {
    counts[classOf(age)]++;
    this.#odds = undefined;
    if (++this.#seen < SEEN_MAX) return;
    this.#seen /= 2;
    for (let i = 0; i < AGES; i++) {
      this.#back[i] /= 2;
      this.#left[i] /= 2;
    }
  }

  #oddsAt(age: number): number {
    if (this.#odds === undefined) {
      this.#odds = new Float64Array(AGES);
      let { back, left } = PRIOR;
      for (let i = AGES - 1; i >= 0; i--) {
        back += this.#back[i];
        left += this.#left[i];
        this.#odds[i] = back / (back + left);
      }
    }
    return this.#odds[classOf(age)];
  }
}

function classOf(age: number): number {
  return Math.min(AGES - 1, 32 - Math.clz32(Math.max(0, age)));
}
