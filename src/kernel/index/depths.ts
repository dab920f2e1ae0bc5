/** How many leading blocks of one prompt each worker holds, tier by tier. Workers are small integers here. */

/** Depths kept per worker: in the device tier; there or in host memory; in any. */
const LEVELS = 3;

/** Leading blocks of a prompt that a worker holds. */
export interface Matched {
  /** On the device. */
  device: number;
  /** On the device or in host memory. */
  host: number;
  /** In any tier. */
  disk: number;
}

export class Depths {
  /** By worker and level; of those met since the start. */
  #depths = new Int32Array(LEVELS * 16);
  /** By worker: the look-up in which it was met last. */
  #metIn = new Int32Array(16);
  #lookup = 0;
  #met = new Int32Array(32);
  #metCount = 0;

  /** Of another prompt; there are so many workers. */
  start(workers: number): void {
    this.#metCount = 0;
    this.#lookup = (this.#lookup + 1) | 0;
    if (this.#metIn.length >= workers && this.#lookup !== 0) return;
    this.#lookup = 1;
    this.#metIn = new Int32Array(workers);
    this.#depths = new Int32Array(LEVELS * workers);
    // Whoever has holes is met twice.
    this.#met = new Int32Array(2 * workers);
  }

  /** What the worker holds in the tiers from `nearest` up to, but not with, `next` ends `at` a block. */
  end(worker: number, at: number, nearest: number, next: number): void {
    const depths = this.#depths;
    const base = LEVELS * worker;
    if (this.#metIn[worker] !== this.#lookup) {
      this.#metIn[worker] = this.#lookup;
      this.#met[this.#metCount++] = worker;
      depths[base] = depths[base + 1] = depths[base + 2] = 0;
    }
    if (nearest === 0) depths[base] = at;
    if (nearest <= 1 && next > 1) depths[base + 1] = at;
    if (next > 2) depths[base + 2] = at;
  }

  forget(worker: number): void {
    this.#metIn[worker] = 0;
  }

  /** Undefined: the worker does not hold the first block. */
  matched(worker: number): Matched | undefined {
    const depths = this.#depths;
    const at = LEVELS * worker;
    if (this.#metIn[worker] !== this.#lookup || this.#lookup === 0) return undefined;
    return { device: depths[at], host: depths[at + 1], disk: depths[at + 2] };
  }

  /** Up to `count` workers, those with most leading blocks first. */
  deepest(count: number): number[] {
    const depth = (worker: number) => this.#depths[LEVELS * worker + LEVELS - 1];
    const best: number[] = [];
    for (const worker of this.#met.subarray(0, this.#metCount)) {
      if (best.includes(worker)) continue;
      const least = best[best.length - 1];
      if (best.length === count && depth(worker) <= depth(least)) continue;
      if (best.length === count) best.pop();
      const at = best.findIndex((other) => depth(other) < depth(worker));
      best.splice(at < 0 ? best.length : at, 0, worker);
    }
    return best;
  }
}
