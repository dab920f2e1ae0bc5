import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { argmax } from './argmax.ts';

test('the first of the highest values, at any length and with ties', () => {
  const value = fc.oneof(
    fc.integer({ min: -3, max: 3 }),
    fc.float({ noNaN: true }),
    fc.constantFrom(Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY),
  );
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 40 }), (numbers) => {
      const values = Float32Array.from(numbers);
      assert.equal(argmax(values), values.indexOf(Math.max(...values)));
    }),
    { numRuns: 2000 },
  );
});
