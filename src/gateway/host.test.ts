import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../base/prng.ts';
import { Kernel } from '../kernel/kernel.ts';
import { Config } from '../model/config.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../model/ids.ts';
import type { Order } from '../model/kernel-io.ts';
import { Host, type Placement } from './host.ts';

const PREFIX = 625;

test('a request placed where a copy is on its way is let go when the move has ended, well or not', async () => {
  for (const ok of [true, false]) {
    const rig = new Rig();
    const move = rig.fansOut(6);
    await settle();
    assert.ok(rig.isHeld() && rig.placements.size > 0, 'some go at once, some wait');
    const reached = ok ? { blocks: PREFIX, tokens: 16 * PREFIX } : { blocks: 0, tokens: 0 };
    rig.host.tell({ kind: 'replicated', move, ok, tookUs: 1000, ...reached });
    await settle();
    assert.equal(rig.placements.size, 6);
    rig.host.check();
  }
});

test('a client that leaves while its request is held is told so, and the request goes nowhere', async () => {
  const rig = new Rig();
  const move = rig.fansOut(6);
  await settle();
  const held = 6 - rig.placements.size;
  rig.leaving.abort();
  await settle();
  assert.equal(rig.refused, held, 'who runs already is not the host’s to end');
  rig.host.tell({ kind: 'replicated', move, ok: true, blocks: 1, tokens: 16, tookUs: 1000 });
  await settle();
  assert.equal(rig.placements.size, 6 - held);
  assert.equal(rig.host.state().running, 6 - held);
});

/** Two workers of one layout, the first of which holds a long prefix. */
class Rig {
  readonly host: Host;
  readonly moves: Extract<Order, { kind: 'replicate' }>[] = [];
  readonly placements = new Map<RequestId, Placement>();
  readonly leaving = new AbortController();
  refused = 0;

  constructor() {
    const { limits } = Config.parse({});
    this.host = new Host({
      kernel: new Kernel({ settings: { policy: 'stator', ...limits }, rng: new Prng(1) }),
      clock: { nowUs: () => 1000, wallMs: () => 0, after: () => () => {} },
      sink: { note: () => {} },
      replicate: (order) => this.moves.push(order),
    });
    for (const id of ['a', 'b'] as WorkerId[]) {
      this.host.tell({
        kind: 'workerJoined',
        worker: {
          ...{ id, models: ['m'], blockTokens: 16, contextTokens: 32_000 },
          ...{ slots: 2, requestsMax: 100, cacheTokens: 200_000, hasEvents: true },
          ...{ class: 'one', kvLayout: 'equal' },
          prefill: { perTokenUs: 100, perTokenContextUs: 0 },
          decode: { stepUs: 500, perSequenceUs: 300 },
        },
      });
    }
    const hashes = BigUint64Array.from({ length: PREFIX }, (_, i) => hash(i));
    this.host.tell({ kind: 'blocksStored', worker: 'a' as WorkerId, hashes, tier: 'device' });
  }

  /** Returns the one move that is begun for them. */
  fansOut(count: number): number {
    for (let i = 0; i < count; i++) {
      const hashes = BigUint64Array.from({ length: PREFIX + 1 }, (_, at) =>
        hash(at < PREFIX ? at : 1_000_000 + i),
      );
      const id = `r${i}` as RequestId;
      const request = {
        ...{ id, tenant: 'default' as TenantId, model: 'm', thread: `t${i}` as ThreadId },
        ...{ promptTokens: hashes.length * 16 + 5, hashes, blockTokens: 16 },
        ...{ outputTokensMax: 100, priority: 0 },
      };
      void this.host.admit(request, this.leaving.signal).then(
        (placement) => this.placements.set(id, placement),
        () => this.refused++,
      );
    }
    assert.equal(this.moves.length, 1);
    return this.moves[0].move;
  }

  isHeld(): boolean {
    return this.placements.size < this.host.state().running;
  }
}

function hash(number: number): bigint {
  return BigInt(number + 1) * 0x9e3779b97f4a7c15n;
}

function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
