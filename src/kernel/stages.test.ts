import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../base/prng.ts';
import { Config } from '../model/config.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../model/ids.ts';
import type { Fact, Order } from '../model/kernel-io.ts';
import type { WorkerRules } from '../model/worker.ts';
import { Kernel } from './kernel.ts';

const BLOCK_TOKENS = 16;

test('a long prompt that nobody has is computed apart, and answered where its KV is brought', () => {
  const fleet = new Fleet();
  fleet.busy('d0', 4);
  fleet.busy('d1', 4);
  const first = fleet.asks({ blocks: 1000 });
  assert.deepEqual([first.worker, first.decision.stage?.kind], ['p', 'prefill']);
  const second = fleet.prefilled(first.request);
  const stage = second?.decision.stage;
  assert.ok(second !== undefined && stage?.kind === 'decode' && stage.from === 'p');
  assert.ok(stage.usMax > 0, 'there is a time for bringing it');
  const { worker, decision } = second;
  const chosen = decision.candidates.find((one) => one.worker === worker);
  assert.equal(chosen?.broughtTokens, 1000 * BLOCK_TOKENS);
  fleet.ends(second.request, { cachedTokens: 1000 * BLOCK_TOKENS });
  assert.equal(fleet.prefilled(first.request), undefined, 'once is enough');
});

test('a short tail stays with whoever holds the rest; what it lacks alone is brought', () => {
  const fleet = new Fleet();
  fleet.busy('d0', 4);
  fleet.busy('d1', 4);
  fleet.holds('d0', 990);
  const { worker, decision } = fleet.asks({ blocks: 1000 });
  assert.deepEqual([worker, decision.stage], ['d0', undefined]);
  const long = fleet.asks({ blocks: 3000 });
  // The last one is being computed there: it counts as held.
  const next = { worker: id('d0'), heldTokens: 1000 * BLOCK_TOKENS };
  assert.deepEqual(long.decision.stage, { kind: 'prefill', next });
  const answer = fleet.prefilled(long.request);
  assert.equal(answer?.worker, 'd0');
  const chosen = answer?.decision.candidates.find((one) => one.worker === 'd0');
  assert.ok((chosen?.broughtTokens ?? 0) <= 2010 * BLOCK_TOKENS);
});

test('whoever computes prompts answers none, and without stages nothing goes there', () => {
  const fleet = new Fleet({ inStages: false });
  for (let i = 0; i < 20; i++) {
    const { worker, decision } = fleet.asks({ blocks: 1000, chain: i + 1 });
    assert.notEqual(worker, 'p');
    assert.equal(decision.stage, undefined);
  }
});

test('where KV cannot move, each computes its own prompts', () => {
  const fleet = new Fleet({ layouts: { p: 'one', d0: 'another', d1: undefined } });
  fleet.busy('d0', 4);
  fleet.busy('d1', 4);
  assert.equal(fleet.asks({ blocks: 1000 }).decision.stage, undefined);
});

test('a stage that fails, loses its worker or its client leaves nothing behind', () => {
  const fleet = new Fleet();
  let prompts = 0;
  const begin = () => {
    const order = fleet.asks({ blocks: 1000, chain: ++prompts });
    assert.equal(order.worker, 'p');
    return order.request;
  };
  fleet.busy('d0', 4);
  fleet.busy('d1', 4);
  const cancelled = begin();
  fleet.tell({ kind: 'cancelled', request: cancelled });
  assert.equal(fleet.prefilled(cancelled), undefined);

  const failed = begin();
  const [again] = fleet.tell({ kind: 'failed', request: failed, worker: id('p'), retry: true });
  assert.ok(
    again.kind === 'dispatch' && again.worker !== 'p' && again.decision.stage === undefined,
  );
  fleet.ends(failed, { cachedTokens: 0, firstUs: 1.6e6 });

  // What was to answer fails: the prompt is computed anew, and may be apart again.
  const request = begin();
  const answer = fleet.prefilled(request);
  assert.ok(answer !== undefined);
  const [anew] = fleet.tell({ kind: 'failed', request, worker: answer.worker, retry: true });
  assert.ok(anew.kind === 'dispatch' && anew.decision.stage?.kind !== 'decode');
  fleet.tell({ kind: 'cancelled', request });

  const orphan = begin();
  fleet.tell({ kind: 'workerLeft', worker: id('p') });
  const whole = fleet.prefilled(orphan);
  assert.ok(whole !== undefined && whole.decision.stage === undefined, 'its KV left with it');
});

