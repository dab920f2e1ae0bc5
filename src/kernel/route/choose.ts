/** Cheapest price; equal prices go where fewer live tokens sit, then to the worker seen first. */
import { must } from '../../base/assert.ts';
import { Seats } from '../gate/seats.ts';
import type { Policy, Seen } from '../policy.ts';

export const stator: Policy = {
  name: 'stator',
  view: 'price',
  gate: (view) => new Seats(view),
  choose(_request, seen) {
    let best: Seen | undefined;
    for (const one of seen) {
      if (best === undefined || cheaper(one, best)) best = one;
    }
    return must(best, 'there is somebody to choose from').worker;
  },
};

/** The same without the gate: what the gate alone brings. */
export const statorUngated: Policy = { ...stator, name: 'stator-ungated', gate: undefined };

function cheaper(a: Seen, b: Seen): boolean {
  const priceA = must(a.price, 'this policy sees prices');
  const priceB = must(b.price, 'this policy sees prices');
  if (priceA.totalUs !== priceB.totalUs) return priceA.totalUs < priceB.totalUs;
  return priceA.liveTokens < priceB.liveTokens;
}
