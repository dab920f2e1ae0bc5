/**
 * The index against sets of sets, under everything that events can do to it.
 *
 *   STATOR_INDEX_OPERATIONS=10000x1000 node --import tsx --test src/kernel/index/exact.test.ts
 *
 * is the full size, some minutes
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import { TIERS, type Tier } from '../../model/block.ts';
import type { WorkerId } from '../../model/ids.ts';
import { ExactIndex } from './exact.ts';

const [OPERATIONS, SEEDS] = (process.env.STATOR_INDEX_OPERATIONS ?? '1500x20')
  .split('x')
  .map(Number);
const WORKERS = Array.from({ length: 6 }, (_, i) => `w${i}` as WorkerId);
const MIB = 1024 * 1024;

test(`${OPERATIONS} random operations × ${SEEDS} seeds: the index answers as sets of sets would`, () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const world = new World(seed, { blocks: 80, bytesMax: 4 * MIB });
    try {
      for (let i = 0; i < OPERATIONS; i++) {
        world.act();
        if (i % 4 === 0) world.compare('equal');
        if (i % 64 === 0) world.index.check();
      }
      world.settle();
    } catch (error) {
      throw new Error(`seed ${seed} of src/kernel/index/exact.test.ts`, { cause: error });
    }
  }
});

test('an index that is too small forgets and never lies, and stays within its bytes', () => {
  for (let seed = 1; seed <= 3; seed++) {
    const bytesMax = 64 * 1024;
    const world = new World(seed, { blocks: 4000, bytesMax });
    let most = 0;
    for (let i = 0; i < 1500; i++) {
      if (i % 3 === 0) world.act();
      else world.grow();
      world.compare('atMost');
      if (i % 100 === 0) world.index.check();
      assert.ok(world.index.bytes <= bytesMax, `${world.index.bytes} bytes`);
      most = Math.max(most, world.index.blockCount);
    }
    assert.ok(most > 200, `room was used: ${most} blocks`);
    assert.ok(world.forgotten > 0, 'and was not enough');
  }
});

test('what is asked for again and again is not forgotten', () => {
  const index = new ExactIndex({ bytesMax: 256 * 1024 });
  const rng = new Prng(9);
  const kept = chain(rng, 800);
  index.stored(WORKERS[0], kept, 'device');
  for (let i = 0; i < 200; i++) {
    index.stored(WORKERS[1], chain(rng, 300), 'device');
    index.look(kept);
    assert.equal(index.matched(WORKERS[0])?.device, 800);
  }
  assert.ok(index.count(WORKERS[1]) < 200 * 300);
});

test('a prompt evicted in the middle, or told of out of order, is walked and not guessed', () => {
  const index = new ExactIndex({ bytesMax: MIB });
  const hashes = chain(new Prng(3), 64);
  index.stored(WORKERS[0], hashes, 'device');
  index.removed(WORKERS[0], hashes.slice(20, 21), 'device');
  index.look(hashes);
  assert.deepEqual(index.matched(WORKERS[0]), { device: 20, host: 20, disk: 20 });
  index.stored(WORKERS[0], hashes.slice(20, 21), 'disk', hashes[19]);
  index.look(hashes);
  assert.deepEqual(index.matched(WORKERS[0]), { device: 20, host: 20, disk: 64 });
  index.removed(WORKERS[0], hashes.slice(0, 1), 'device');
  index.look(hashes);
  assert.equal(index.matched(WORKERS[0]), undefined);
  index.check();
});

test('10,000 workers share a prefix; one that leaves is gone at once, its number is used again', () => {
  const index = new ExactIndex({ bytesMax: 64 * MIB });
  const rng = new Prng(4);
  const system = chain(rng, 40);
  const names = Array.from({ length: 10_000 }, (_, i) => `fleet-${i}` as WorkerId);
  for (const name of names) index.stored(name, system, 'device');
  const own = chain(rng, 100);
  index.stored(names[5000], own, 'host', system[39]);
  const prompt = BigUint64Array.from([...system, ...own]);
  index.look(prompt);
  assert.deepEqual(index.matched(names[5000]), { device: 40, host: 140, disk: 140 });
  assert.deepEqual(index.matched(names[9999]), { device: 40, host: 40, disk: 40 });
  assert.deepEqual(index.deepest(1), [names[5000]]);
  index.cleared(names[5000]);
  index.look(prompt);
  assert.equal(index.matched(names[5000]), undefined);
  assert.equal(index.count(names[5000]), 0);
  for (let i = 0; i < 20; i++) index.stored(names[1], chain(rng, 10), 'device');
  assert.equal(index.blockCount, 40 + 200, 'its blocks were swept out');
  index.stored('new' as WorkerId, own, 'device', system[39]);
  index.look(prompt);
  assert.equal(index.matched('new' as WorkerId), undefined, 'it lacks the system prompt');
  index.check();
});

/** Consecutive blocks of nobody else. */
function chain(rng: Prng, length: number): BigUint64Array {
  return BigUint64Array.from({ length }, () => hashOf(rng));
}

function hashOf(rng: Prng): bigint {
  return (BigInt(rng.uint32()) << 32n) | BigInt(rng.uint32());
}

