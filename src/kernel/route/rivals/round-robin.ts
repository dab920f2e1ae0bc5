import type { Policy } from '../../policy.ts';

/** One after the other. With an even number of lockstep sessions it can turn sticky by accident. */
export function roundRobin(): Policy {
  let turns = 0;
  return {
    name: 'round-robin',
    view: 'load',
    choose: (_request, seen) => seen[turns % seen.length].worker,
    placed: () => {
      turns++;
    },
  };
}
