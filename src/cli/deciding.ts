/** The kernel, and who carries out its orders. */
import type { Prng } from '../base/prng.ts';
import { moveKv } from '../engines/stator-kv.ts';
import { Host } from '../gateway/host.ts';
import { KvMoves } from '../gateway/kv-moves.ts';
import { Kernel } from '../kernel/kernel.ts';
import { POLICY_NAMES } from '../kernel/route/policies.ts';
import type { Config } from '../model/config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Fact, KeepOrder } from '../model/kernel-io.ts';
import type { Clock, KvControl, Sink } from '../ports.ts';
import { Complaint } from './complaint.ts';

interface Deciding {
  clock: Clock;
  sink: Sink;
  rng: Prng;
  kvOf: (worker: WorkerId) => KvControl | undefined;
  keep: (order: KeepOrder) => void;
  probe: (worker: WorkerId) => void;
}

export function beginDeciding(config: Config, { rng, kvOf, ...world }: Deciding) {
  const { policy, limits, keys } = config;
  const policies = policiesOf(config);
  const kernel = new Kernel({
    settings: { policy, policies, ...limits, inStages: true, tenantWeights: weightsOf(keys) },
    rng,
  });
  const tell = (fact: Fact) => host.tell(fact);
  const kvMoves = new KvMoves({ ...world, kvOf, tell, move: moveKv });
  const replicate: KvMoves['begin'] = (order) => kvMoves.begin(order);
  const host: Host = new Host({ ...world, kernel, replicate });
  return { host, kvMoves };
}

/** By model, where it has one of its own. */
function policiesOf({ models }: Config): Record<string, string> {
  const policies: Record<string, string> = {};
  for (const { name, policy } of models) {
    if (policy === undefined) continue;
    if (!POLICY_NAMES.includes(policy)) {
      const sentence = `There is no policy '${policy}' for the model ${name}`;
      throw new Complaint(`${sentence}; choose one of ${POLICY_NAMES.join(', ')}.`, 2);
    }
    policies[name] = policy;
  }
  return policies;
}

function weightsOf(keys: Config['keys']): ReadonlyMap<string, number> {
  const weights = new Map<string, number>();
  for (const { tenant, weight = 1 } of keys) {
    weights.set(tenant, Math.max(weight, weights.get(tenant) ?? 0));
  }
  return weights;
}
