import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../base/prng.ts';
import { Config } from '../model/config.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../model/ids.ts';
import type { Arrival, Fact, Order } from '../model/kernel-io.ts';
import type { Worker } from '../model/worker.ts';
import { Kernel, type KernelSettings } from './kernel.ts';
import { POLICY_NAMES } from './route/policies.ts';

test('each request is dispatched or refused once, whatever happens around it, and all books balance', () => {
  fc.assert(
    fc.property(fc.integer(), fc.constantFrom(...POLICY_NAMES), (seed, policy) => {
      const world = new World(seed, policy);
      for (let i = 0; i < 300; i++) world.act();
      world.settle();
    }),
    { numRuns: 60 },
  );
});

test('a request waits where no worker has room, and goes in order when one has', () => {
  const kernel = makeKernel({ requestsPerSlotMax: 1 });
  kernel.handle(0, { kind: 'workerJoined', worker: workerOf('a', { slots: 1 }) });
  assert.equal(dispatched(kernel.handle(1, arrived('r1'))), 'a');
  assert.equal(dispatched(kernel.handle(2, arrived('r2'))), undefined);
  assert.equal(dispatched(kernel.handle(3, arrived('r3'))), undefined);
  const orders = kernel.handle(10, finished('r1'));
  const dispatch = orders.find((order) => order.kind === 'dispatch');
  assert.ok(dispatch?.kind === 'dispatch');
  assert.equal(dispatch.request, 'r2');
  assert.equal(dispatch.decision.queuedUs, 8);
});

test('what a worker says has left is not promised, however lately it was computed', () => {
  const kernel = makeKernel();
  const worker = 'a' as WorkerId;
  kernel.handle(0, { kind: 'workerJoined', worker: workerOf('a') });
  const hashes = chain(1, 60);
  const promised = (nowUs: number, id: string) => {
    const orders = kernel.handle(nowUs, arrived(id, { hashes, promptTokens: 1000 }));
    const order = orders.find((one) => one.kind === 'dispatch');
    assert.ok(order?.kind === 'dispatch');
    return order.decision.candidates[0].matchedTokens;
  };
  assert.equal(promised(1, 'r1'), 0);
  kernel.handle(2, { kind: 'firstTokenSent', request: 'r1' as RequestId });
  kernel.handle(3, finished('r1'));
  assert.equal(promised(4, 'r2'), 960, 'no event told of it yet, but it is there');
  kernel.handle(5, { kind: 'firstTokenSent', request: 'r2' as RequestId });
  kernel.handle(6, finished('r2'));
  kernel.handle(7, { kind: 'blocksStored', worker, hashes, tier: 'device' });
  const left = hashes.slice(40).reverse();
  kernel.handle(8, { kind: 'blocksRemoved', worker, hashes: left, tier: 'device' });
  assert.equal(promised(9, 'r3'), 640);
});

test('who waits for too long is refused with a time to come back', () => {
  const kernel = makeKernel({ queueUsMax: 1000 });
  const [wake] = kernel.handle(5, arrived('r1'));
  assert.deepEqual(wake, { kind: 'wake', atUs: 1005 });
  const [reject] = kernel.handle(1005, { kind: 'ticked' });
  assert.ok(reject.kind === 'reject' && reject.code === 'no_worker');
  assert.ok((reject.retryAfterUs ?? 0) > 0);
});

test('a full queue refuses at once', () => {
  const kernel = makeKernel({ queueRequestsMax: 2 });
  kernel.handle(0, arrived('r1'));
  kernel.handle(0, arrived('r2'));
  const [reject] = kernel.handle(0, arrived('r3'));
  assert.ok(reject.kind === 'reject' && reject.code === 'queue_full');
});

test('a prompt that no worker of the model can hold is refused, not kept waiting', () => {
  const kernel = makeKernel();
  kernel.handle(0, { kind: 'workerJoined', worker: workerOf('a', { contextTokens: 1000 }) });
  const [reject] = kernel.handle(1, arrived('r1', { promptTokens: 1000 }));
  assert.ok(reject.kind === 'reject' && reject.code === 'context_length_exceeded');
});

test('after a failure another worker serves; where there is none, the same one again', () => {
  const kernel = makeKernel({ attemptsMax: 3 });
  for (const name of ['a', 'b']) kernel.handle(0, { kind: 'workerJoined', worker: workerOf(name) });
  const first = dispatched(kernel.handle(1, arrived('r1')));
  const second = dispatched(kernel.handle(2, failed('r1', first)));
  assert.notEqual(second, first);
  const third = dispatched(kernel.handle(3, failed('r1', second)));
  assert.ok(third !== undefined);
  const [reject] = kernel.handle(4, failed('r1', third));
  assert.ok(reject.kind === 'reject' && reject.code === 'engine_lost');
  kernel.check();
});

