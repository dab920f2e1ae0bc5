/** Cheapest price; equal prices go where fewer live tokens sit, then to the worker seen first. */
import { must } from '../../base/assert.ts';
import { Seats } from '../gate/seats.ts';
import type { Policy, Seen } from '../policy.ts';

export const stator: Policy = {
  name: 'stator',
  view: 'price',
  // Whoever has a seat has room: choosing among them as well computed more again (bench/README.md).
  keepsKv: 'ended',
  gate: (view) => new Seats(view),
  movesKv: true,
  choose(_request, seen) {
    let best: Seen | undefined;
    for (const one of seen) {
      if (best === undefined || cheaper(one, best)) best = one;
    }
    return must(best, 'there is somebody to choose from').worker;
  },
};

/** The same without the gate: what the gate alone brings. */
export const statorUngated: Policy = {
  ...stator,
  name: 'stator-ungated',
  gate: undefined,
  keepsKv: 'all',
};

/** With the gate, and a say in all that stays. */
export const statorKeeps: Policy = { ...stator, name: 'stator-keeps', keepsKv: 'all' };

/** Both without a say in how long KV stays: what that alone brings. */
export const statorLru: Policy = { ...stator, name: 'stator-lru', keepsKv: undefined };
export const statorUngatedLru: Policy = {
  ...statorUngated,
  name: 'stator-ungated-lru',
  keepsKv: undefined,
};

function cheaper(a: Seen, b: Seen): boolean {
  const priceA = must(a.price, 'this policy sees prices');
  const priceB = must(b.price, 'this policy sees prices');
  if (priceA.totalUs !== priceB.totalUs) return priceA.totalUs < priceB.totalUs;
  return priceA.liveTokens < priceB.liveTokens;
}