test('where nobody is left who answers, those that compute prompts do; then never again', () => {
  const fleet = new Fleet();
  const long = () => fleet.asks({ blocks: 1000, chain: ++fleet.chains });
  fleet.busy('d0', 4);
  fleet.busy('d1', 4);
  assert.equal(long().decision.stage?.kind, 'prefill');
  const began = long();
  assert.equal(began.worker, 'p');
  fleet.tell({ kind: 'healthChanged', worker: id('d0'), healthy: false });
  fleet.tell({ kind: 'workerLeft', worker: id('d1') });
  const alone = long();
  assert.deepEqual([alone.worker, alone.decision.stage], ['p', undefined]);
  const whole = fleet.prefilled(began.request);
  assert.deepEqual([whole?.worker, whole?.decision.stage], ['p', undefined], 'it is there already');
  fleet.tell({ kind: 'healthChanged', worker: id('d0'), healthy: true });
  assert.notDeepEqual([long().worker, long().decision.stage], ['p', undefined]);
  fleet.tell({ kind: 'drainChanged', worker: id('d0'), draining: true });
  assert.equal(long().worker, 'p');
});

test('a worker for answers computes what is short, and all of it where nobody is left for prompts', () => {
  const fleet = new Fleet({ roles: { p: 'prefill', d0: 'decode', d1: 'decode' } });
  assert.notEqual(fleet.asks({ blocks: 10 }).worker, 'p');
  fleet.busy('d0', 4);
  fleet.busy('d1', 4);
  assert.equal(fleet.asks({ blocks: 1000, chain: 2 }).worker, 'p');
  fleet.tell({ kind: 'healthChanged', worker: id('p'), healthy: false });
  const { worker, decision } = fleet.asks({ blocks: 1000, chain: 3 });
  assert.ok(worker !== 'p' && decision.stage === undefined);
});

test('transfers that take longer than computing are given up, and tried no more', () => {
  const fleet = new Fleet();
  fleet.busy('d0', 1);
  fleet.busy('d1', 1);
  const stages: (string | undefined)[] = [];
  for (let i = 0; i < 40; i++) {
    const first = fleet.asks({ blocks: 1000, chain: i + 1 });
    stages.push(first.decision.stage?.kind);
    const order =
      first.decision.stage === undefined ? first : fleet.prefilled(first.request, 1.6e6);
    assert.ok(order !== undefined);
    const isBrought = order.decision.stage !== undefined;
    fleet.ends(order.request, {
      cachedTokens: isBrought ? 1000 * BLOCK_TOKENS : 0,
      firstUs: isBrought ? 9e6 : 1.6e6,
    });
  }
  assert.equal(stages[0], 'prefill');
  assert.ok(!stages.slice(-10).includes('prefill'), stages.join());
});

test('whatever happens in whatever order, the books balance', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const rng = new Prng(seed);
    const fleet = new Fleet();
    const open = new Map<RequestId, WorkerId>();
    const see = (orders: readonly Order[]) => {
      for (const order of orders) {
        if (order.kind === 'dispatch') open.set(order.request, order.worker);
        if (order.kind === 'reject') open.delete(order.request);
      }
    };
    for (let i = 0; i < 80; i++) {
      const request = rng.pick([...open.keys(), undefined]);
      const fate = rng.below(6);
      if (request === undefined || fate === 0) {
        const thread = rng.below(3) === 0 ? undefined : `t${rng.below(5)}`;
        see(fleet.arrives({ blocks: 1 + rng.below(800), chain: 1 + rng.below(6), thread }));
        continue;
      }
      const worker = open.get(request) as WorkerId;
      if (fate === 1) see(fleet.tell({ kind: 'failed', request, worker, retry: true }));
      else if (fate <= 3) see(fleet.tell({ kind: 'prefilled', request, cachedTokens: 0 }));
      else if (fate === 4) fleet.tell({ kind: 'firstTokenSent', request });
      else {
        fleet.tell({ kind: 'finished', request, outputTokens: 5, cachedTokens: undefined });
        open.delete(request);
      }
    }
  }
});

