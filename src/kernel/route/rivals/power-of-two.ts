import type { Policy } from '../../policy.ts';

/** Two workers at random, and of them the one with fewer requests (Mitzenmacher 2001; SMG and vLLM Router have it). */
export function powerOfTwo(): Policy {
  return {
    name: 'power-of-two',
    view: 'load',
    choose(_request, seen, rng) {
      const first = rng.below(seen.length);
      if (seen.length === 1) return seen[first].worker;
      const other = (first + 1 + rng.below(seen.length - 1)) % seen.length;
      return seen[seen[other].requests < seen[first].requests ? other : first].worker;
    },
  };
}
