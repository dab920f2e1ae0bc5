/**
 * Mooncake's Conductor (FAST '25, §5; arXiv 2407.00079): the worker with the least predicted time to
 * first token, from the prefills queued there and a fitted curve of this prompt's, given what is cached
 * there. Its other branch, to fetch the best worker's prefix instead of computing it, needs engines that
 * pass KV on; its refusal of what no worker can do in time needs a promised time. Both are left out.
 */
import type { WorkerId } from '../../../model/ids.ts';
import type { Policy, Seen } from '../../policy.ts';
import { prefill } from '../cost.ts';
import { leastOf } from './least.ts';
import { Ledger } from './ledger.ts';

export function conductor(): Policy {
  /** In microseconds. */
  const ledger = new Ledger();
  let own = new Map<WorkerId, number>();
  return {
    name: 'conductor',
    view: 'events',
    choose({ promptTokens }, seen, rng) {
      const prefillUs = ({ about, matchedTokens }: Seen) =>
        prefill(about.prefill, promptTokens - matchedTokens, promptTokens);
      own = new Map(seen.map((one) => [one.worker, prefillUs(one)]));
      const ttftUs = (one: Seen) => ledger.of(one.worker).prefillWork + prefillUs(one);
      return leastOf(seen, ttftUs, rng).worker;
    },
    placed: (request, worker) => ledger.placed(request, worker, own.get(worker) ?? 0),
    hears: (_nowUs, fact) => void ledger.hears(fact),
  };
}
