import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Histogram } from './histogram.ts';

/** Buckets grow by a twentieth. */
const GROWTH = 1.05;

/** Durations, and the counts of tokens that some histograms hold: exact bounds, and nothing at all. */
const value = fc.oneof(
  fc.double({ min: 1e-6, max: 1e5, noNaN: true }),
  fc.constantFrom(0, 0.001, 0.01, 0.1, 1, 10, 16, 64, 256, 1024, 4096),
);

test('a quantile is within one bucket of the truth', () => {
  const values = fc.array(value, { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(values, fc.constantFrom(0.01, 0.5, 0.9, 0.99, 1), (given, q) => {
      const histogram = filled(given);
      const sorted = given.toSorted((a, b) => a - b);
      const truth = Math.max(1e-6, sorted[Math.ceil(q * sorted.length) - 1]);
      const found = histogram.quantile(q) ?? 0;
      assert.ok(found >= truth * (1 - 1e-9), `${found} is below ${truth}`);
      assert.ok(found <= truth * GROWTH * (1 + 1e-9), `${found} is far above ${truth}`);
    }),
    { numRuns: 500 },
  );
});

test('all values up to a bound are counted, and none that is a bucket above it', () => {
  const values = fc.array(value, { maxLength: 60 });
  fc.assert(
    fc.property(values, value, (given, bound) => {
      const counted = filled(given).countUpTo(bound);
      const least = given.filter((one) => one <= bound).length;
      const most = given.filter((one) => one <= Math.max(1e-6, bound) * GROWTH * 1.000001).length;
      assert.ok(counted >= least && counted <= most, `${least} <= ${counted} <= ${most}`);
    }),
    { numRuns: 500 },
  );
});

test('an empty one has no quantile; one that holds more than it was made for still counts all', () => {
  assert.equal(new Histogram().quantile(0.5), undefined);
  const histogram = filled([1e12, 1e15]);
  assert.equal(histogram.countUpTo(1e16), 2);
  assert.ok((histogram.quantile(0.5) ?? 0) > 9e5);
});

function filled(values: readonly number[]): Histogram {
  const histogram = new Histogram();
  for (const value of values) histogram.record(value);
  return histogram;
}
