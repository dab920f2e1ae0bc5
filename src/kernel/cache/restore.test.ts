import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import type { FileContent, FileId, FoundFile, Move } from '../../model/step.ts';
import { TieredCache } from './tiers.ts';

const BLOCK = 4;

test('after a restart what is found leads to a beginning, and nothing else is believed', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = new Prng(seed);
      const disk = new Map<FileId, FileContent>();
      for (let run = 0; run < 6; run++) {
        const bytesMax = 100 * (10 + random.below(200));
        const cache = engine(bytesMax);
        cache.restore(found(disk, random));
        carryOut(cache, cache.saves({ idle: true }), disk, random);
        cache.check();
        assert.ok(cache.diskBytes <= bytesMax);
        // The twin: blocks that some file holds and whose every ancestor some file holds.
        assert.equal(cache.diskBlockCount, rooted(disk).size);
        for (let i = 0; i < 12; i++) oneAnswer(cache, i + 1, disk, random);
        // Files that got lost or were torn while nobody looked.
        for (const file of [...disk.keys()]) if (random.below(8) === 0) disk.delete(file);
      }
    }),
    { numRuns: 150 },
  );
});

test('a file under another salt than its parent’s, or of another block size, is useless', () => {
  const cache = engine(10_000);
  const good = contentOf([1n, 2n], undefined);
  cache.restore([
    { file: 4, content: good },
    { file: 5, content: { ...contentOf([3n], 2n), salt: 'other' } },
    { file: 6, content: { ...contentOf([4n], 2n), tokens: new Uint32Array(3) } },
    { file: 7, content: contentOf([2n, 5n], 1n) },
  ]);
  const drops = cache.saves({ idle: true }).map((move) => move.kind === 'drop' && move.file);
  assert.deepEqual(drops.sort(), [5, 6, 7]);
  assert.equal(cache.diskBlockCount, 2);
  cache.check();
});

function engine(bytesMax: number): TieredCache {
  return new TieredCache(
    {
      slots: 1,
      blockTokens: BLOCK,
      blocksMax: 1000,
      hostBlocks: 6,
      matchBlocks: 1,
      disk: {
        bytesMax,
        dirtyBytesMax: 5000,
        fileBytes: 20,
        blockBytes: 100,
        fileBlocksMax: 3,
        saltBytesMax: 10,
      },
    },
    (position, count) => count + position,
  );
}

/** Admits, computes and releases one path; what it saves is on disk at once. */
function oneAnswer(
  cache: TieredCache,
  sequence: number,
  disk: Map<FileId, FileContent>,
  random: Prng,
): void {
  const path = pathOf(random);
  const hashes = BigUint64Array.from(path);
  let admission = cache.admit(sequence, hashes, path.length);
  while (admission.kind === 'loading') {
    carryOut(cache, admission.moves, disk, random);
    admission = cache.admit(sequence, hashes, path.length);
  }
  assert.ok(admission.kind === 'admitted');
  for (let i = admission.cachedTokens / BLOCK; i < path.length; i++) {
    cache.extend(sequence, { hash: path[i], tokens: new Uint32Array(BLOCK), salt: '' });
  }
  cache.release(sequence);
  for (let i = 0; i < 6; i++) carryOut(cache, cache.saves({ idle: true }), disk, random);
  cache.check();
}

function carryOut(
  cache: TieredCache,
  moves: readonly Move[],
  disk: Map<FileId, FileContent>,
  random: Prng,
): void {
  for (const move of moves) {
    if (move.kind === 'save') {
      assert.ok(!disk.has(move.file), 'no file is written twice');
      disk.set(move.file, move.content);
      cache.note([{ kind: 'saved', file: move.file }]);
    } else if (move.kind === 'drop') {
      disk.delete(move.file);
    } else if (move.kind === 'load') {
      const fails = random.below(6) === 0;
      if (fails) disk.delete(move.file);
      const { file } = move;
      cache.note([fails ? { kind: 'lost', file } : { kind: 'loaded', file, elapsedUs: 1 }]);
    }
  }
}

function rooted(disk: Map<FileId, FileContent>): Set<bigint> {
  const known = new Set<bigint>();
  for (let before = -1; before !== known.size; ) {
    before = known.size;
    for (const { parent, hashes } of disk.values()) {
      if (parent === undefined || known.has(parent)) for (const hash of hashes) known.add(hash);
    }
  }
  return known;
}

function found(disk: Map<FileId, FileContent>, random: Prng): FoundFile[] {
  const files = Array.from(disk, ([file, content]) => ({ file, content }));
  return files.sort(() => random.below(2) - 0.5);
}

function contentOf(hashes: bigint[], parent: bigint | undefined): FileContent {
  const tokens = new Uint32Array(hashes.length * BLOCK);
  return { parent, hashes: BigUint64Array.from(hashes), tokens, salt: '' };
}

/** Paths that share beginnings: a hash names its whole past, as chained hashes do. */
function pathOf(random: Prng): bigint[] {
  let hash = 1n;
  return Array.from({ length: 1 + random.below(12) }, () => {
    hash = (hash * 31n + BigInt(random.below(2))) % 1_000_000_007n;
    return hash;
  });
}
