import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../base/prng.ts';
import type { Standing } from './block-rings.ts';
import { BlockSpace } from './block-space.ts';
import { type CacheSizes, ChainCache } from './chain-cache.ts';

test('after any run of sequences the cache holds, and says, what two plain lists would', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const rng = new Prng(seed);
      const space = new BlockSpace();
      const sizes = {
        deviceBlocks: 12 + rng.below(20),
        hostBlocks: rng.below(3) * 15,
        ttlUs: rng.below(2) === 0 ? undefined : 30 + rng.below(100),
      };
      const cache = new ChainCache(space, sizes);
      const twin = new Twin(sizes);
      const paths = somePaths(rng, space);
      const running: { path: Int32Array; kept: number; blocks: number }[] = [];
      let nowUs = 0;
      for (let i = 0; i < 120; i++) {
        nowUs += rng.below(5);
        assert.equal(cache.expiryUs, twin.expiryUs);
        if (rng.below(3) > 0) {
          cache.expire(nowUs);
          twin.expire(nowUs);
        }
        if (running.length > 0 && rng.below(2) === 0) {
          const one = running[rng.below(running.length)];
          const to = Math.min(one.path.length, one.kept + 1 + rng.below(6));
          cache.computed(one.path, one.kept, to);
          twin.computed(one.path, one.kept, to);
          one.kept = to;
          if (to === one.path.length) {
            running.splice(running.indexOf(one), 1);
            const unused = one.blocks - to;
            cache.release(nowUs, one.path, { kept: to, unused });
            twin.release(nowUs, one.path, { kept: to, unused });
          }
        } else {
          const path = rng.pick(paths);
          const match = cache.match(path, path.length - 1);
          assert.deepEqual(match, twin.match(path, path.length - 1));
          const fresh = path.length - match.blocks + rng.below(3);
          const admitted = cache.admit(path, match.blocks, fresh);
          assert.equal(admitted, twin.admit(path, match.blocks, fresh));
          if (admitted) running.push({ path, kept: match.blocks, blocks: match.blocks + fresh });
        }
        // With a time to live rings are in the order of use, and nobody moves what is in them.
        if (sizes.ttlUs === undefined) wish(rng, { cache, twin, paths, nowUs });
        cache.check();
        twin.hears(cache, paths);
      }
    }),
    { numRuns: 60 },
  );
});

/** Now and then somebody has a say in what leaves first, or moves it. */
function wish(
  rng: Prng,
  {
    cache,
    twin,
    paths,
    nowUs,
  }: { cache: ChainCache; twin: Twin; paths: Int32Array[]; nowUs: number },
): void {
  const path = rng.pick(paths);
  const kind = rng.below(12);
  if (kind < 3) {
    const standing = (['first', 'common', 'last'] as const)[kind];
    assert.equal(cache.stand(path, standing), twin.stand(path, standing));
  } else if (kind === 3) assert.equal(cache.demote(path), twin.demote(path));
  else if (kind === 4) {
    const wanted = cache.fetchable(path);
    assert.equal(wanted, twin.fetchable(path));
    assert.equal(cache.fetch(nowUs, path), wanted);
    twin.fetch(nowUs, path, wanted);
  }
}

test('a path that no cache holds and nobody plays leaves its numbers to another of its length', () => {
  const space = new BlockSpace();
  const cache = new ChainCache(space, { deviceBlocks: 3, hostBlocks: 0 });
  const first = pathFrom(space.open(3), 3);
  const before = space.hashes(first).join();
  play(cache, first);
  space.close(first[0]);
  const second = pathFrom(space.open(3), 3);
  assert.notEqual(second[0], first[0], 'the first still lies in cache');
  play(cache, second);
  space.close(second[0]);
  const third = space.open(3);
  assert.equal(third, first[0], 'the second pushed the first out');
  assert.notEqual(space.hashes(pathFrom(third, 3)).join(), before, 'but its hashes are new');
  assert.equal(cache.match(pathFrom(third, 3), 3).blocks, 0);
});

