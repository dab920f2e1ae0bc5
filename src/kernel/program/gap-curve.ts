/**
 * How long threads of one kind stay away, learnt while they are: of the gaps that lasted so long, how
 * many ended soon after (the life-table form of Kaplan and Meier's estimator, JASA 1958). A gap that
 * goes on, or that nobody will ever see the end of, counts for as long as it was seen, so those who
 * never come back are counted as well.
 *
 *   bucket       0     │   1   │   2    │ …        each a tenth longer than the one before
 *   reached     100    │   80  │   30   │          gaps that lasted until its begin
 *   returned     20    │   48  │    3   │          of them, those that ended in it
 */

/** Ages are told apart from a tenth of a second up to about a day. */
export const BUCKETS = 160;
const FIRST_US = 100_000;
const PER_OCTAVE = 8;

/** Beyond so many gaps old ones count half: habits change. */
const REMEMBERED_MAX = 2000;

const EDGES_US = Float64Array.from({ length: BUCKETS }, (_, bucket) =>
  bucket === 0 ? 0 : Math.round(FIRST_US * 2 ** ((bucket - 1) / PER_OCTAVE)),
);

/** The bucket of an age in microseconds. */
export function bucketOf(us: number): number {
  if (us < FIRST_US) return 0;
  const bucket = 1 + Math.floor(PER_OCTAVE * Math.log2(us / FIRST_US));
  if (bucket >= BUCKETS) return BUCKETS - 1;
  // Edges are whole microseconds: rounding decides.
  if (us < EDGES_US[bucket]) return bucket - 1;
  return bucket + 1 < BUCKETS && us >= EDGES_US[bucket + 1] ? bucket + 1 : bucket;
}

/** Where the bucket begins, in microseconds; infinite beyond the last. */
export function edgeUs(bucket: number): number {
  return bucket < BUCKETS ? EDGES_US[bucket] : Number.POSITIVE_INFINITY;
}

export class GapCurve {
  readonly #reached = new Float64Array(BUCKETS);
  readonly #returned = new Float64Array(BUCKETS);
  #changes = 0;

  /** Grows with each observation. */
  get changes(): number {
    return this.#changes;
  }

  /** A gap has lasted until the begin of the bucket. */
  reached(bucket: number): void {
    this.#changes++;
    if (bucket === 0 && this.#reached[0] >= REMEMBERED_MAX) this.#forgetHalf();
    this.#reached[bucket]++;
  }

  /** A gap ended within the bucket, whose begin it was told to have reached. */
  returned(bucket: number): void {
    this.#changes++;
    this.#returned[bucket]++;
  }

  /** A whole gap at once. */
  saw(us: number): void {
    const last = bucketOf(us);
    for (let bucket = 0; bucket <= last; bucket++) this.reached(bucket);
    this.returned(last);
  }

  /**
   * Odds, by bucket, that a gap which lasted until its begin ends within it. In place of those in
   * `odds`, which count as much as `weight` gaps.
   */
  refine(odds: Float64Array, weight: number): void {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      // What was forgotten by half while it went on may end more often than it was reached.
      const returned = Math.min(this.#returned[bucket], this.#reached[bucket]);
      odds[bucket] = (returned + weight * odds[bucket]) / (this.#reached[bucket] + weight);
    }
  }

  #forgetHalf(): void {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      this.#reached[bucket] /= 2;
      this.#returned[bucket] /= 2;
    }
  }
}
