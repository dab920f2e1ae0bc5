/** What a survival curve says of one gap that has lasted for some time: arithmetic, no memory. */
import { BUCKETS, bucketOf, edgeUs } from './gap-curve.ts';

/** Of holding something for a thread that is away. */
export interface Holding {
  /** Odds that it returns while it is held. */
  odds: number;
  /** How long it is held at most, and on average: it ends when the thread returns. */
  untilUs: number;
  heldUs: number;
}

/** `odds`: by bucket, that a gap which reached it ends in it. */
export function oddsWithin(odds: Float64Array, ageUs: number, us: number): number {
  const endUs = ageUs + us;
  let away = 1;
  for (let bucket = bucketOf(ageUs); bucket < BUCKETS; bucket++) {
    const fromUs = Math.max(ageUs, edgeUs(bucket));
    if (fromUs >= endUs) break;
    away *= 1 - partOf(odds[bucket], bucket, { fromUs, toUs: Math.min(endUs, edgeUs(bucket + 1)) });
  }
  return 1 - away;
}

/**
 * How long to hold at best: as long as brings the most returns for the time held. No horizon is given:
 * one that ends sooner misses returns, one that ends later waits for those who do not come.
 */
export function bestHolding(odds: Float64Array, ageUs: number): Holding {
  let best: Holding = { odds: 0, untilUs: 0, heldUs: 1 };
  let away = 1;
  let heldUs = 0;
  for (let bucket = bucketOf(ageUs); bucket < BUCKETS - 1; bucket++) {
    const fromUs = Math.max(ageUs, edgeUs(bucket));
    const toUs = edgeUs(bucket + 1);
    if (toUs <= fromUs) continue;
    const part = partOf(odds[bucket], bucket, { fromUs, toUs });
    // Whoever returns within a bucket does so in its middle.
    heldUs += away * (toUs - fromUs) * (1 - part / 2);
    away *= 1 - part;
    const returned = 1 - away;
    if (returned * best.heldUs > best.odds * heldUs) {
      best = { odds: returned, untilUs: toUs - ageUs, heldUs };
    }
  }
  return best;
}

/** The age by which it will have returned with the given odds; undefined: perhaps never. */
export function ageAt(odds: Float64Array, ageUs: number, share: number): number | undefined {
  let away = 1;
  for (let bucket = bucketOf(ageUs); bucket < BUCKETS - 1; bucket++) {
    const fromUs = Math.max(ageUs, edgeUs(bucket));
    const toUs = edgeUs(bucket + 1);
    const part = partOf(odds[bucket], bucket, { fromUs, toUs });
    const next = away * (1 - part);
    if (next <= 1 - share) return fromUs + ((toUs - fromUs) * (away - (1 - share))) / (away - next);
    away = next;
  }
  return undefined;
}

/** Of a bucket's odds, those of a part of it, at an even hazard. */
function partOf(odds: number, bucket: number, { fromUs, toUs }: { fromUs: number; toUs: number }) {
  const wholeUs = edgeUs(bucket + 1) - edgeUs(bucket);
  if (!Number.isFinite(wholeUs) || toUs - fromUs >= wholeUs) return odds;
  return 1 - (1 - odds) ** ((toUs - fromUs) / wholeUs);
}
