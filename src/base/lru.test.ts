import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Lru } from './lru.ts';

test('what is forgotten is what was unused for longest', () => {
  const operation = fc.record({
    kind: fc.constantFrom('get', 'peek', 'set', 'set', 'delete'),
    key: fc.integer({ min: 0, max: 7 }),
  });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.array(operation, { maxLength: 150 }),
      (limit, operations) => {
        const lru = new Lru<number, number>(limit);
        // The dumb twin: a list, the last used at its end.
        let twin: { key: number; value: number }[] = [];
        operations.forEach(({ kind, key }, i) => {
          const known = twin.find((entry) => entry.key === key);
          const rest = twin.filter((entry) => entry !== known);
          if (kind === 'set') {
            twin = [...rest, { key, value: i }];
            const evicted = twin.length > limit ? twin.shift() : undefined;
            assert.deepEqual(lru.set(key, i), evicted);
          } else if (kind === 'delete') {
            twin = rest;
            assert.equal(lru.delete(key), known !== undefined);
          } else {
            const value = kind === 'get' ? lru.get(key) : lru.peek(key);
            assert.equal(value, known?.value);
            if (kind === 'get' && known !== undefined) twin = [...rest, known];
          }
          assert.deepEqual(
            [...lru.values()],
            twin.map(({ value }) => value),
          );
          assert.equal(lru.size, twin.length);
        });
      },
    ),
    { numRuns: 300 },
  );
});
