import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import { Config } from '../../model/config.ts';
import type { RequestId, TenantId, WorkerId } from '../../model/ids.ts';
import type { Fact, Order } from '../../model/kernel-io.ts';
import { Kernel } from '../kernel.ts';

const S = 1_000_000;

test('a worker whose requests fail gets none, is asked for one token, then gets one, then as others', () => {
  const fleet = new Fleet(2);
  for (let i = 0; i < 3; i++) fleet.fails(fleet.asks('a'));
  assert.equal(fleet.fitness('a'), 'unfit');
  assert.equal(fleet.asks().worker, 'b');
  fleet.passes(S);
  assert.deepEqual(fleet.probed, ['a']);
  fleet.tells({ kind: 'probed', worker: 'a' as WorkerId, ok: false });
  fleet.passes(S);
  assert.equal(fleet.probed.length, 1, 'it is left alone for longer');
  fleet.passes(S);
  assert.equal(fleet.probed.length, 2);
  fleet.tells({ kind: 'probed', worker: 'a' as WorkerId, ok: true });
  assert.equal(fleet.fitness('a'), 'trial');
  const first = fleet.asks('a');
  assert.equal(first.worker, 'a');
  assert.equal(fleet.asks('a').worker, undefined, 'a second one waits');
  fleet.answers(first, { itlUs: 1000 });
  assert.equal(fleet.fitness('a'), 'fit');
});

test('what fails everywhere shuts no more than half of a fleet, and never the only worker', () => {
  const fleet = new Fleet(4);
  const names = ['a', 'b', 'c', 'd'];
  for (let i = 0; i < 5; i++) {
    for (const name of names) {
      if (fleet.fitness(name) === 'fit') fleet.fails(fleet.asks(name));
    }
  }
  assert.deepEqual(names.map((name) => fleet.fitness(name)).sort(), [
    'fit',
    'fit',
    'unfit',
    'unfit',
  ]);
  const one = new Fleet(1);
  for (let i = 0; i < 10; i++) one.fails(one.asks('a'));
  assert.equal(one.fitness('a'), 'fit');
});

test('the only one of its kind is left alone too where others serve its model, and that is said', () => {
  const fleet = new Fleet(1);
  fleet.joins('b', 'another kind');
  for (let i = 0; i < 3; i++) fleet.fails(fleet.asks('b'));
  assert.deepEqual([fleet.fitness('a'), fleet.fitness('b')], ['fit', 'unfit']);
  assert.match(fleet.warnings.join(), /^b failed at most of what it was sent lately/);
  fleet.passes(S);
  fleet.tells({ kind: 'probed', worker: 'b' as WorkerId, ok: true });
  fleet.fails(fleet.asks('b'));
  assert.equal(fleet.warnings.length, 1, 'once, until it was well');
});

test('whose answers come in one piece is named, and is slow to nobody’s mind', () => {
  const fleet = new Fleet(2);
  for (let i = 0; i < 5; i++) fleet.answersAtOnce(fleet.asks('a'));
  assert.match(fleet.warnings.join(), /^answers of a come in one piece/);
  assert.equal(fleet.report('a')?.heldBack, true);
  assert.equal(fleet.report('a')?.curve.answers, 0, 'nothing is learnt of them');
  fleet.answers(fleet.asks('a'), { itlUs: 3000 });
  assert.equal(fleet.report('a')?.heldBack, true, 'a short one says nothing');
  fleet.answers(fleet.asks('a'), { itlUs: 3000, outputTokens: 64 });
  assert.equal(fleet.report('a')?.heldBack, false);
});

test('one of eight ten times slower is set aside, what runs there moves, and later it is tried again', () => {
  const fleet = new Fleet(8);
  const itlUs = (worker: string) => (worker === 'c' ? 30_000 : 3000);
  const runs = fleet.asks('c');
  fleet.serves(40, itlUs);
  assert.equal(fleet.fitness('c'), 'unfit');
  assert.ok(fleet.moved.includes(runs.id), 'its clients are not left with it');
  assert.match(fleet.warnings[0], /^c is (9|10|11)\.\d times slower than its like/);
  fleet.tells({
    kind: 'failed',
    request: runs.id,
    worker: 'c' as WorkerId,
    retry: true,
    why: 'moved',
  });
  fleet.passes(10 * S);
  assert.equal(fleet.fitness('c'), 'fit');
  fleet.serves(200, () => 3000);
  assert.equal(fleet.fitness('c'), 'fit', 'it is well again');
});

test('never is more than a third of a fleet set aside, and nobody of two', () => {
  const slow = new Set(['a', 'b', 'c', 'd']);
  const fleet = new Fleet(9);
  fleet.serves(600, (worker) => (slow.has(worker) ? 40_000 : 3000));
  const aside = [...slow].filter((worker) => fleet.fitness(worker) === 'unfit');
  assert.ok(aside.length > 0 && aside.length <= 3, aside.join());
  const two = new Fleet(2);
  two.serves(100, (worker) => (worker === 'a' ? 90_000 : 3000));
  assert.equal(two.fitness('a'), 'fit');
});

