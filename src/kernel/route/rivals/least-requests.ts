import type { Policy } from '../../policy.ts';

/** Whoever has the fewest requests; among equals one at random. */
export function leastRequests(): Policy {
  return {
    name: 'least-requests',
    view: 'load',
    choose(_request, seen, rng) {
      const least = Math.min(...seen.map((one) => one.requests));
      return rng.pick(seen.filter((one) => one.requests === least)).worker;
    },
  };
}