type Dispatch = Extract<Order, { kind: 'dispatch' }>;

/** Two workers that answer, and one for prompts only. */
class Fleet {
  readonly #kernel: Kernel;
  #nowUs = 0;
  #requests = 0;
  chains = 0;

  constructor(
    given: {
      inStages?: boolean;
      layouts?: Record<string, string | undefined>;
      roles?: Record<string, WorkerRules['role']>;
    } = {},
  ) {
    const { inStages = true, layouts = { p: 'kv', d0: 'kv', d1: 'kv' } } = given;
    const { roles = { p: 'prefill' } } = given;
    const { limits } = Config.parse({});
    const settings = { ...limits, policy: 'stator', inStages, kvMovesMax: 0 };
    this.#kernel = new Kernel({ settings, rng: new Prng(1) });
    for (const [name, kvLayout] of Object.entries(layouts)) {
      const worker = {
        id: id(name),
        models: ['m'],
        blockTokens: BLOCK_TOKENS,
        contextTokens: 200_000,
        slots: 16,
        requestsMax: 64,
        cacheTokens: 1_000_000,
        hasEvents: true,
        class: 'c',
        kvLayout,
        rules: roles[name] && { ...ANYBODY, role: roles[name] },
        prefill: { perTokenUs: 100, perTokenContextUs: 0 },
        decode: { stepUs: 5000, perSequenceUs: 300 },
      };
      this.tell({ kind: 'workerJoined', worker });
    }
  }

  holds(worker: string, blocks: number): void {
    this.tell({
      kind: 'blocksStored',
      worker: id(worker),
      hashes: chain(1, blocks),
      tier: 'device',
    });
  }

  /** So many answer there for long, each of a chain of its own. */
  busy(worker: string, count: number): void {
    for (let i = 0; i < count; i++) {
      const wants = { worker: id(worker), tolerations: [], labels: [] };
      const [order] = this.arrives({ blocks: 1, chain: 1000 + this.#requests, wants });
      assert.ok(order.kind === 'dispatch' && order.worker === worker);
      this.tell({ kind: 'firstTokenSent', request: order.request });
    }
  }

  asks(given: { blocks: number; chain?: number }): Dispatch {
    const order = this.arrives(given).find(({ kind }) => kind === 'dispatch');
    assert.ok(order?.kind === 'dispatch');
    return order;
  }

  arrives(given: {
    blocks: number;
    chain?: number;
    thread?: string | undefined;
    wants?: { worker: WorkerId; tolerations: string[]; labels: [string, string][] };
  }): Order[] {
    const request = {
      id: `r${++this.#requests}` as RequestId,
      tenant: 't' as TenantId,
      model: 'm',
      thread: given.thread as ThreadId | undefined,
      promptTokens: given.blocks * BLOCK_TOKENS + 1,
      hashes: chain(given.chain ?? 1, given.blocks),
      blockTokens: BLOCK_TOKENS,
      outputTokensMax: 100,
      priority: 0,
      wants: given.wants,
    };
    return this.tell({ kind: 'arrived', request });
  }

  prefilled(request: RequestId, tookUs = 0): Dispatch | undefined {
    this.#nowUs += tookUs;
    const orders = this.tell({ kind: 'prefilled', request, cachedTokens: 0 });
    return orders.find((order): order is Dispatch => order.kind === 'dispatch');
  }

  ends(request: RequestId, given: { cachedTokens: number; firstUs?: number }): void {
    this.#nowUs += given.firstUs ?? 0;
    this.tell({ kind: 'firstTokenSent', request });
    this.#nowUs += 500_000;
    const { cachedTokens } = given;
    this.tell({ kind: 'finished', request, outputTokens: 20, cachedTokens });
  }

  tell(fact: Fact): Order[] {
    const orders = this.#kernel.handle(this.#nowUs++, fact);
    this.#kernel.check();
    return orders;
  }
}

const ANYBODY: WorkerRules = {
  adapters: [],
  role: 'both',
  tenants: [],
  taints: [],
  labels: {},
};

const id = (worker: string) => worker as WorkerId;

function chain(prefix: number, length: number): BigUint64Array {
  return BigUint64Array.from({ length }, (_, i) => BigInt(prefix) * 1_000_003n + BigInt(i + 1));
}
