import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import { Config } from '../../model/config.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { Arrival, Fact, Order, WorkerWants } from '../../model/kernel-io.ts';
import type { Worker, WorkerRules } from '../../model/worker.ts';
import { Kernel } from '../kernel.ts';

const RULES: WorkerRules = { adapters: [], role: 'both', tenants: [], taints: [], labels: {} };
const WANTS: WorkerWants = { tolerations: [], labels: [] };

test('each rule of a worker and each wish of a request is kept, and nobody is the wiser otherwise', () => {
  const cases: { rules?: Partial<WorkerRules>; wants?: Partial<WorkerWants>; served: boolean }[] = [
    { served: true },
    { wants: { worker: 'a' as WorkerId }, served: true },
    { wants: { worker: 'b' as WorkerId }, served: false },
    { wants: { adapter: 'sql' }, served: false },
    { rules: { adapters: ['sql'] }, wants: { adapter: 'sql' }, served: true },
    { rules: { adapters: ['law'] }, wants: { adapter: 'sql' }, served: false },
    { rules: { role: 'prefill' }, served: true },
    { rules: { role: 'decode' }, served: true },
    { rules: { role: 'prefill' }, wants: { role: 'prefill' }, served: true },
    { rules: { role: 'decode' }, wants: { role: 'prefill' }, served: false },
    { rules: { tenants: ['acme' as TenantId] }, served: true },
    { rules: { tenants: ['other' as TenantId] }, served: false },
    { rules: { taints: ['spot'] }, served: false },
    { rules: { taints: ['spot'] }, wants: { tolerations: ['spot', 'slow'] }, served: true },
    { rules: { taints: ['spot', 'old'] }, wants: { tolerations: ['spot'] }, served: false },
    { wants: { labels: [['zone', 'b']] }, served: false },
    { rules: { labels: { zone: 'b' } }, wants: { labels: [['zone', 'b']] }, served: true },
    { rules: { labels: { zone: 'a' } }, wants: { labels: [['zone', 'b']] }, served: false },
  ];
  for (const { rules, wants, served } of cases) {
    const fleet = new Fleet();
    fleet.joins('a', rules && { ...RULES, ...rules });
    const orders = fleet.asks(wants && { ...WANTS, ...wants });
    const dispatched = orders.some((order) => order.kind === 'dispatch');
    assert.equal(dispatched, served, JSON.stringify({ rules, wants }));
  }
});

test('where nobody may serve it, the refusal names every reason, and room is none of them', () => {
  const fleet = new Fleet();
  fleet.joins('a', { ...RULES, taints: ['spot'] });
  fleet.joins('b', { ...RULES, tenants: ['other' as TenantId] });
  fleet.joins('c');
  fleet.tells({ kind: 'drainChanged', worker: 'c' as WorkerId, draining: true });
  fleet.asks();
  const [reject] = fleet.waits();
  assert.ok(reject.kind === 'reject' && reject.code === 'no_worker');
  assert.equal(
    reject.sentence,
    'None of the 3 engines of this model may serve this request: 1 is tainted, which it does not tolerate, 1 is kept for other tenants, 1 is being drained.',
  );
});

test('a wish that no worker is made for is refused at once; one that may come true is not', () => {
  const fleet = new Fleet();
  fleet.joins('a');
  const [reject] = fleet.asks({ ...WANTS, worker: 'nobody' as WorkerId });
  assert.ok(reject.kind === 'reject' && reject.code === 'no_worker');
  assert.match(reject.sentence, /1 is not the engine the request names/);
  assert.ok((reject.retryAfterUs ?? 0) > 0);
  fleet.tells({ kind: 'healthChanged', worker: 'a' as WorkerId, healthy: false });
  const orders = fleet.asks({ ...WANTS, worker: 'a' as WorkerId });
  assert.ok(!orders.some(({ kind }) => kind === 'reject' || kind === 'dispatch'));
  const back = fleet.tells({ kind: 'healthChanged', worker: 'a' as WorkerId, healthy: true });
  assert.ok(back.some(({ kind }) => kind === 'dispatch'));
});

test('a worker that is drained ends what it runs, takes nothing new, and serves again afterwards', () => {
  const fleet = new Fleet();
  fleet.joins('a');
  fleet.asks();
  const drain = (draining: boolean): Fact => ({
    kind: 'drainChanged',
    worker: 'a' as WorkerId,
    draining,
  });
  fleet.tells(drain(true));
  assert.ok(!fleet.asks().some((order) => order.kind === 'dispatch'));
  assert.ok(!fleet.ends(1).some((order) => order.kind === 'dispatch'));
  assert.ok(fleet.tells(drain(false)).some((order) => order.kind === 'dispatch'));
});

test('among thousands of workers the thread finds its KV, and a request the one worker it names', () => {
  const fleet = new Fleet();
  for (let i = 0; i < 3000; i++) fleet.joins(`w${i}`);
  const hashes = BigUint64Array.from({ length: 60 }, (_, i) => BigInt(77_000 + i) << 20n);
  fleet.tells({ kind: 'blocksStored', worker: 'w2345' as WorkerId, hashes, tier: 'device' });
  const [toKv] = fleet.asks(undefined, hashes);
  assert.ok(toKv.kind === 'dispatch' && toKv.worker === 'w2345');
  assert.ok(toKv.decision.candidates.length <= 20, 'receipts stay small');
  const [toNamed] = fleet.asks({ ...WANTS, worker: 'w1234' as WorkerId });
  assert.ok(toNamed.kind === 'dispatch' && toNamed.worker === 'w1234');
});

class Fleet {
  readonly #kernel: Kernel;
  #nowUs = 0;
  #requests = 0;

  constructor() {
    const { limits } = Config.parse({});
    const settings = { policy: 'stator', ...limits };
    this.#kernel = new Kernel({ settings, rng: new Prng(1) });
  }

  joins(name: string, rules?: WorkerRules): void {
    const worker: Worker = {
      id: name as WorkerId,
      models: ['m'],
      blockTokens: 16,
      contextTokens: 10_000,
      slots: 4,
      requestsMax: 100,
      cacheTokens: 20_000,
      hasEvents: true,
      class: 'c',
      rules,
      prefill: { perTokenUs: 100, perTokenContextUs: 0.05 },
      decode: { stepUs: 500, perSequenceUs: 300 },
    };
    this.tells({ kind: 'workerJoined', worker });
  }

  asks(wants?: WorkerWants, hashes = new BigUint64Array(0)): Order[] {
    const request: Arrival = {
      id: `r${++this.#requests}` as RequestId,
      tenant: 'acme' as TenantId,
      model: 'm',
      thread: `t${this.#requests}` as ThreadId,
      promptTokens: 1000,
      hashes,
      blockTokens: 16,
      outputTokensMax: 100,
      priority: 0,
      wants,
    };
    return this.tells({ kind: 'arrived', request });
  }

  ends(request: number): Order[] {
    const id = `r${request}` as RequestId;
    return this.tells({ kind: 'finished', request: id, outputTokens: 5, cachedTokens: undefined });
  }

  /** For longer than a request may wait. */
  waits(): Order[] {
    this.#nowUs += 1_000_000_000;
    return this.tells({ kind: 'ticked' });
  }

  tells(fact: Fact): Order[] {
    const orders = this.#kernel.handle(this.#nowUs++, fact);
    this.#kernel.check();
    return orders;
  }
}