test('a fleet that is slow as a whole, or a little uneven, loses nobody', () => {
  for (const factor of [1, 2, 3]) {
    const fleet = new Fleet(6);
    const rng = new Prng(factor);
    fleet.serves(400, (worker) => (worker === 'a' ? factor : 1) * (20_000 + rng.below(20_000)));
    assert.deepEqual(fleet.warnings, [], `${factor} times`);
  }
});

test('a drain that moves asks each that runs there to leave, once it is told so', () => {
  const fleet = new Fleet(2);
  const ids = Array.from({ length: 4 }, () => fleet.asks('a').id);
  const elsewhere = fleet.asks('b').id;
  fleet.tells({ kind: 'drainChanged', worker: 'a' as WorkerId, draining: true });
  assert.equal(fleet.moved.length, 0);
  fleet.tells({ kind: 'drainChanged', worker: 'a' as WorkerId, draining: true, moves: true });
  assert.deepEqual(fleet.moved, ids);
  assert.ok(!fleet.moved.includes(elsewhere));
});

interface Asked {
  id: RequestId;
  /** Undefined: it waits. */
  worker: string | undefined;
}

class Fleet {
  readonly probed: string[] = [];
  readonly moved: string[] = [];
  readonly warnings: string[] = [];
  readonly #kernel: Kernel;
  readonly #workers: string[];
  #nowUs = 0;
  #wakeUs = Number.POSITIVE_INFINITY;
  #count = 0;

  constructor(workers: number) {
    const { limits } = Config.parse({});
    const settings = { ...limits, policy: 'round-robin' };
    this.#kernel = new Kernel({ settings, rng: new Prng(1) });
    this.#workers = Array.from({ length: workers }, (_, i) => 'abcdefghi'[i]);
    for (const id of this.#workers) this.joins(id, 'all');
  }

  joins(id: string, kind: string): void {
    this.tells({
      kind: 'workerJoined',
      worker: {
        ...{ id: id as WorkerId, models: ['m'], blockTokens: 16, contextTokens: 10_000 },
        ...{ slots: 8, requestsMax: 64, cacheTokens: 100_000, hasEvents: false, class: kind },
        prefill: { perTokenUs: 10, perTokenContextUs: 0 },
        decode: { stepUs: 3000, perSequenceUs: 0 },
      },
    });
  }

  asks(worker?: string): Asked {
    const id = `r${this.#count++}` as RequestId;
    const wants =
      worker === undefined
        ? undefined
        : { worker: worker as WorkerId, tolerations: [], labels: [] };
    const orders = this.tells({
      kind: 'arrived',
      request: {
        ...{ id, tenant: 't' as TenantId, model: 'm', thread: undefined, promptTokens: 100 },
        ...{ hashes: new BigUint64Array(0), blockTokens: 16, outputTokensMax: 100, priority: 0 },
        wants,
      },
    });
    const placed = orders.find((order) => order.kind === 'dispatch' && order.request === id);
    return { id, worker: placed?.kind === 'dispatch' ? placed.worker : undefined };
  }

  fails({ id, worker }: Asked): void {
    const from = (worker ?? assert.fail('it was placed')) as WorkerId;
    this.tells({ kind: 'failed', request: id, worker: from, retry: false, why: 'engine' });
  }

  answers(
    { id, worker }: Asked,
    { itlUs, outputTokens = 21 }: { itlUs: number; outputTokens?: number },
  ): void {
    assert.ok(worker !== undefined);
    this.tells({ kind: 'firstTokenSent', request: id });
    this.#nowUs += (outputTokens - 1) * itlUs;
    this.tells({ kind: 'finished', request: id, outputTokens, cachedTokens: 0 });
  }

  /** After a second, all of it. */
  answersAtOnce(asked: Asked): void {
    this.#nowUs += S;
    this.answers(asked, { itlUs: 1, outputTokens: 101 });
  }

  /** One after the other, so that nobody makes anybody else slow. */
  serves(count: number, itlUs: (worker: string) => number): void {
    for (let i = 0; i < count; i++) {
      const asked = this.asks();
      if (asked.worker !== undefined) this.answers(asked, { itlUs: itlUs(asked.worker) });
    }
  }

  passes(us: number): void {
    this.#nowUs += us;
    if (this.#nowUs >= this.#wakeUs) this.tells({ kind: 'ticked' });
  }

  fitness(worker: string): string | undefined {
    return this.report(worker)?.fitness;
  }

  report(worker: string) {
    return this.#kernel.state(this.#nowUs).workers.find(({ id }) => id === worker);
  }

  tells(fact: Fact): Order[] {
    const orders = this.#kernel.handle(this.#nowUs, fact);
    this.#kernel.check();
    for (const order of orders) {
      if (order.kind === 'wake') this.#wakeUs = order.atUs;
      if (order.kind === 'probe') this.probed.push(order.worker);
      if (order.kind === 'move') this.moved.push(order.request);
      if (order.kind === 'warn') this.warnings.push(order.sentence);
    }
    return orders;
  }
}
