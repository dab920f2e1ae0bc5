import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WorkerId } from '../../model/ids.ts';
import { PredictedIndex } from './predicted.ts';

const A = 'a' as WorkerId;

test('what was sent is believed for a while, and no longer', () => {
  const index = new PredictedIndex({ blocksMax: 100, beliefUs: 1000 });
  index.placed(0, A, chain(1, 8), 100);
  assert.equal(index.depth(999, A, chain(1, 8)), 8);
  assert.equal(index.depth(1000, A, chain(1, 8)), 0);
  index.placed(500, A, chain(1, 4), 100);
  assert.equal(index.depth(1200, A, chain(1, 8)), 4, 'use renews belief');
});

test('no more is believed than the worker can hold, and prefixes outlive what follows them', () => {
  const index = new PredictedIndex({ blocksMax: 100, beliefUs: 1000 });
  index.placed(0, A, chain(1, 8), 10);
  index.placed(1, A, chain(101, 6), 10);
  assert.equal(index.count(A), 10);
  assert.equal(index.depth(2, A, chain(101, 6)), 6);
  assert.equal(index.depth(2, A, chain(1, 8)), 4);
  index.check();
  index.cleared(A);
  assert.equal(index.depth(2, A, chain(101, 6)), 0);
});

function chain(first: number, length: number): BigUint64Array {
  return BigUint64Array.from({ length }, (_, i) => BigInt(first + i));
}
