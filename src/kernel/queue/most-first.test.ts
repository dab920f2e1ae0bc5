import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MostFirst } from './most-first.ts';

test('whatever is taken comes in the order of a stable sort', () => {
  const keys = fc.array(fc.constantFrom(-1, 0, 0.5, 2, 1e9, Number.POSITIVE_INFINITY));
  fc.assert(
    fc.property(keys, fc.nat(40), (all, count) => {
      const items = all.map((key, i) => ({ key, i }));
      const order = new MostFirst(items, ({ key }) => key);
      const twin = items.toSorted((a, b) => (a.key === b.key ? 0 : b.key - a.key));
      for (let i = 0; i < count; i++) {
        assert.equal(order.size, Math.max(0, items.length - i));
        assert.equal(order.take(), twin[i]);
      }
    }),
  );
});
