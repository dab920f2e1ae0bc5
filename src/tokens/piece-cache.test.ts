import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../base/prng.ts';
import { PieceCache } from './piece-cache.ts';

test('what is found is what was written last, however small the cache', () => {
  const random = new Prng(3);
  const cache = new PieceCache(8);
  const written = new Map<string, number[]>();
  const ids = new Uint32Array(16);
  let found = 0;
  for (let round = 0; round < 20_000; round++) {
    const piece = Uint32Array.from({ length: 1 + random.below(18) }, () => 97 + random.below(2));
    const count = cache.read(piece, 0, piece.length, ids, 0);
    const known = written.get(piece.join());
    if (count > 0) {
      found++;
      assert.deepEqual([...ids.subarray(0, count)], known);
    }
    const next = Array.from({ length: 1 + random.below(9) }, () => random.uint32());
    ids.set(next);
    cache.write(piece, 0, piece.length, ids, 0, next.length);
    // Too long for a slot: what an earlier writing left may still be found.
    if (piece.length <= 16 && next.length <= 7) written.set(piece.join(), next);
  }
  assert.ok(found > 100);
});
