import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TenantId, ThreadId, WorkerId } from '../model/ids.ts';
import type { Fact, KeepOrder } from '../model/kernel-io.ts';
import { BlockSpace } from './block-space.ts';
import { ChainCache } from './chain-cache.ts';
import { SimClock } from './clock.ts';
import { ModelledEngine } from './modelled-engine.ts';
import type { Profile } from './profile.ts';
import { Wishes } from './wishes.ts';

const BLOCK_TOKENS = 16;
const FETCH_PER_TOKEN_US = 2;
/** Of two blocks. */
const FETCH_US = 2 * BLOCK_TOKENS * FETCH_PER_TOKEN_US;

test('what is retained leaves last, until its time is over', () => {
  const rig = new Rig({ deviceBlocks: 6, hostBlocks: 0 });
  const [a, b] = [rig.runs('a'), rig.runs('b'), rig.runs('c')];
  rig.wishes('retain', 'a', a, { ttlUs: 100 });
  assert.deepEqual(rig.answers, [['accepted', 32]]);
  const d = rig.runs('d');
  assert.deepEqual([rig.held(a), rig.held(b), rig.held(d)], [2, 0, 2], 'not the oldest went');
  rig.passes(100);
  // From now on it is like what was used just then.
  rig.runs('e');
  rig.runs('f');
  assert.deepEqual([rig.held(a), rig.held(d)], [2, 0]);
  const g = rig.runs('g');
  assert.deepEqual([rig.held(a), rig.held(g)], [0, 2]);
});

test('what is released leaves first; what runs is let go of later', () => {
  const rig = new Rig({ deviceBlocks: 6, hostBlocks: 0 });
  const [a, , c] = [rig.runs('a'), rig.runs('b'), rig.runs('c')];
  rig.wishes('release', 'c', c);
  rig.runs('d');
  assert.deepEqual([rig.held(a), rig.held(c)], [2, 0], 'the newest went');
  assert.ok(rig.cache.admit(a, 2, 0), 'a sequence uses it');
  rig.wishes('release', 'a', a);
  assert.deepEqual(rig.answers, [
    ['accepted', 32],
    ['deferred', 0],
  ]);
});

test('what two threads begin with stays where one of them is released', () => {
  const rig = new Rig({ deviceBlocks: 8, hostBlocks: 0 });
  const a = rig.runs('a', 4);
  const b = rig.runs('b', Int32Array.of(a[0], a[1], ...rig.fresh(2)));
  rig.wishes('release', 'b', b);
  assert.deepEqual(rig.answers, [['accepted', 32]]);
  rig.runs('c', 4);
  assert.deepEqual([rig.held(a), rig.held(b)], [4, 2]);
});

test('what is demoted goes to host memory at once, and comes up when its turn on the way is over', () => {
  const rig = new Rig({ deviceBlocks: 6, hostBlocks: 6 });
  const [a, b] = [rig.runs('a'), rig.runs('b')];
  rig.wishes('prefetch', 'a', a);
  rig.wishes('demote', 'a', a);
  rig.wishes('demote', 'b', b);
  assert.deepEqual(rig.answers, [
    ['deferred', 0],
    ['accepted', 32],
    ['accepted', 32],
  ]);
  assert.deepEqual([rig.inHost(a), rig.inHost(b)], [2, 2]);
  rig.answers.length = 0;
  rig.wishes('prefetch', 'a', a);
  rig.wishes('prefetch', 'b', b);
  rig.published = 0;
  rig.passes(FETCH_US - 1);
  assert.deepEqual([rig.inHost(a), rig.answers], [2, []]);
  rig.passes(1);
  assert.deepEqual([rig.inHost(a), rig.inHost(b)], [0, 2], 'one after the other');
  rig.passes(FETCH_US);
  assert.deepEqual([rig.inHost(b), rig.held(b)], [0, 2]);
  assert.deepEqual(rig.answers, [
    ['accepted', 32],
    ['accepted', 32],
  ]);
  assert.equal(rig.published, 2, 'each is published when it is there');
});

test('whose room is taken on its way up stays below; an engine without host memory demotes nothing', () => {
  const rig = new Rig({ deviceBlocks: 4, hostBlocks: 4 });
  const a = rig.runs('a');
  rig.wishes('demote', 'a', a);
  rig.wishes('prefetch', 'a', a);
  rig.runs('b', 4);
  rig.passes(FETCH_US);
  assert.deepEqual(rig.answers.at(-1), ['deferred', 0]);
  assert.equal(rig.inHost(a), 2);
  const bare = new Rig({ deviceBlocks: 4, hostBlocks: 0 });
  const c = bare.runs('c');
  bare.wishes('demote', 'c', c);
  assert.deepEqual([bare.answers, bare.held(c)], [[['rejected', 0]], 2]);
});

