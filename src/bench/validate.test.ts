import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PolicyFigures, Spread } from '../model/comparison.ts';
import { meanOf } from '../sim/means.ts';
import { isValid, validated, validationText } from './validate.ts';

const CORES = { workers: 2, counts: true };

test('errors are relative, of the hit ratio in points, and each has its own bound', () => {
  const live = figures({ ttft: 100, itl: 10, e2e: 1000, hit: 0.8, rate: 4 });
  const found = validated(
    live,
    figures({ ttft: 114, itl: 20, e2e: 851, hit: 0.781, rate: 3.61 }),
    CORES,
  );
  const errors = Object.fromEntries(found.errors.map((one) => [one.figure, one]));
  assert.ok(Math.abs(errors['TTFT p50, ms'].error - 0.14) < 1e-9);
  assert.ok(Math.abs(errors['E2E p50, ms'].error + 0.149) < 1e-9);
  assert.ok(Math.abs(errors['hit ratio, %'].error + 1.9) < 1e-9);
  assert.ok(Math.abs(errors['requests/s'].error + 0.0975) < 1e-9);
  // The time between tokens is shown; nothing is asked of it.
  assert.equal(errors['ITL p50, ms'].error, 1);
  assert.ok(isValid([found]));
});

test('each bound fails on its own, and on either side', () => {
  const live = { ttft: 100, itl: 10, e2e: 1000, hit: 0.8, rate: 4 };
  const wrong: Partial<typeof live>[] = [
    { ttft: 116 },
    { ttft: 84 },
    { e2e: 1151 },
    { hit: 0.821 },
    { hit: 0.779 },
    { rate: 4.41 },
  ];
  for (const change of wrong) {
    const found = validated(figures(live), figures({ ...live, ...change }), CORES);
    assert.ok(!isValid([found]), JSON.stringify(change));
    assert.equal(found.errors.filter(({ isWithin }) => !isWithin).length, 1);
    assert.match(validationText([found]), / NO$/m);
  }
});

test('workers that share cores are shown, not asked; failed requests prove nothing', () => {
  const live = { ttft: 100, itl: 10, e2e: 1000, hit: 0.8, rate: 4 };
  const far = figures({ ...live, ttft: 500 });
  const crowded = validated(figures(live), far, { workers: 4, counts: false });
  assert.ok(isValid([crowded]));
  assert.doesNotMatch(validationText([crowded]), /NO|yes/);
  const broken = validated({ ...figures(live), failed: 1 }, figures(live), CORES);
  assert.ok(!isValid([broken]));
  const shorter = validated({ ...figures(live), requests: 35 }, figures(live), CORES);
  assert.ok(!isValid([shorter]));
  // A live run of nothing divides by nothing.
  assert.ok(!isValid([validated(figures({ ...live, rate: 0 }), figures(live), CORES)]));
});

function figures(given: {
  ttft: number;
  itl: number;
  e2e: number;
  hit: number;
  rate: number;
}): PolicyFigures {
  const spread = (p50: number): Spread => ({ mean: p50, p50, p90: p50, p95: p50, p99: p50 });
  return {
    ...meanOf([]),
    requests: 36,
    requestsPerS: given.rate,
    hitRatio: given.hit,
    ttftMs: spread(given.ttft),
    itlMs: spread(given.itl),
    e2eMs: spread(given.e2e),
  };
}
