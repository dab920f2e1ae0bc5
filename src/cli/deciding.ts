/** The kernel, and who carries out its orders. */
import type { Prng } from '../base/prng.ts';
import { moveKv } from '../engines/stator-kv.ts';
import { Host } from '../gateway/host.ts';
import { KvMoves } from '../gateway/kv-moves.ts';
import { Kernel } from '../kernel/kernel.ts';
import type { Config } from '../model/config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Fact } from '../model/kernel-io.ts';
import type { Clock, KvControl, Sink } from '../ports.ts';

interface Deciding {
  clock: Clock;
  sink: Sink;
  rng: Prng;
  kvOf: (worker: WorkerId) => KvControl | undefined;
}

export function beginDeciding({ policy, limits }: Config, { rng, kvOf, ...world }: Deciding) {
  const kernel = new Kernel({ settings: { policy, ...limits }, rng });
  const tell = (fact: Fact) => host.tell(fact);
  const kvMoves = new KvMoves({ ...world, kvOf, tell, move: moveKv });
  const host: Host = new Host({ ...world, kernel, replicate: (order) => kvMoves.begin(order) });
  return { host, kvMoves };
}