/** Prompts that share beginnings, workers that store and evict as they like, and the dumb twin. */
class World {
  readonly index: ExactIndex;
  /** Blocks by which answers were too short. */
  forgotten = 0;
  readonly #rng: Prng;
  readonly #hashes: bigint[] = [];
  /** Of each block, the one before it; undefined: it begins a prompt. */
  readonly #before: (number | undefined)[] = [];
  /** Per worker: block → tiers. */
  readonly #held = new Map(WORKERS.map((worker) => [worker, new Map<number, Set<Tier>>()]));

  constructor(seed: number, { blocks, bytesMax }: { blocks: number; bytesMax: number }) {
    this.#rng = new Prng(seed);
    this.index = new ExactIndex({ bytesMax });
    for (let i = 0; i < blocks; i++) {
      this.#hashes.push(hashOf(this.#rng));
      // Mostly the next of a chain; sometimes a branch, sometimes a new beginning.
      const kind = this.#rng.below(24);
      if (i === 0 || kind === 0) this.#before.push(undefined);
      else this.#before.push(kind < 4 ? this.#rng.below(i) : i - 1);
    }
  }

  act(): void {
    const worker = this.#rng.pick(WORKERS);
    const tier = this.#rng.pick(TIERS);
    const path = this.#path();
    const kind = this.#rng.below(40);
    if (kind < 20) this.#store(worker, tier, path);
    else if (kind < 30) this.#remove(worker, tier, path.slice(this.#rng.below(path.length)));
    else if (kind < 39) this.#removeAny(worker, tier);
    else this.#clear(worker);
  }

  grow(): void {
    this.#store(this.#rng.pick(WORKERS), 'device', this.#path());
  }

  /** The answers for one prompt. */
  compare(how: 'equal' | 'atMost'): void {
    const path = this.#path();
    this.index.look(this.#hashesOf(path));
    for (const worker of WORKERS) {
      const matched = this.index.matched(worker) ?? { device: 0, host: 0, disk: 0 };
      const wanted = TIERS.map((_, level) => this.#depth(worker, path, TIERS.slice(0, level + 1)));
      const given = [matched.device, matched.host, matched.disk];
      if (how === 'equal') {
        assert.deepEqual(given, wanted);
        assert.equal(this.index.count(worker), this.#held.get(worker)?.size);
      } else assert.ok(given.every((depth, level) => depth <= wanted[level]));
      this.forgotten += wanted[2] - given[2];
    }
  }

  /** Everybody leaves, and in time nothing is left. */
  settle(): void {
    for (const worker of WORKERS) this.#clear(worker);
    for (let i = 0; i < 20; i++) this.#remove(WORKERS[0], 'device', this.#path());
    this.index.check();
    assert.equal(this.index.blockCount, 0);
  }

  #store(worker: WorkerId, tier: Tier, path: number[]): void {
    const part = path.slice(this.#rng.below(path.length));
    const before = this.#before[part[0]];
    this.index.stored(
      worker,
      this.#hashesOf(part),
      tier,
      before === undefined ? undefined : this.#hashes[before],
    );
    if (before !== undefined && !this.#isKnown(before)) return;
    const held = this.#held.get(worker) as Map<number, Set<Tier>>;
    for (const block of part) held.set(block, (held.get(block) ?? new Set()).add(tier));
  }

  #remove(worker: WorkerId, tier: Tier, blocks: number[]): void {
    const order = this.#rng.below(2) === 0 ? blocks : blocks.slice().reverse();
    this.index.removed(worker, this.#hashesOf(order), tier);
    const held = this.#held.get(worker) as Map<number, Set<Tier>>;
    for (const block of blocks) {
      held.get(block)?.delete(tier);
      if (held.get(block)?.size === 0) held.delete(block);
    }
  }

  #removeAny(worker: WorkerId, tier: Tier): void {
    const blocks = Array.from({ length: 1 + this.#rng.below(4) }, () =>
      this.#rng.below(this.#hashes.length),
    );
    this.#remove(worker, tier, blocks);
  }

  #clear(worker: WorkerId): void {
    this.index.cleared(worker);
    this.#held.get(worker)?.clear();
  }

  /** A prompt: all blocks from a beginning to any block. */
  #path(): number[] {
    const path: number[] = [];
    let at: number | undefined = this.#rng.below(this.#hashes.length);
    for (; at !== undefined; at = this.#before[at]) path.unshift(at);
    return path;
  }

  #hashesOf(blocks: readonly number[]): BigUint64Array {
    return BigUint64Array.from(blocks, (block) => this.#hashes[block]);
  }

  #depth(worker: WorkerId, path: readonly number[], tiers: readonly Tier[]): number {
    const held = this.#held.get(worker) as Map<number, Set<Tier>>;
    const depth = path.findIndex((block) => !tiers.some((tier) => held.get(block)?.has(tier)));
    return depth < 0 ? path.length : depth;
  }

  /** Whether anybody holds it, or a block that comes after it. */
  #isKnown(block: number): boolean {
    for (const held of this.#held.values()) if (held.has(block)) return true;
    for (const held of this.#held.values()) {
      for (const other of held.keys()) {
        for (let at: number | undefined = other; at !== undefined; at = this.#before[at]) {
          if (at === block) return true;
        }
      }
    }
    return false;
  }
}
