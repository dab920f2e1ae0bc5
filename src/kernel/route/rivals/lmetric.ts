/**
 * LMetric (arXiv 2603.15202, OSDI '26): prefill tokens the worker would have to compute, queued ones
 * and this request's uncached ones, times the size its batch would have; the least product wins. No
 * weights.
 */
import type { WorkerId } from '../../../model/ids.ts';
import type { Policy } from '../../policy.ts';
import { leastOf } from './least.ts';
import { Ledger } from './ledger.ts';

export function lmetric(): Policy {
  const ledger = new Ledger();
  let matched = new Map<WorkerId, number>();
  return {
    name: 'lmetric',
    view: 'events',
    choose(request, seen, rng) {
      matched = new Map(seen.map((one) => [one.worker, one.matchedTokens]));
      return leastOf(
        seen,
        ({ worker, matchedTokens }) => {
          const { prefillWork, requests } = ledger.of(worker);
          return (prefillWork + request.promptTokens - matchedTokens) * (requests + 1);
        },
        rng,
      ).worker;
    },
    placed: (request, worker) =>
      ledger.placed(request, worker, request.promptTokens - (matched.get(worker) ?? 0)),
    hears: (_nowUs, fact) => void ledger.hears(fact),
  };
}