function play(cache: ChainCache, path: Int32Array): void {
  const { blocks } = cache.match(path, path.length);
  assert.ok(cache.admit(path, blocks, path.length - blocks));
  cache.computed(path, blocks, path.length);
  cache.release(0, path, { kept: path.length, unused: 0 });
  cache.check();
}

const pathFrom = (base: number, length: number) => Int32Array.from({ length }, (_, i) => base + i);

/** A tree: sessions that share a beginning, each with turns that go on from one another. */
function somePaths(rng: Prng, space: BlockSpace): Int32Array[] {
  const shared = space.open(4);
  return Array.from({ length: 3 }, () => space.open(14)).flatMap((own) => {
    const begin = rng.below(5);
    return Array.from({ length: 4 }, () =>
      Int32Array.from({ length: begin + 1 + rng.below(10) }, (_, i) =>
        i < begin ? shared + i : own + i,
      ),
    );
  });
}

/** The dumb twin: what is idle in each tier as a list, the unused for longest first. */
class Twin {
  readonly #sizes: CacheSizes;
  readonly #usedUs = new Map<number, number>();
  readonly #pins = new Map<number, number>();
  /** In the order in which they leave, but for their standing. */
  #idle: number[] = [];
  #host: number[] = [];
  readonly #standing = new Map<number, Standing>();
  readonly #before = new Map<number, number>();
  #reserved = 0;
  /** What the news said so far. */
  readonly #heard = { device: new Set<number>(), host: new Set<number>() };

  constructor(sizes: CacheSizes) {
    this.#sizes = sizes;
  }

