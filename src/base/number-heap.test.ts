import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NumberHeap } from './number-heap.ts';

test('pushes and pops in any order give what a sorted list gives', () => {
  const operations = fc.array(fc.option(fc.double({ noNaN: true }), { freq: 3, nil: undefined }));
  fc.assert(
    fc.property(operations, fc.integer({ min: 0, max: 4 }), (keys, capacity) => {
      const heap = new NumberHeap(capacity);
      const twin: number[] = [];
      for (const key of keys) {
        if (key === undefined) {
          assert.equal(heap.pop(), twin.shift());
        } else {
          heap.push(key);
          twin.push(key);
          twin.sort((a, b) => a - b);
        }
        assert.equal(heap.size, twin.length);
      }
      while (twin.length > 0) assert.equal(heap.pop(), twin.shift());
      assert.equal(heap.pop(), undefined);
    }),
  );
});
