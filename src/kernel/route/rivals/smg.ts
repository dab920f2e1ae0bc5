/**
 * SMG (SGLang's model gateway), policy cache-aware, for workers that publish no events: a tree of the
 * prompts it sent to each (model_gateway/src/policies/cache_aware.rs, defaults of its command line).
 *
 *   longest match ÷ prompt > 0.3 → the worker that matches best, of equals the least loaded
 *   otherwise                    → the least loaded: by requests, then by requests ever sent, then in order
 *   the choice has more than 1.5 × the mean load and more than the mean + 64 → the least loaded after all
 */
import type { Policy, Seen } from '../../policy.ts';
import { Ledger } from './ledger.ts';
import { Placements } from './placements.ts';

const CACHE_THRESHOLD = 0.3;
const BALANCE_ABS = 64;
const BALANCE_REL = 1.5;
/** Of its tree, in characters for each worker; about four are a token. */
const TREE_TOKENS_MAX = 67_108_864 / 4;

export function smg(): Policy {
  const ledger = new Ledger();
  const placements = new Placements();
  const before = (a: Seen, b: Seen) =>
    a.requests - b.requests || ledger.of(a.worker).placed - ledger.of(b.worker).placed;
  const leastLoaded = (seen: readonly Seen[]) => seen.reduce((a, b) => (before(b, a) < 0 ? b : a));
  return {
    name: 'smg',
    view: 'placements',
    choose(request, seen) {
      const matches = seen.map(({ worker }) => placements.matchedTokens(request, worker));
      const best = Math.max(...matches);
      if (best <= CACHE_THRESHOLD * request.promptTokens) return leastLoaded(seen).worker;
      const chosen = leastLoaded(seen.filter((_, i) => matches[i] === best));
      const mean = seen.reduce((sum, { requests }) => sum + requests, 0) / seen.length;
      const { requests } = chosen;
      const isOverloaded = requests > BALANCE_REL * mean && requests > mean + BALANCE_ABS;
      return (isOverloaded ? leastLoaded(seen) : chosen).worker;
    },
    placed(request, worker) {
      ledger.placed(request, worker, 0);
      placements.placed(request, worker, TREE_TOKENS_MAX);
    },
    hears(_nowUs, fact) {
      ledger.hears(fact);
      if (fact.kind === 'workerLeft') placements.forget(fact.worker);
    },
  };
}