test('a thread returns to its KV; without room for it there, the price says where', () => {
  const kernel = makeKernel();
  for (const name of ['a', 'b']) kernel.handle(0, { kind: 'workerJoined', worker: workerOf(name) });
  kernel.handle(1, arrived('busy', { thread: 'other' }));
  const thread = { thread: 't', hashes: chain(7, 60), promptTokens: 1000 };
  assert.equal(dispatched(kernel.handle(2, arrived('r1', thread))), 'b', 'a is busy');
  kernel.handle(3, {
    kind: 'blocksStored',
    worker: 'b' as WorkerId,
    hashes: chain(7, 60),
    tier: 'device',
  });
  kernel.handle(4, finished('r1'));
  kernel.handle(5, finished('busy'));
  assert.equal(dispatched(kernel.handle(6, arrived('r2', thread))), 'b', 'its KV is there');
});

test('lost events make a worker predicted until it starts over', () => {
  const kernel = makeKernel();
  kernel.handle(0, { kind: 'workerJoined', worker: workerOf('a') });
  const stored: Fact = {
    kind: 'blocksStored',
    worker: 'a' as WorkerId,
    hashes: chain(1, 4),
    tier: 'device',
  };
  kernel.handle(1, stored);
  assert.equal(kernel.state(1).workers[0].indexedBlocks, 4);
  kernel.handle(2, { kind: 'feedLost', worker: 'a' as WorkerId });
  kernel.handle(3, stored);
  assert.deepEqual(pick(kernel), { mode: 'predicted', indexedBlocks: 0 });
  kernel.handle(4, { kind: 'blocksCleared', worker: 'a' as WorkerId });
  kernel.handle(5, stored);
  assert.deepEqual(pick(kernel), { mode: 'exact', indexedBlocks: 4 });
});

test('two salts, same tokens: nothing of one tenant is counted for the other', () => {
  const kernel = makeKernel();
  kernel.handle(0, { kind: 'workerJoined', worker: workerOf('a') });
  kernel.handle(1, {
    kind: 'blocksStored',
    worker: 'a' as WorkerId,
    hashes: chain(1, 60),
    tier: 'device',
  });
  const orders = kernel.handle(2, arrived('r1', { hashes: chain(1001, 60), promptTokens: 1000 }));
  const dispatch = orders.find((order) => order.kind === 'dispatch');
  assert.ok(dispatch?.kind === 'dispatch');
  assert.equal(dispatch.decision.candidates[0].matchedTokens, 0);
});

/** A fleet and its clients, acting at random but within the rules of the shell. */
class World {
  readonly #rng: Prng;
  readonly #kernel: Kernel;
  readonly #fate = new Map<RequestId, 'open' | 'running' | 'ended'>();
  readonly #placed = new Map<RequestId, WorkerId>();
  readonly #workers = new Set<WorkerId>();
  #nowUs = 0;
  #names = 0;