test('of a prompt that is forgotten no wish is carried out', () => {
  const rig = new Rig({ deviceBlocks: 6, hostBlocks: 6 });
  const a = rig.runs('a');
  const hashes = rig.space.hashes(a);
  rig.wishes('retain', 'b', a, { ttlUs: 1 });
  rig.wishes('release', 'a', new Int32Array(0));
  const others = rig.fresh(1);
  for (let i = 0; i < 10_000; i++) rig.sent(`other ${i}`, others);
  for (const wish of ['retain', 'release', 'demote', 'prefetch'] as const) {
    rig.wishes(wish, 'a', a, { ttlUs: 1 });
  }
  assert.deepEqual(
    rig.answers,
    Array.from({ length: 6 }, () => ['missing', 0]),
  );
  // The numbers of its blocks become another session's while its thread still has a wish.
  rig.sent('a', a);
  rig.runs('c', 6);
  rig.runs('d', 6);
  assert.equal(rig.held(a), 0);
  rig.space.close(a[0]);
  const again = rig.runs('again', rig.fresh(2));
  assert.deepEqual(again, a);
  rig.answers.length = 0;
  rig.wishes('demote', 'a', hashes);
  assert.deepEqual([rig.answers, rig.inHost(again)], [[['missing', 0]], 0]);
});

test('a retain that runs out after something else was wished undoes nothing of that', () => {
  const rig = new Rig({ deviceBlocks: 6, hostBlocks: 0 });
  const [a, b, c] = [rig.runs('a'), rig.runs('b'), rig.runs('c')];
  rig.wishes('retain', 'c', c, { ttlUs: 100 });
  rig.passes(50);
  rig.wishes('release', 'c', c);
  rig.wishes('retain', 'a', a, { ttlUs: 10 });
  rig.wishes('retain', 'a', a, { ttlUs: 1000 });
  rig.passes(100);
  rig.runs('d');
  assert.deepEqual([rig.held(b), rig.held(c)], [2, 0], 'what was released still goes first');
  rig.runs('e');
  rig.runs('f');
  assert.deepEqual([rig.held(a), rig.held(b)], [2, 0], 'what is retained for longer stays');
});

class Rig {
  readonly space = new BlockSpace();
  readonly cache: ChainCache;
  readonly answers: [answer: string | undefined, tokens: number][] = [];
  published = 0;
  readonly #clock = new SimClock();
  readonly #wishes: Wishes;
  #moves = 0;

  constructor(sizes: { deviceBlocks: number; hostBlocks: number }) {
    this.cache = new ChainCache(this.space, sizes);
    const engine = new ModelledEngine<unknown>(
      this.cache,
      {
        profile: { hostFetchPerTokenUs: FETCH_PER_TOKEN_US } as Profile,
        ...{ blockTokens: BLOCK_TOKENS, runningBlocksMax: 6, transferPerTokenUs: 0, reuses: true },
      },
      { firstToken: () => {}, ended: () => {} },
    );
    this.#wishes = new Wishes({
      ...{ space: this.space, blockTokens: BLOCK_TOKENS },
      at: () => ({ cache: this.cache, engine }),
      nowUs: () => this.#clock.nowUs(),
      after: (us, run) => void this.#clock.after(us, run),
      changed: () => void this.published++,
      tell: (fact) => this.#told(fact),
    });
  }

  fresh(blocks: number): Int32Array {
    const first = this.space.open(blocks);
    return Int32Array.from({ length: blocks }, (_, i) => first + i);
  }

  /** A prompt of the thread is sent, computed as far as it is not there, and idle from then on. */
  runs(thread: string, prompt: Int32Array | number = 2): Int32Array {
    const path = typeof prompt === 'number' ? this.fresh(prompt) : prompt;
    const { blocks } = this.cache.match(path, path.length);
    assert.ok(this.cache.admit(path, blocks, path.length - blocks));
    this.cache.computed(path, blocks, path.length);
    this.cache.release(this.#clock.nowUs(), path, { kept: path.length, unused: 0 });
    this.cache.check();
    this.sent(thread, path);
    return path;
  }

  sent(thread: string, path: Int32Array): void {
    this.#wishes.sent(thread, path);
  }

  wishes(
    wish: KeepOrder['wish'],
    thread: string,
    of: Int32Array | BigUint64Array<ArrayBuffer>,
    more: { ttlUs?: number } = {},
  ): void {
    const hashes = of instanceof Int32Array ? this.space.hashes(of) : of;
    this.#wishes.carryOut({
      ...{ kind: 'keep', move: ++this.#moves, worker: 'w' as WorkerId, wish, hashes, ...more },
      ...{ tenant: 'default' as TenantId, thread: thread as ThreadId },
    });
    this.cache.check();
  }

  /** Leading blocks that lie in any tier, and of them those in host memory. */
  held(path: Int32Array): number {
    return this.cache.match(path, path.length).blocks;
  }

  inHost(path: Int32Array): number {
    return this.cache.match(path, path.length).hostBlocks;
  }

  passes(us: number): void {
    let isOver = false;
    this.#clock.after(us, () => {
      isOver = true;
    });
    while (!isOver) this.#clock.step();
  }

  #told(fact: Fact): void {
    assert.ok(fact.kind === 'kept' && fact.tookUs === 0);
    this.answers.push([fact.answer, fact.tokens]);
  }
}
