/** Distributions that settings are written in, and how a number is drawn from one. */

import { unreachable } from '../../base/assert.ts';
import type { Prng } from '../../base/prng.ts';

export type Distribution =
  | { kind: 'fixed'; value: number }
  /** `least` plus a log-normal of that median; `sigma` is of the logarithm. */
  | { kind: 'lognormal'; least: number; median: number; sigma: number }
  | { kind: 'weibull'; scale: number; shape: number };

export function draw(rng: Prng, distribution: Distribution): number {
  switch (distribution.kind) {
    case 'fixed':
      return distribution.value;
    case 'lognormal':
      return distribution.least + distribution.median * Math.exp(distribution.sigma * rng.normal());
    case 'weibull':
      return distribution.scale * (-Math.log(1 - rng.next())) ** (1 / distribution.shape);
    default:
      return unreachable(distribution);
  }
}

/** A whole number of at least 1. */
export function drawCount(rng: Prng, distribution: Distribution): number {
  return Math.max(1, Math.round(draw(rng, distribution)));
}

/** One of several by their shares, which need not add up to 1. */
export function drawByShare<T extends { share: number }>(rng: Prng, items: readonly T[]): T {
  let left = rng.next() * items.reduce((sum, { share }) => sum + share, 0);
  for (const item of items) {
    left -= item.share;
    if (left < 0) return item;
  }
  return items[items.length - 1];
}
