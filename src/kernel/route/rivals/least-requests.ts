import type { Policy } from '../../policy.ts';
import { leastOf } from './least.ts';

/** Whoever has the fewest requests; among equals one at random. */
export function leastRequests(): Policy {
  return {
    name: 'least-requests',
    view: 'load',
    choose: (_request, seen, rng) => leastOf(seen, (one) => one.requests, rng).worker,
  };
}
