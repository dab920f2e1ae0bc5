import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import { Config } from '../../model/config.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { Candidate, Fact, Order } from '../../model/kernel-io.ts';
import type { Worker } from '../../model/worker.ts';
import { Kernel, type KernelSettings } from '../kernel.ts';

type Replicate = Extract<Order, { kind: 'replicate' }>;

/** 10,000 tokens; at 100 µs a token a second to compute. */
const PREFIX = chain(1, 625);

test('of eight siblings that come at once, those who hold their prefix take some, and it is copied for the others', () => {
  const fleet = new Fleet(4);
  fleet.holds('w0', PREFIX);
  const moves = fleet.fansOut(8);
  assert.ok(moves.length >= 1 && moves.length <= 2, `${moves.length} moves`);
  const [{ from, to, hashes, usMax }] = moves;
  assert.equal(from, 'w0');
  assert.notEqual(to, 'w0');
  assert.deepEqual(hashes, PREFIX, 'what all share, and nothing of their own');
  assert.ok(usMax > 500_000 && usMax <= 1_000_000, 'one alone would compute for a second');
});

test('who comes meanwhile may wait for the copy, at its price, and finds it there afterwards', () => {
  const fleet = new Fleet(2);
  fleet.holds('w0', PREFIX);
  const moves = fleet.fansOut(8);
  const [{ move, to }] = moves;
  const waiting = fleet.placed.filter(({ awaits }) => awaits !== undefined);
  assert.ok(waiting.length > 0);
  for (const { awaits, worker, matchedTokens, terms } of waiting) {
    assert.deepEqual([awaits, worker, matchedTokens], [move, to, 10_000]);
    assert.ok(terms.prefill + terms.fetch < 500_000, 'far less than computing it');
  }
  fleet.replicated(move, { ok: true, tookUs: 80_000 });
  fleet.ends();
  fleet.placed.length = 0;
  assert.deepEqual(fleet.fansOut(6), [], 'no event told of it yet, but it is there');
  assert.ok(fleet.placed.some(({ worker }) => worker === to));
  for (const { awaits, matchedTokens } of fleet.placed) {
    assert.deepEqual([awaits, matchedTokens], [undefined, 10_000]);
  }
});

test('what the holders have room for needs no copy, nor do the turns of one thread', () => {
  const fleet = new Fleet(4);
  fleet.holds('w0', PREFIX);
  assert.deepEqual(fleet.fansOut(2), []);
  const busy = new Fleet(4);
  busy.holds('w0', PREFIX);
  for (let i = 0; i < 12; i++) assert.deepEqual(busy.asks('one thread', PREFIX), []);
});

test('nothing is copied where computing is cheaper than the transfer, and what transfers take is learnt', () => {
  const short = new Fleet(4);
  short.holds('w0', PREFIX.slice(0, 2));
  assert.deepEqual(short.fansOut(8, PREFIX.slice(0, 2)), []);

  const fleet = new Fleet(4);
  let made = 0;
  for (let round = 0; round < 30; round++) {
    const prefix = chain(1000 * (round + 2), 625);
    fleet.holds('w0', prefix);
    const moves = fleet.fansOut(8, prefix);
    for (const { move } of moves) fleet.replicated(move, { ok: true, tookUs: 60_000_000 });
    made += moves.length;
    fleet.quiet();
  }
  assert.ok(made >= 1, 'the prior let one be tried');
  const prefix = chain(900_000, 625);
  fleet.holds('w0', prefix);
  assert.deepEqual(fleet.fansOut(8, prefix), [], 'a minute for what takes a second to compute');
});

test('it goes only where such KV is used, may be used for this request, and fits', () => {
  const cases: [string, Partial<Worker>][] = [
    ['another layout', { kvLayout: 'other' }],
    ['none', { kvLayout: undefined }],
    ['no room', { cacheTokens: 9_000 }],
    ['kept for others', { rules: { ...RULES, tenants: ['someone' as TenantId] } }],
  ];
  for (const [why, changes] of cases) {
    const fleet = new Fleet(1);
    for (const name of ['x', 'y']) fleet.joins(name, changes);
    fleet.holds('w0', PREFIX);
    assert.deepEqual(fleet.fansOut(8), [], why);
  }
  const off = new Fleet(4, { kvMovesMax: 0 });
  off.holds('w0', PREFIX);
  assert.deepEqual(off.fansOut(8), [], 'switched off');
});

test('a copy is made once; one that failed is tried again, but not soon', () => {
  const fleet = new Fleet(2);
  fleet.holds('w0', PREFIX);
  const [first] = fleet.fansOut(8);
  assert.ok(first !== undefined);
  fleet.replicated(first.move, { ok: false, tookUs: 1000 });
  fleet.ends();
  fleet.nowUs += 1_000_000;
  assert.deepEqual(fleet.fansOut(8), [], 'a second later');
  fleet.quiet();
  fleet.brought.length = 0;
  const [again] = [...fleet.fansOut(8), ...fleet.brought];
  assert.deepEqual({ ...again, move: 0 }, { ...first, move: 0 });
  fleet.replicated(again.move, { ok: true, tookUs: 80_000 });
  fleet.quiet();
  assert.deepEqual(fleet.fansOut(8), [], 'it was made');
});

test('however many come, no more moves are under way than may be, and the same facts give the same orders', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 3 }), (seed, kvMovesMax) => {
      assert.deepEqual(afternoon(seed, kvMovesMax), afternoon(seed, kvMovesMax));
    }),
    { numRuns: 20 },
  );
});

