/** What came of one worker's KV events, counted. */

export const FEED_COUNTS = [
  'batches',
  'stored',
  'removed',
  'cleared',
  'blocks',
  'orphans',
  'unknownRemoved',
  'unknownEvent',
  'unknownMedium',
  'elsewhere',
  'malformed',
  'otherGroup',
  'otherRank',
  'duplicates',
  'overflowed',
  'decodeErrors',
  'gaps',
  'lost',
  'replays',
  'resyncs',
  'restarts',
] as const;
export type FeedCount = (typeof FEED_COUNTS)[number];

/** For metrics, the page and `doctor`. */
export interface FeedReport {
  /** Whether all that the worker holds is known: from its start on, or since a resync. */
  complete: boolean;
  /** Why its events can never be used; null: they can. */
  unfit: string | null;
  counts: Record<FeedCount, number>;
  /** Blocks it is known to hold. */
  blocks: number;
  /** Age of the last batch when it was taken; undefined before the first. */
  lagMs: number | undefined;
  /** Bytes that wait to be taken. */
  queuedBytes: number;
}

export class FeedAccount {
  readonly counts: Record<FeedCount, number>;

  constructor() {
    const zeros = FEED_COUNTS.map((count) => [count, 0]);
    this.counts = Object.fromEntries(zeros) as Record<FeedCount, number>;
  }

  /** True the first time. */
  add(count: FeedCount, by = 1): boolean {
    const isFirst = this.counts[count] === 0;
    this.counts[count] += by;
    return isFirst;
  }
}
