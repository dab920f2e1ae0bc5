/**
 * AIBrix, strategy prefix-cache (vllm-project/aibrix, gateway plugin):
 *
 *   most − fewest requests > 8 → the worker with the fewest
 *   else, best match first and fewest requests first among equals: the first that matches at all and
 *        has at most mean + 1 standard deviation of the requests
 *   else → the worker with the fewest
 *
 * Its table of 200,000 blocks of 4 tokens is one for the whole fleet; here each worker has an equal part.
 */
import type { Policy } from '../../policy.ts';
import { leastOf } from './least.ts';
import { Placements } from './placements.ts';

const IMBALANCE_MAX = 8;
const TABLE_TOKENS_MAX = 200_000 * 4;

export function aibrix(): Policy {
  const placements = new Placements();
  let workers = 1;
  return {
    name: 'aibrix',
    view: 'placements',
    choose(request, seen, rng) {
      workers = seen.length;
      const counts = seen.map(({ requests }) => requests);
      const fewest = () => leastOf(seen, ({ requests }) => requests, rng).worker;
      if (Math.max(...counts) - Math.min(...counts) > IMBALANCE_MAX) return fewest();
      const mean = counts.reduce((a, b) => a + b, 0) / counts.length;
      const variance = counts.reduce((sum, n) => sum + (n - mean) ** 2, 0) / counts.length;
      const limit = mean + Math.sqrt(variance);
      const ranked = seen
        .map((one) => ({ ...one, matched: placements.matchedTokens(request, one.worker) }))
        .filter(({ matched }) => matched > 0)
        .sort((a, b) => b.matched - a.matched || a.requests - b.requests);
      return ranked.find(({ requests }) => requests <= limit)?.worker ?? fewest();
    },
    placed: (request, worker) => placements.placed(request, worker, TABLE_TOKENS_MAX / workers),
    hears(_nowUs, fact) {
      if (fact.kind === 'workerLeft') placements.forget(fact.worker);
    },
  };
}
