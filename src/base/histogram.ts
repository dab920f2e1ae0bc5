/**
 * Counts in buckets that grow geometrically, so any quantile is within `GROWTH` of the truth at a
 * fixed size. Made for durations in seconds: from 1 µs to about 10^6 s.
 */
const LEAST = 1e-6;
const GROWTH = 1.05;
const BUCKETS = Math.ceil(Math.log(1e12) / Math.log(GROWTH));
const LOG_GROWTH = Math.log(GROWTH);

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  count = 0;
  sum = 0;

  record(value: number): void {
    this.#counts[bucketOf(value)]++;
    this.count++;
    this.sum += value;
  }

  /** All values at or below `bound`, and those that share its bucket. */
  countUpTo(bound: number): number {
    const last = bucketOf(bound);
    let total = 0;
    for (let i = 0; i <= last; i++) total += this.#counts[i];
    return total;
  }

  /** The value below which the share `q` lies; undefined while empty. */
  quantile(q: number): number | undefined {
    if (this.count === 0) return undefined;
    let left = q * this.count;
    for (let i = 0; i < BUCKETS; i++) {
      left -= this.#counts[i];
      if (left <= 0) return LEAST * GROWTH ** i;
    }
    return LEAST * GROWTH ** (BUCKETS - 1);
  }
}

function bucketOf(value: number): number {
  if (value <= LEAST) return 0;
  return Math.min(BUCKETS - 1, Math.ceil(Math.log(value / LEAST) / LOG_GROWTH));
}
