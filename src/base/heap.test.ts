import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Heap } from './heap.ts';

test('what leaves is the least, and among equals the one that came first', () => {
  const operation = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constant('pop' as const));
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
      const heap = new Heap<number>();
      const twin: { key: number; value: number }[] = [];
      operations.forEach((operation, i) => {
        if (operation !== 'pop') {
          heap.push(operation, i);
          twin.push({ key: operation, value: i });
          twin.sort((a, b) => a.key - b.key || a.value - b.value);
        } else {
          const expected = twin.shift();
          assert.equal(heap.peek()?.value, expected?.value);
          const popped = heap.pop();
          assert.equal(popped?.key, expected?.key);
          assert.equal(popped?.value, expected?.value);
        }
        assert.equal(heap.size, twin.length);
      });
    }),
    { numRuns: 300 },
  );
});
