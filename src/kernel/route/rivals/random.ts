import type { Policy } from '../../policy.ts';

/** Uniform, from the seeded generator. */
export function random(): Policy {
  return {
    name: 'random',
    view: 'load',
    choose: (_request, seen, rng) => rng.pick(seen).worker,
  };
}
