import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import type { Move, SequenceId } from '../../model/step.ts';
import { TieredCache, type TierSizes } from './tiers.ts';

const BLOCK = 4;

/** The dumb twin: memory that holds hashes where an engine holds KV, and does as it is told. */
class Memory {
  readonly slots: bigint[][];
  readonly host = new Map<number, bigint>();

  constructor(slots: number) {
    this.slots = Array.from({ length: slots }, () => []);
  }

  carryOut(moves: readonly Move[]): void {
    for (const move of moves) {
      if (move.kind === 'cut') {
        assert.ok(move.tokens <= this.slots[move.slot].length * BLOCK);
        this.slots[move.slot].length = move.tokens / BLOCK;
      } else if (move.kind === 'copyOut') {
        move.indexes.forEach((index, i) => {
          const block = this.slots[move.slot][index];
          assert.ok(block !== undefined, 'a block is copied from where it lies');
          this.host.set(move.handles[i], block);
        });
      } else if (move.kind === 'copyIn') {
        this.slots[move.slot] = move.handles.map((handle) => {
          const block = this.host.get(handle);
          assert.ok(block !== undefined, 'a handle is written before it is read');
          return block;
        });
      }
    }
  }
}

class Rig {
  readonly cache: TieredCache;
  readonly memory: Memory;
  readonly running = new Map<SequenceId, { slot: number; hashes: BigUint64Array; done: number }>();
  #sequences = 0;

  constructor(sizes: Partial<TierSizes>) {
    const all = { slots: 2, blockTokens: BLOCK, blocksMax: 1000, hostBlocks: 1000, matchBlocks: 1 };
    this.cache = new TieredCache({ ...all, disk: undefined, ...sizes }, (_, count) => count);
    this.memory = new Memory(sizes.slots ?? 2);
  }

  /** Blocks that needed no computing; undefined when all slots are busy. */
  admit(path: readonly bigint[], usable = path.length): number | undefined {
    const hashes = BigUint64Array.from(path);
    const sequence = ++this.#sequences;
    const admission = this.cache.admit(sequence, hashes, usable);
    if (admission.kind !== 'admitted') return undefined;
    this.memory.carryOut(admission.moves);
    const cached = admission.cachedTokens / BLOCK;
    assert.ok(cached <= usable);
    assert.deepEqual(this.memory.slots[admission.slot], path.slice(0, cached));
    this.running.set(sequence, { slot: admission.slot, hashes, done: cached });
    return cached;
  }

  extend(sequence: SequenceId): void {
    const run = this.running.get(sequence);
    if (run === undefined || run.done === run.hashes.length) return;
    const hash = run.hashes[run.done++];
    this.memory.slots[run.slot].push(hash);
    this.cache.extend(sequence, { hash, tokens: new Uint32Array(BLOCK), salt: '' });
  }

  /** Computes what is left, and ends. */
  finish(sequence: SequenceId): void {
    const run = this.running.get(sequence);
    while (run !== undefined && run.done < run.hashes.length) this.extend(sequence);
    this.release(sequence);
  }

  release(sequence: SequenceId): void {
    this.cache.release(sequence);
    this.running.delete(sequence);
  }

  last(): SequenceId {
    return this.#sequences;
  }
}

const sizes: fc.Arbitrary<Partial<TierSizes>> = fc.record({
  slots: fc.integer({ min: 1, max: 4 }),
  blocksMax: fc.integer({ min: 1, max: 40 }),
  hostBlocks: fc.constantFrom(0, 1, 5, 40),
  matchBlocks: fc.constantFrom(1, 2, 3),
});

test('whatever comes, a slot holds the blocks its sequence was told, and the books balance', () => {
  fc.assert(
    fc.property(fc.integer(), sizes, (seed, given) => {
      const random = new Prng(seed);
      const rig = new Rig(given);
      for (let i = 0; i < 150; i++) {
        const kind = random.below(12);
        const running = [...rig.running.keys()];
        if (kind < 4) rig.admit(pathOf(random), random.below(10));
        else if (kind < 9 && running.length > 0) rig.extend(random.pick(running));
        else if (kind < 11 && running.length > 0) rig.release(random.pick(running));
        else if (random.below(4) === 0) rig.cache.reset();
        rig.cache.check();
        assert.equal(rig.cache.busySlotCount, rig.running.size);
      }
      for (const sequence of rig.running.keys()) rig.release(sequence);
      rig.cache.check();
      assert.ok(rig.cache.blockCount <= (given.blocksMax ?? 0));
      rig.cache.reset();
      assert.deepEqual([rig.cache.blockCount, rig.cache.hostBlockCount], [0, 0]);
    }),
    { numRuns: 300 },
  );
});

test('with room for everything nothing is ever computed twice', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 3 }), (seed, slots) => {
      const random = new Prng(seed);
      const rig = new Rig({ slots });
      const seen: bigint[][] = [];
      for (let i = 0; i < 40; i++) {
        const path = pathOf(random);
        const longest = Math.max(0, ...seen.map((other) => commonCount(other, path)));
        assert.equal(rig.admit(path), longest);
        rig.finish(rig.last());
        seen.push(path);
      }
    }),
    { numRuns: 100 },
  );
});

test('what every idle slot lost without a host store is only what it had to give up', () => {
  const rig = new Rig({ slots: 2, hostBlocks: 0 });
  const [a, b] = [
    [1n, 2n, 3n],
    [7n, 8n],
  ];
  for (const path of [a, b]) {
    rig.admit(path);
    rig.finish(rig.last());
  }
  assert.equal(rig.admit([1n, 2n, 3n, 4n]), 3);
  rig.finish(rig.last());
  // A third one takes the slot unused for longest.
  assert.equal(rig.admit([9n]), 0);
  rig.finish(rig.last());
  assert.equal(rig.admit([1n, 2n, 3n, 4n]), 4);
  rig.finish(rig.last());
  assert.equal(rig.admit(b), 0);
});

test('those that run at once have neighbouring slots, whatever lay where before', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = new Prng(seed);
      const rig = new Rig({ slots: 8 });
      for (let i = random.below(30); i > 0; i--) {
        rig.admit(pathOf(random));
        rig.finish(rig.last());
      }
      for (let i = 0n; i < 4n; i++) rig.admit([-1n - i]);
      const taken = [...rig.running.values()].map(({ slot }) => slot).sort();
      assert.equal(taken[3] - taken[0], 3, `slots ${taken.join(', ')}`);
    }),
    { numRuns: 100 },
  );
});

test('a match is cut to whole chunks of an exact engine', () => {
  const rig = new Rig({ matchBlocks: 2 });
  rig.admit([1n, 2n, 3n]);
  rig.finish(rig.last());
  assert.equal(rig.admit([1n, 2n, 3n, 4n]), 2);
});

/** Paths that share beginnings: a hash names its whole past, as chained hashes do. */
function pathOf(random: Prng): bigint[] {
  let hash = 1n;
  return Array.from({ length: 1 + random.below(9) }, () => {
    hash = (hash * 31n + BigInt(random.below(2))) % 1_000_000_007n;
    return hash;
  });
}

function commonCount(a: readonly bigint[], b: readonly bigint[]): number {
  const end = a.findIndex((hash, i) => hash !== b[i]);
  return end < 0 ? Math.min(a.length, b.length) : Math.min(end, b.length);
}
