/** Next prompts that are foreseen: when they are computed, where, and who they give way to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import { Config } from '../../model/config.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { Decision, Fact, Forgone } from '../../model/kernel-io.ts';
import { Kernel } from '../kernel.ts';

const TENANT = 't' as TenantId;
const BLOCK_TOKENS = 16;

test('what its worker lacks of a next prompt is computed there; what it has is not', () => {
  for (const missing of [0, 1, 60]) {
    const fleet = new Fleet(2);
    const home = fleet.turn('a', { blocks: 100 });
    const id = fleet.foresees('a', { blocks: 100, missing });
    const expected = missing === 60 ? home : 'ready';
    assert.equal(fleet.fate(id), expected, `${missing} blocks are missing`);
  }
});

test('what is not told of yet is known from the turn itself, and trusted only for a while', () => {
  const fleet = new Fleet(1);
  fleet.turn('a', { blocks: 100, told: 20 });
  assert.equal(fleet.fate(fleet.foresees('a', { blocks: 100, held: 100 })), 'ready');
  fleet.turn('b', { blocks: 100, told: 20 });
  fleet.turn('c', { blocks: 10, isOpen: true });
  const late = fleet.foresees('b', { blocks: 100, held: 100 });
  assert.equal(fleet.fate(late), 'waits');
  fleet.passes(2_000_000);
  fleet.ends('c');
  assert.equal(fleet.fate(late), 'w0', 'by now events would have told');
});

test('prompts that wait in lower tiers are brought up where that takes time', () => {
  const fleet = new Fleet(1);
  fleet.turn('a', { blocks: 400 });
  fleet.passes(2_000_000);
  fleet.removed('a', 400);
  fleet.stored('a', 400, 'disk');
  assert.equal(fleet.fate(fleet.foresees('a', { blocks: 400 })), 'w0');
});

test('it waits until its worker is idle, whatever other workers do', () => {
  const fleet = new Fleet(2);
  fleet.turn('a', { blocks: 100 });
  fleet.turn('b', { blocks: 10, worker: fleet.homes.get('a'), isOpen: true });
  const id = fleet.foresees('a', { blocks: 100, missing: 60 });
  assert.equal(fleet.fate(id), 'waits');
  fleet.ends('b');
  assert.equal(fleet.fate(id), fleet.homes.get('a'));
});

test('whoever comes to its worker stops it for good, and is placed as if it were not there', () => {
  const decisions = [false, true].map((ahead) => {
    const fleet = new Fleet(1);
    fleet.turn('a', { blocks: 100 });
    const id = fleet.foresees('a', { blocks: 100, missing: ahead ? 60 : 0 });
    assert.equal(fleet.fate(id), ahead ? 'w0' : 'ready');
    const decision = fleet.arrives('b', { blocks: 50 });
    if (ahead) assert.equal(fleet.fate(id), 'wanted');
    fleet.ends('b');
    if (ahead) assert.equal(fleet.fate(id), 'wanted');
    return decision?.candidates;
  });
  assert.deepEqual(decisions[0], decisions[1]);
});

test('its thread’s return ends it, however far it is', () => {
  const fleet = new Fleet(1);
  fleet.turn('a', { blocks: 100 });
  const running = fleet.foresees('a', { blocks: 100, missing: 60 });
  fleet.arrives('a', { blocks: 110 });
  assert.equal(fleet.fate(running), 'back');
  const late = fleet.foresees('a', { blocks: 100, missing: 60 });
  assert.equal(fleet.fate(late), 'back', 'its client was quicker');
  fleet.ends('a');
  fleet.turn('b', { blocks: 10, isOpen: true });
  const waits = fleet.foresees('a', { blocks: 100, missing: 60 });
  const again = fleet.foresees('a', { blocks: 100, missing: 50 });
  assert.deepEqual([fleet.fate(waits), fleet.fate(again)], ['back', 'waits']);
  fleet.tells({ kind: 'threadEnded', tenant: TENANT, thread: 'a' as ThreadId });
  assert.equal(fleet.fate(again), 'back');
});

test('without a home, or where nobody knows what lies there, nothing is computed', () => {
  const fleet = new Fleet(1, { hasEvents: false });
  assert.equal(fleet.fate(fleet.foresees('nobody', { blocks: 100, missing: 60 })), 'homeless');
  fleet.turn('a', { blocks: 100 });
  assert.equal(fleet.fate(fleet.foresees('a', { blocks: 100, missing: 60 })), 'unknown');
  const rival = new Fleet(1, { policy: 'sticky' });
  rival.turn('a', { blocks: 100 });
  assert.equal(rival.fate(rival.foresees('a', { blocks: 100, missing: 60 })), 'unknown');
  const gone = new Fleet(1);
  gone.turn('a', { blocks: 100 });
  gone.turn('b', { blocks: 10, isOpen: true });
  const id = gone.foresees('a', { blocks: 100, missing: 60 });
  gone.tells({ kind: 'workerLeft', worker: 'w0' as WorkerId });
  assert.equal(gone.fate(id), 'homeless');
});

test('so many wait at most: then the oldest goes', () => {
  const fleet = new Fleet(1);
  for (let i = 0; i < 100; i++) fleet.turn(`a${i}`, { blocks: 30 });
  fleet.turn('b', { blocks: 10, isOpen: true });
  const ids = Array.from({ length: 100 }, (_, i) =>
    fleet.foresees(`a${i}`, { blocks: 30, missing: 20 }),
  );
  const fates = ids.map((id) => fleet.fate(id));
  assert.deepEqual(new Set(fates), new Set(['full', 'waits']));
  assert.ok(fates.lastIndexOf('full') < fates.indexOf('waits'));
  fleet.ends('b');
  const waiting = ids.filter((id) => fleet.fate(id) === 'waits').length;
  assert.equal(ids.filter((id) => fleet.fate(id) === 'w0').length, 1, 'one at a time');
  for (let i = 0; i < waiting; i++) fleet.computesAhead();
  assert.deepEqual(new Set(ids.map((id) => fleet.fate(id))), new Set(['full', 'w0']));
});

test('whatever happens, nobody waits for what is computed ahead, and all of it ends', () => {
  for (let seed = 1; seed <= 25; seed++) {
    const random = new Prng(seed);
    const fleet = new Fleet(3);
    const threads = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (let i = 0; i < 120; i++) {
      const thread = random.pick(threads);
      fleet.passes(random.below(400_000));
      const blocks = 10 + random.below(100);
      const act = random.below(6);
      if (fleet.open.has(thread)) fleet.ends(thread);
      else if (act === 0) fleet.computesAhead();
      else if (act < 3) fleet.arrives(thread, { blocks });
      else fleet.foresees(thread, { blocks, missing: random.below(blocks), held: 0 });
    }
    for (const thread of [...fleet.open.keys()]) fleet.ends(thread);
    while (fleet.computesAhead());
    for (const id of fleet.foreseen) assert.notEqual(fleet.fate(id), 'waits', `seed ${seed}`);
  }
});

class Fleet {
  readonly homes = new Map<string, string>();
  /** Requests that run, by thread. */
  readonly open = new Map<string, { id: RequestId; worker: string }>();
  readonly foreseen: RequestId[] = [];
  readonly #fates = new Map<RequestId, Forgone | WorkerId>();
  readonly #computing = new Map<RequestId, WorkerId>();
  readonly #threadOf = new Map<RequestId, string>();
  readonly #kernel: Kernel;
  #nowUs = 0;
  #count = 0;
  #last: Decision | undefined;

  constructor(workers: number, { hasEvents = true, policy = 'stator' } = {}) {
    const { limits } = Config.parse({});
    this.#kernel = new Kernel({ settings: { ...limits, policy }, rng: new Prng(1) });
    for (let i = 0; i < workers; i++) {
      const worker = {
        ...{ id: `w${i}` as WorkerId, models: ['m'], blockTokens: BLOCK_TOKENS, hasEvents },
        ...{ contextTokens: 32_768, slots: 4, requestsMax: 64, cacheTokens: 1_000_000 },
        prefill: { perTokenUs: 100, perTokenContextUs: 0 },
        decode: { stepUs: 2_000, perSequenceUs: 300 },
      };
      this.tells({ kind: 'workerJoined', worker });
      this.#nowUs += 1;
    }
  }

  /** A turn of so many blocks; the worker told of all of them, or of as many as are `told`. */
  turn(
    thread: string,
    given: { blocks: number; told?: number; worker?: string | undefined; isOpen?: true },
  ): string {
    this.arrives(thread, given);
    const { worker } = this.#running(thread);
    this.stored(thread, given.told ?? given.blocks, 'device');
    if (given.isOpen === undefined) this.ends(thread);
    return worker;
  }

  arrives(
    thread: string,
    { blocks, worker }: { blocks: number; worker?: string | undefined },
  ): Decision | undefined {
    const id = `r${this.#count++}` as RequestId;
    this.#threadOf.set(id, thread);
    const wants = { worker: worker as WorkerId | undefined, tolerations: [], labels: [] };
    this.#last = undefined;
    this.tells({
      kind: 'arrived',
      request: { ...requestOf(id, chainOf(thread, blocks)), thread: thread as ThreadId, wants },
    });
    return this.#last;
  }

  ends(thread: string): void {
    const { id } = this.#running(thread);
    this.open.delete(thread);
    this.tells({ kind: 'firstTokenSent', request: id });
    // As long ago as events take.
    this.passes(1_100_000);
    this.tells({ kind: 'finished', request: id, outputTokens: 5, cachedTokens: undefined });
  }

  /** The last `missing` blocks are others than those of the thread's turns. */
  foresees(
    thread: string,
    { blocks, missing = 0, held }: { blocks: number; missing?: number; held?: number },
  ): RequestId {
    const id = `ahead${this.#count++}` as RequestId;
    const hashes = chainOf(thread, blocks);
    for (let i = blocks - missing; i < blocks; i++) hashes[i] += BigInt(this.#count) << 40n;
    this.foreseen.push(id);
    this.tells({
      kind: 'foreseen',
      request: requestOf(id, hashes),
      thread: thread as ThreadId,
      heldBlocks: held ?? 0,
    });
    return id;
  }

  /** One of those that run ends. */
  computesAhead(): boolean {
    const [next] = this.#computing;
    if (next === undefined) return false;
    const [request] = next;
    this.#computing.delete(request);
    this.tells({ kind: 'firstTokenSent', request });
    this.tells({ kind: 'finished', request, outputTokens: 1, cachedTokens: undefined });
    return true;
  }

  /** Where it was sent, or why it was not or no longer. */
  fate(id: RequestId): string {
    return this.#fates.get(id) ?? 'waits';
  }

  stored(thread: string, blocks: number, tier: 'device' | 'disk'): void {
    const worker = (this.open.get(thread)?.worker ?? this.homes.get(thread)) as WorkerId;
    this.tells({ kind: 'blocksStored', worker, hashes: chainOf(thread, blocks), tier });
  }

  removed(thread: string, blocks: number): void {
    const worker = this.homes.get(thread) as WorkerId;
    const hashes = chainOf(thread, blocks);
    this.tells({ kind: 'blocksRemoved', worker, hashes, tier: 'device' });
  }

  passes(us: number): void {
    this.#nowUs += us;
  }

  tells(fact: Fact): void {
    for (const order of this.#kernel.handle(this.#nowUs, fact)) {
      if (order.kind === 'forgo') {
        this.#fates.set(order.request, order.why);
        this.#computing.delete(order.request);
      }
      if (order.kind === 'dispatch') this.#dispatched(order.request, order.worker, order.decision);
    }
    for (const worker of this.#computing.values()) {
      for (const one of this.open.values()) {
        assert.notEqual(one.worker, worker, 'it runs alone, or not at all');
      }
    }
    this.#kernel.check();
  }

  #dispatched(id: RequestId, worker: WorkerId, decision: Decision): void {
    if (this.foreseen.includes(id)) {
      assert.equal(this.fate(id), 'waits', 'sent once');
      this.#fates.set(id, worker);
      this.#computing.set(id, worker);
      return;
    }
    this.#last = decision;
    const thread = this.#threadOf.get(id) ?? '';
    this.open.set(thread, { id, worker });
    this.homes.set(thread, worker);
  }

  #running(thread: string): { id: RequestId; worker: string } {
    const one = this.open.get(thread);
    assert.ok(one !== undefined, `${thread} runs`);
    return one;
  }
}

function requestOf(id: RequestId, hashes: BigUint64Array) {
  return {
    ...{ id, tenant: TENANT, model: 'm', thread: undefined, hashes, blockTokens: BLOCK_TOKENS },
    ...{ promptTokens: hashes.length * BLOCK_TOKENS + 1, outputTokensMax: 10, priority: 0 },
  };
}

function chainOf(thread: string, blocks: number): BigUint64Array {
  const seed = [...thread].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7);
  return BigUint64Array.from({ length: blocks }, (_, i) => BigInt(seed) * 10_000n + BigInt(i));
}
