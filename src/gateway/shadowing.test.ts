import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../base/prng.ts';
import { Shadows } from '../kernel/shadow/shadow.ts';
import { Config } from '../model/config.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../model/ids.ts';
import type { Fact, Order } from '../model/kernel-io.ts';
import { Shadowing } from './shadowing.ts';

test('shadows hear of a request after it went its way, and before anybody asks how they do', () => {
  const late: (() => void)[] = [];
  const clock = {
    nowUs: () => 5_000,
    wallMs: () => 0,
    after: (_us: number, run: () => void) => {
      late.push(run);
      return () => {};
    },
  };
  const { limits } = Config.parse({});
  const heard: Fact[] = [];
  const shadows = new Shadows({ policy: 'sticky', shadows: ['random'], ...limits }, new Prng(1));
  const handle = shadows.handle.bind(shadows);
  shadows.handle = (nowUs, fact, orders) => {
    heard.push(fact);
    handle(nowUs, fact, orders);
  };
  const shadowing = new Shadowing({ shadows, clock });
  const tell = (fact: Fact, orders: Order[] = []) =>
    shadowing.note({ kind: 'kernel', atUs: 1_000, fact, orders, tookUs: 1 });

  tell({ kind: 'workerJoined', worker: WORKER });
  tell({ kind: 'arrived', request: REQUEST });
  tell({ kind: 'blocksCleared', worker: WORKER.id });
  assert.deepEqual(heard, [], 'nobody waits for a comparison');
  assert.equal(late.length, 1, 'one breath for all');
  late[0]();
  assert.deepEqual(
    heard.map(({ kind }) => kind),
    ['workerJoined', 'arrived'],
  );

  tell({ kind: 'finished', request: REQUEST.id, outputTokens: 3, cachedTokens: 0 });
  const [, random] = shadowing.report();
  assert.deepEqual([random.policy, random.wouldBe.requests], ['random', 1]);
  assert.equal(late.length, 2);
  late[1]();
  assert.equal(heard.length, 3, 'nothing is heard twice');
});

const WORKER = {
  id: 'w' as WorkerId,
  models: ['demo'],
  blockTokens: 16,
  contextTokens: 10_000,
  slots: 2,
  requestsMax: 8,
  cacheTokens: 10_000,
  hasEvents: true,
  prefill: { perTokenUs: 50, perTokenContextUs: 0 },
  decode: { stepUs: 1000, perSequenceUs: 10 },
};

const REQUEST = {
  id: 'r0' as RequestId,
  tenant: 'default' as TenantId,
  model: 'demo',
  thread: 't' as ThreadId,
  promptTokens: 40,
  hashes: BigUint64Array.of(1n, 2n),
  blockTokens: 16,
  outputTokensMax: 9,
  priority: 0,
};
