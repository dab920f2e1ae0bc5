import { Lru } from '../../../base/lru.ts';
import type { WorkerId } from '../../../model/ids.ts';
import { type Policy, stickyKey } from '../../policy.ts';
import { leastRequests } from './least-requests.ts';

/**
 * A thread stays where its first request went: where there were the fewest requests. Whoever has no
 * thread goes there each time.
 */
export function sticky(keysMax: number): Policy {
  const homes = new Lru<string, WorkerId>(keysMax);
  const first = leastRequests();
  return {
    name: 'sticky',
    view: 'load',
    choose(request, seen, rng) {
      const key = stickyKey(request);
      const home = key === undefined ? undefined : homes.get(key);
      if (home !== undefined && seen.some((one) => one.worker === home)) return home;
      return first.choose(request, seen, rng);
    },
    placed(request, worker) {
      const key = stickyKey(request);
      if (key !== undefined) homes.set(key, worker);
    },
  };
}
