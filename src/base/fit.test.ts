import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LinearFit } from './fit.ts';
import { Prng } from './prng.ts';

const SETTINGS = { unsureness: 1, noise: 0.15, drift: 0.001 };

test('it finds the machine behind noisy steps, also where one in 25 took ten times as long', () => {
  for (const lateSteps of [false, true]) {
    const ratios: number[] = [];
    for (let seed = 1; seed <= 40; seed++) ratios.push(...learned(new Prng(seed), lateSteps));
    const mean = ratios.reduce((a, b) => a + b) / ratios.length;
    // Least squares would be 36 % too slow: the share of late steps times how late they are.
    assert.ok(Math.abs(mean - 1) < (lateSteps ? 0.1 : 0.02), `on average ${mean} of what it takes`);
    const far = ratios.filter((ratio) => ratio < 0.75 || ratio > 1.5);
    assert.deepEqual(far, []);
  }
});

/** Predicted over true time of three kinds of step, after 600 steps of a machine unlike the prior. */
function learned(random: Prng, lateSteps: boolean): number[] {
  const prior = [1000, 200, 50];
  const truth = prior.map((weight) => weight * (0.4 + 2 * random.next()));
  const fit = new LinearFit(prior, SETTINGS);
  for (let i = 0; i < 600; i++) {
    const x = [1, 10 * random.next(), 40 * random.next()];
    const noise = 1 + 0.1 * (random.next() - 0.5);
    fit.observe(x, dot(truth, x) * noise * (lateSteps && random.below(25) === 0 ? 10 : 1));
  }
  const steps = [
    [1, 1, 1],
    [1, 9, 2],
    [1, 2, 38],
  ];
  return steps.map((x) => fit.predict(x) / dot(truth, x));
}

test('whatever it is shown, no weight turns negative or stops being a number', () => {
  const observation = fc.record({
    x: fc.array(fc.double({ min: 0, max: 1e4, noNaN: true }), { minLength: 2, maxLength: 2 }),
    y: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1e9, noNaN: true })),
  });
  fc.assert(
    fc.property(fc.array(observation, { maxLength: 100 }), (observations) => {
      const fit = new LinearFit([100, 10], SETTINGS);
      for (const { x, y } of observations) {
        fit.observe(x, y);
        for (const weight of [fit.weight(0), fit.weight(1)]) {
          assert.ok(Number.isFinite(weight) && weight >= 0, `${weight}`);
        }
      }
    }),
    { numRuns: 200 },
  );
});

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, weight, i) => sum + weight * b[i], 0);
}
