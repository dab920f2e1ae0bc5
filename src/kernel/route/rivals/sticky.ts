import { Lru } from '../../../base/lru.ts';
import type { WorkerId } from '../../../model/ids.ts';
import { type Policy, stickyKey } from '../../policy.ts';
import { leastRequests } from './least-requests.ts';

/** A thread stays where its first request went: where there were the fewest requests. */
export function sticky(keysMax: number): Policy {
  const homes = new Lru<string, WorkerId>(keysMax);
  const first = leastRequests();
  return {
    name: 'sticky',
    view: 'load',
    choose(request, seen, rng) {
      const home = homes.get(stickyKey(request));
      if (home !== undefined && seen.some((one) => one.worker === home)) return home;
      return first.choose(request, seen, rng);
    },
    placed(request, worker) {
      homes.set(stickyKey(request), worker);
    },
  };
}
