import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import { Config } from '../../model/config.ts';
import type { RequestId, TenantId, WorkerId } from '../../model/ids.ts';
import { Kernel } from '../kernel.ts';

test('each model’s requests go where its own policy sends them', () => {
  const { limits } = Config.parse({});
  const policies = { turns: 'round-robin' };
  const settings = { ...limits, policy: 'stator', policies };
  const kernel = new Kernel({ settings, rng: new Prng(1) });
  for (const id of ['a', 'b', 'c'] as WorkerId[]) {
    const worker = {
      ...{ id, models: ['turns', 'other'], blockTokens: 16, contextTokens: 100_000, slots: 8 },
      ...{ requestsMax: 64, cacheTokens: 1_000_000, hasEvents: true, class: 'c' },
      prefill: { perTokenUs: 100, perTokenContextUs: 0 },
      decode: { stepUs: 5000, perSequenceUs: 300 },
    };
    kernel.handle(0, { kind: 'workerJoined', worker });
  }
  const hashes = BigUint64Array.from({ length: 100 }, (_, i) => BigInt(i + 1));
  kernel.handle(1, { kind: 'blocksStored', worker: 'b' as WorkerId, hashes, tier: 'device' });
  let count = 0;
  const ask = (model: string) => {
    const id = `r${++count}` as RequestId;
    const request = {
      ...{ id, model, tenant: 't' as TenantId, thread: undefined, promptTokens: 1601, hashes },
      ...{ blockTokens: 16, outputTokensMax: 10, priority: 0 },
    };
    const orders = kernel.handle(2 + count, { kind: 'arrived', request });
    const order = orders.find(({ kind }) => kind === 'dispatch');
    assert.ok(order?.kind === 'dispatch');
    kernel.handle(2 + count, { kind: 'firstTokenSent', request: id });
    const end = { outputTokens: 5, cachedTokens: undefined };
    kernel.handle(2 + count, { kind: 'finished', request: id, ...end });
    return order.worker;
  };
  assert.deepEqual(
    [1, 2, 3].map(() => ask('other')),
    ['b', 'b', 'b'],
  );
  assert.equal(new Set([1, 2, 3].map(() => ask('turns'))).size, 3);
  kernel.check();
});