/** Families of siblings, workers that come and go, moves that end or fail at random. */
function afternoon(seed: number, kvMovesMax: number): Order[] {
  const rng = new Prng(seed);
  const fleet = new Fleet(3, { kvMovesMax });
  const underWay = new Set<number>();
  const seen: Order[] = [];
  let workers = 3;
  for (let i = 0; i < 150; i++) {
    fleet.nowUs += rng.below(200_000);
    const family = rng.below(3);
    const prefix = chain(100_000 * (family + 1), 100 + 100 * family);
    const end = [...underWay][0];
    const act = rng.below(10);
    if (act === 0) fleet.holds(`w${rng.below(workers)}`, prefix);
    else if (act === 1 && end !== undefined) {
      underWay.delete(end);
      fleet.replicated(end, { ok: rng.below(2) === 0, tookUs: 1 + rng.below(500_000) });
    } else if (act === 2) fleet.ends();
    else if (act === 3 && workers < 8) fleet.joins(`w${workers++}`);
    else if (act === 4)
      fleet.tells({ kind: 'workerLeft', worker: `w${rng.below(workers)}` as WorkerId });
    else {
      const moves = fleet.asks(`thread ${rng.below(40)}`, prefix);
      for (const { move } of moves) underWay.add(move);
      seen.push(...moves);
    }
    assert.ok(underWay.size <= kvMovesMax);
    fleet.check();
  }
  return seen;
}

const RULES = { adapters: [], role: 'both', tenants: [], taints: [], labels: {} } as const;
const QUIET_US = 400_000_000;

/** Workers of one class that take and give KV, with a kernel before them. */
class Fleet {
  nowUs = 0;
  /** The chosen candidates of all that were placed. */
  readonly placed: Candidate[] = [];
  /** What was copied for one that waited for it. */
  readonly brought: Replicate[] = [];
  readonly #kernel: Kernel;
  readonly #running: RequestId[] = [];
  #requests = 0;

  constructor(workers: number, changes: Partial<KernelSettings> = {}) {
    const { limits } = Config.parse({});
    const settings = { policy: 'stator', ...limits, ...changes };
    this.#kernel = new Kernel({ settings, rng: new Prng(1) });
    for (let i = 0; i < workers; i++) this.joins(`w${i}`);
  }

  joins(name: string, changes: Partial<Worker> = {}): void {
    const worker: Worker = {
      id: name as WorkerId,
      models: ['m'],
      blockTokens: 16,
      contextTokens: 32_000,
      slots: 4,
      requestsMax: 100,
      cacheTokens: 200_000,
      hasEvents: true,
      class: 'one',
      kvLayout: 'equal',
      prefill: { perTokenUs: 100, perTokenContextUs: 0 },
      decode: { stepUs: 500, perSequenceUs: 300 },
      ...changes,
    };
    this.tells({ kind: 'workerJoined', worker });
  }

  tells(fact: Fact): Order[] {
    return this.#kernel.handle(this.nowUs, fact);
  }

  holds(worker: string, hashes: BigUint64Array): void {
    this.tells({ kind: 'blocksStored', worker: worker as WorkerId, hashes, tier: 'device' });
  }

  /** Sub-agents of their own threads, each with ten blocks that nobody else has. */
  fansOut(count: number, prefix = PREFIX): Replicate[] {
    const moves: Replicate[] = [];
    for (let i = 0; i < count; i++) {
      moves.push(...this.asks(`sub-agent ${this.#requests}`, prefix));
      this.nowUs += 1000;
    }
    return moves;
  }

  asks(thread: string, prefix: BigUint64Array): Replicate[] {
    const number = this.#requests++;
    const id = `r${number}` as RequestId;
    const own = chain(10_000_000 + 100 * number, 10);
    const hashes = BigUint64Array.from([...prefix, ...own]);
    const orders = this.tells({
      kind: 'arrived',
      request: {
        id,
        tenant: 'default' as TenantId,
        model: 'm',
        thread: thread as ThreadId,
        promptTokens: hashes.length * 16 + 5,
        hashes,
        blockTokens: 16,
        outputTokensMax: 100,
        priority: 0,
      },
    });
    this.#running.push(id);
    const known = this.placed.length;
    for (const order of orders) if (order.kind === 'dispatch') this.#note(order);
    const moves = orders.filter((order) => order.kind === 'replicate');
    // What goes with somebody is not ahead of anybody.
    const brought = new Set(this.placed.slice(known).map(({ awaits }) => awaits));
    this.brought.push(...moves.filter(({ move }) => brought.has(move)));
    return moves.filter(({ move }) => !brought.has(move));
  }

  #note({ worker, decision }: Extract<Order, { kind: 'dispatch' }>): void {
    this.placed.push(...decision.candidates.filter((one) => one.worker === worker));
  }

  replicated(move: number, given: { ok: boolean; tookUs: number }): void {
    const reached = given.ok ? { blocks: 625, tokens: 10_000 } : { blocks: 0, tokens: 0 };
    this.tells({ kind: 'replicated', move, ...given, ...reached });
  }

  /** All that runs ends. */
  ends(): void {
    for (const request of this.#running.splice(0)) {
      this.tells({ kind: 'finished', request, outputTokens: 5, cachedTokens: undefined });
    }
  }

  /** And nobody remembers it. */
  quiet(): void {
    this.ends();
    this.nowUs += QUIET_US;
    this.tells({ kind: 'ticked' });
  }

  check(): void {
    this.#kernel.check();
  }
}

function chain(first: number, length: number): BigUint64Array {
  return BigUint64Array.from({ length }, (_, i) => BigInt(first + i) * 0x9e3779b97f4a7c15n);
}
