import type { Prng } from '../../../base/prng.ts';

/** Those with the least cost; one of them at random. */
export function leastOf<T>(all: readonly T[], cost: (one: T) => number, rng: Prng): T {
  const costs = all.map(cost);
  const least = Math.min(...costs);
  const ties = all.filter((_, i) => costs[i] === least);
  return ties.length === 1 ? ties[0] : rng.pick(ties);
}
