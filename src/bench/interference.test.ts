import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gapsWithin, percentiles } from './interference.ts';

test('a gap belongs to the time in which its later token came', () => {
  const stamps = [0, 10, 25, 100, 101];
  assert.deepEqual(gapsWithin(stamps, { from: 0, to: 25 }), [10, 15]);
  assert.deepEqual(gapsWithin(stamps, { from: 25, to: 100 }), [75], 'it began before');
  assert.deepEqual(gapsWithin(stamps, { from: 101, to: 200 }), []);
  assert.deepEqual(gapsWithin([5], { from: 0, to: 10 }), [], 'one token has no gap');
});

test('percentiles of few and of no values', () => {
  assert.deepEqual(percentiles([]), { count: 0, p50: 0, p99: 0, max: 0 });
  assert.deepEqual(percentiles([7]), { count: 1, p50: 7, p99: 7, max: 7 });
  const many = Array.from({ length: 1000 }, (_, i) => 999 - i);
  assert.deepEqual(percentiles(many), { count: 1000, p50: 500, p99: 990, max: 999 });
});