  constructor(seed: number, policy: string) {
    this.#rng = new Prng(seed);
    this.#kernel = makeKernel({
      policy,
      queueRequestsMax: 20,
      queueUsMax: 5000,
      requestsPerSlotMax: 2,
    });
  }

  act(): void {
    this.#nowUs += this.#rng.below(200);
    const fact = this.#fact();
    if (fact !== undefined) this.#tell(fact);
  }

  /** Everything ends, then nothing is left. */
  settle(): void {
    for (const id of [...this.#placed.keys()]) this.#tell(finished(id));
    while (this.#placed.size > 0) {
      for (const id of [...this.#placed.keys()]) this.#tell(finished(id));
    }
    this.#nowUs += 10_000;
    this.#tell({ kind: 'ticked' });
    for (const id of [...this.#placed.keys()]) this.#tell(finished(id));
    const state = this.#kernel.state(this.#nowUs);
    assert.equal(state.running, 0);
    assert.equal(state.waiting, 0);
    for (const [id, fate] of this.#fate) assert.equal(fate, 'ended', `${id} came to an end`);
  }

  #fact(): Fact | undefined {
    const rng = this.#rng;
    const running = [...this.#placed.keys()];
    const open = [...this.#fate].filter(([, fate]) => fate === 'open').map(([id]) => id);
    switch (rng.below(12)) {
      case 0: {
        const worker = workerOf(`w${this.#names++}`, { slots: 1 + rng.below(3) });
        if (this.#workers.size >= 4) return undefined;
        this.#workers.add(worker.id);
        return { kind: 'workerJoined', worker };
      }
      case 1: {
        if (this.#workers.size === 0 || rng.below(3) > 0) return undefined;
        const worker = rng.pick([...this.#workers]);
        this.#workers.delete(worker);
        return { kind: 'workerLeft', worker };
      }
      case 2:
        if (this.#workers.size === 0) return undefined;
        return {
          kind: 'healthChanged',
          worker: rng.pick([...this.#workers]),
          healthy: rng.below(2) === 0,
        };
      case 3:
        if (open.length === 0) return undefined;
        return { kind: 'cancelled', request: rng.pick(open) };
      case 4:
        if (running.length === 0) return undefined;
        return { kind: 'cancelled', request: rng.pick(running) };
      case 5: {
        if (running.length === 0) return undefined;
        const request = rng.pick(running);
        const worker = this.#placed.get(request) as WorkerId;
        return { kind: 'failed', request, worker, retry: rng.below(3) > 0 };
      }
      case 6:
      case 7:
        return running.length === 0 ? undefined : finished(rng.pick(running));
      case 8:
        return running.length === 0
          ? undefined
          : { kind: 'firstTokenSent', request: rng.pick(running) };
      case 9:
        return { kind: 'ticked' };
      default: {
        const length = 1 + rng.below(20);
        return arrived(`r${this.#names++}`, {
          thread: rng.below(3) === 0 ? undefined : `t${rng.below(5)}`,
          hashes: chain(rng.below(3) * 100, length),
          promptTokens: length * 16 + rng.below(16),
        });
      }
    }
  }

  #tell(fact: Fact): void {
    if (fact.kind === 'arrived') this.#fate.set(fact.request.id, 'open');
    const ends = fact.kind === 'finished' || fact.kind === 'cancelled';
    if (ends || fact.kind === 'failed') {
      this.#fate.set(fact.request, ends || !fact.retry ? 'ended' : 'open');
      this.#placed.delete(fact.request);
    }
    for (const order of this.#kernel.handle(this.#nowUs, fact)) this.#note(order);
    this.#kernel.check();
  }

  #note(order: Order): void {
    if (order.kind !== 'dispatch' && order.kind !== 'reject') return;
    assert.equal(this.#fate.get(order.request), 'open', 'answered once');
    this.#fate.set(order.request, order.kind === 'dispatch' ? 'running' : 'ended');
    if (order.kind !== 'dispatch') return;
    assert.ok(this.#workers.has(order.worker), 'to a worker that is there');
    for (const { terms, totalUs } of order.decision.candidates) {
      const sum = Object.values(terms).reduce((total, term) => total + term, 0);
      assert.equal(sum, totalUs, 'terms add up');
    }
    this.#placed.set(order.request, order.worker);
  }
}

function makeKernel(changes: Partial<KernelSettings> = {}): Kernel {
  const { limits } = Config.parse({});
  return new Kernel({ settings: { policy: 'stator', ...limits, ...changes }, rng: new Prng(1) });
}

function workerOf(name: string, changes: Partial<Worker> = {}): Worker {
  return {
    id: name as WorkerId,
    models: ['m'],
    blockTokens: 16,
    contextTokens: 10_000,
    slots: 4,
    requestsMax: 100,
    cacheTokens: 20_000,
    hasEvents: true,
    prefill: { perTokenUs: 100, perTokenContextUs: 0.05 },
    decode: { stepUs: 500, perSequenceUs: 300 },
    ...changes,
  };
}

function arrived(
  id: string,
  given: { thread?: string; hashes?: BigUint64Array; promptTokens?: number } = {},
): { kind: 'arrived'; request: Arrival } {
  const hashes = given.hashes ?? new BigUint64Array(0);
  return {
    kind: 'arrived',
    request: {
      id: id as RequestId,
      tenant: 'default' as TenantId,
      model: 'm',
      thread: given.thread as ThreadId | undefined,
      promptTokens: given.promptTokens ?? 100,
      hashes,
      blockTokens: 16,
      outputTokensMax: 100,
      priority: 0,
    },
  };
}

function finished(id: string): Extract<Fact, { kind: 'finished' }> {
  return { kind: 'finished', request: id as RequestId, outputTokens: 20, cachedTokens: undefined };
}

function failed(id: string, worker: string | undefined): Fact {
  return { kind: 'failed', request: id as RequestId, worker: worker as WorkerId, retry: true };
}

function dispatched(orders: readonly Order[]): string | undefined {
  const order = orders.find((one) => one.kind === 'dispatch');
  return order?.kind === 'dispatch' ? order.worker : undefined;
}

function chain(first: number, length: number): BigUint64Array {
  return BigUint64Array.from({ length }, (_, i) => BigInt(first + i));
}

function pick(kernel: Kernel) {
  const [{ mode, indexedBlocks }] = kernel.state(10).workers;
  return { mode, indexedBlocks };
}