  get expiryUs(): number | undefined {
    const idle = [...this.#idle, ...this.#host].map((block) => this.#usedUs.get(block) ?? 0);
    const { ttlUs } = this.#sizes;
    return ttlUs === undefined || idle.length === 0 ? undefined : Math.min(...idle) + ttlUs;
  }

  expire(nowUs: number): void {
    const { ttlUs = Number.POSITIVE_INFINITY } = this.#sizes;
    const isKept = (block: number) => (this.#usedUs.get(block) ?? 0) + ttlUs > nowUs;
    this.#idle = this.#idle.filter(isKept);
    this.#host = this.#host.filter(isKept);
  }

  match(path: Int32Array, usable: number): { blocks: number; hostBlocks: number } {
    let blocks = 0;
    let hostBlocks = 0;
    for (const block of path.subarray(0, usable)) {
      if (this.#host.includes(block)) hostBlocks++;
      else if (!this.#pins.has(block) && !this.#idle.includes(block)) break;
      blocks++;
    }
    return { blocks, hostBlocks };
  }

  admit(path: Int32Array, matched: number, fresh: number): boolean {
    const pinned = new Set([...this.#pins.keys(), ...path.subarray(0, matched)]);
    if (pinned.size + this.#reserved + fresh > this.#sizes.deviceBlocks) return false;
    this.#reserved += fresh;
    for (const block of path.subarray(0, matched)) this.#pin(block);
    while (this.#pins.size + this.#idle.length + this.#reserved > this.#sizes.deviceBlocks) {
      const leaves = this.#next(this.#idle);
      this.#idle = this.#idle.filter((one) => one !== leaves);
      this.#host.push(leaves);
    }
    this.#trim();
    return true;
  }

  stand(path: Int32Array, standing: Standing): number {
    const idle = [...path].filter((one) => this.#isIdle(one)).reverse();
    const blocks = standing === 'last' ? idle : this.#own(path);
    for (const block of blocks) {
      this.#standing.set(block, standing);
      const tier = this.#host.includes(block) ? this.#host : this.#idle;
      tier.push(...tier.splice(tier.indexOf(block), 1));
    }
    return blocks.length;
  }

  demote(path: Int32Array): number {
    const blocks = this.#own(path).filter((block) => !this.#host.includes(block));
    if (this.#sizes.hostBlocks === 0) return 0;
    this.#idle = this.#idle.filter((block) => !blocks.includes(block));
    this.#host.push(...blocks);
    this.#trim();
    return blocks.length;
  }

  fetchable(path: Int32Array): number {
    const { hostBlocks } = this.match(path, path.length);
    const taken = this.#pins.size + this.#idle.length + this.#reserved;
    return Math.max(0, Math.min(hostBlocks, this.#sizes.deviceBlocks - taken));
  }

  fetch(nowUs: number, path: Int32Array, count: number): void {
    const blocks = [...path].filter((block) => this.#host.includes(block)).slice(0, count);
    this.#host = this.#host.filter((block) => !blocks.includes(block));
    for (const block of blocks.reverse()) {
      this.#usedUs.set(block, nowUs);
      this.#idle.push(block);
    }
  }

  /** What no other path that lies here goes through, the deepest first. */
  #own(path: Int32Array): number[] {
    const own: number[] = [];
    for (const block of [...path].reverse()) {
      if (!this.#isThere(block)) continue;
      const followers = [...this.#before].filter(
        ([one, before]) => before === block && this.#isThere(one) && !own.includes(one),
      );
      if (followers.length > 0 || !this.#isIdle(block)) break;
      own.push(block);
    }
    return own;
  }

  #isIdle = (block: number) => this.#idle.includes(block) || this.#host.includes(block);

  #isThere = (block: number) => this.#isIdle(block) || this.#pins.has(block);

  #next(tier: readonly number[]): number {
    for (const standing of ['first', 'common', 'last']) {
      const found = tier.find((one) => (this.#standing.get(one) ?? 'common') === standing);
      if (found !== undefined) return found;
    }
    throw new Error('there is nothing to leave');
  }

  #trim(): void {
    while (this.#host.length > this.#sizes.hostBlocks) {
      const lost = this.#next(this.#host);
      this.#host = this.#host.filter((one) => one !== lost);
      this.#standing.delete(lost);
    }
  }

  computed(path: Int32Array, from: number, to: number): void {
    this.#reserved -= to - from;
    for (let i = from; i < to; i++) {
      if (i > 0) this.#before.set(path[i], path[i - 1]);
      this.#pin(path[i]);
    }
  }

  release(nowUs: number, path: Int32Array, given: { kept: number; unused: number }): void {
    this.#reserved -= given.unused;
    for (const block of path.slice(0, given.kept).reverse()) {
      const pins = (this.#pins.get(block) as number) - 1;
      if (pins > 0) this.#pins.set(block, pins);
      else {
        this.#pins.delete(block);
        this.#usedUs.set(block, nowUs);
        this.#idle.push(block);
      }
    }
  }

  /** The news add up to what lies where. */
  hears(cache: ChainCache, paths: readonly Int32Array[]): void {
    for (const one of cache.takeNews()) {
      const { kind, tier, blocks } = one;
      if (kind === 'stored') assert.ok(isOnAPath(paths, one.before, blocks), 'in chain order');
      for (const block of blocks) {
        assert.notEqual(this.#heard[tier].has(block), kind === 'stored', 'news are new');
        if (kind === 'stored') this.#heard[tier].add(block);
        else this.#heard[tier].delete(block);
      }
    }
    const sorted = (blocks: Iterable<number>) => [...blocks].sort((a, b) => a - b);
    assert.deepEqual(sorted(this.#heard.device), sorted([...this.#pins.keys(), ...this.#idle]));
    assert.deepEqual(sorted(this.#heard.host), sorted(this.#host));
  }

  #pin(block: number): void {
    this.#idle = this.#idle.filter((one) => one !== block);
    this.#host = this.#host.filter((one) => one !== block);
    if (!this.#pins.has(block)) this.#standing.delete(block);
    this.#pins.set(block, (this.#pins.get(block) ?? 0) + 1);
  }
}

function isOnAPath(
  paths: readonly Int32Array[],
  before: number | undefined,
  blocks: readonly number[],
): boolean {
  return paths.some((path) => {
    const from = path.indexOf(blocks[0]);
    if (from < 0 || path[from - 1] !== before) return false;
    return blocks.every((block, i) => path[from + i] === block);
  });
}
