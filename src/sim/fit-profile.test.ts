import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../base/prng.ts';
import { fitProfile, type Observation, profileText } from './fit-profile.ts';
import { type ProfileCurve, parseProfile, stepTimeUs } from './profile.ts';

const GIVEN = {
  name: 'fitted',
  about: 'a hidden engine',
  source: 'A test.',
  otherwise: { batchedTokensMax: 512, sequencesMax: 8, hostFetchPerTokenUs: 3 },
};

test('a hidden profile is found again: exactly without noise, every term that may be zero too', () => {
  const term = (most: number) =>
    fc.oneof(fc.constant(0), fc.double({ min: most / 50, max: most, noNaN: true }));
  const curves = fc.record({
    baseUs: fc.double({ min: 100, max: 10_000, noNaN: true }),
    perTokenUs: term(400),
    perTokenContextUs: term(0.2),
    perSequenceUs: term(2_000),
    perContextUs: term(0.4),
  });
  fc.assert(
    fc.property(curves, fc.integer({ min: 0, max: 1e6 }), (hidden, seed) => {
      const { profile, error } = fit(observationsOf(hidden, { seed, count: 200 }));
      for (const work of worksOf(seed + 1, 50)) {
        const [found, true_] = [stepTimeUs(profile.curve, work), stepTimeUs(hidden, work)];
        assert.ok(Math.abs(found / true_ - 1) < 1e-3, `${found} for ${true_}`);
      }
      assert.ok(error.median < 1e-3);
    }),
    { numRuns: 60 },
  );
});

test('noise of a tenth and one preempted step in eight bend no prediction by more than a twentieth', () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const observations = observationsOf(HIDDEN, { seed, count: 1500, noise: 0.1, outliers: 0.12 });
    const { profile, error } = fit(observations);
    for (const work of worksOf(seed + 100, 100)) {
      const off = stepTimeUs(profile.curve, work) / stepTimeUs(HIDDEN, work) - 1;
      assert.ok(Math.abs(off) < 0.05, `seed ${seed}: ${off} for ${JSON.stringify(work)}`);
    }
    // What it says of its own error is what the noise makes it: the median of |normal|, a tenth wide.
    assert.ok(error.median > 0.05 && error.median < 0.11, String(error.median));
    assert.ok(error.p90 > error.median);
  }
});

test('where four steps in ten are preempted, the others still say what kind of engine it is', () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const observations = observationsOf(HIDDEN, { seed, count: 2000, noise: 0.1, outliers: 0.4 });
    const { profile } = fit(observations);
    for (const work of worksOf(seed + 100, 100)) {
      const off = stepTimeUs(profile.curve, work) / stepTimeUs(HIDDEN, work) - 1;
      assert.ok(Math.abs(off) < 0.3, `seed ${seed}: ${off} for ${JSON.stringify(work)}`);
    }
  }
});

test('of an engine, preemptions count: all steps together take what they took', () => {
  const observations = observationsOf(HIDDEN, { seed: 9, count: 1500, noise: 0.1, outliers: 0.12 });
  const given = { ...OBSERVED, observations, level: 'all' as const };
  const { profile } = fitProfile(given, GIVEN);
  const sum = (pick: (one: Observation) => number) =>
    observations.reduce((all, one) => all + pick(one), 0);
  const ratio = sum((one) => stepTimeUs(profile.curve, one)) / sum(({ us }) => us);
  assert.ok(Math.abs(ratio - 1) < 0.01, String(ratio));
});

test('terms that cannot be told apart predict together what both took', () => {
  // Always one sequence, as receipts have it: each step pays base and sequence, in what shares nobody knows.
  const observations = worksOf(3, 100).map((work) => {
    const alone = { ...work, decodes: 1, decodeContext: 500 };
    return { ...alone, steps: 1, us: stepTimeUs(HIDDEN, alone) };
  });
  const { profile } = fit(observations);
  for (const one of observations) {
    assert.ok(Math.abs(stepTimeUs(profile.curve, one) / one.us - 1) < 1e-3);
  }
});

test('a fitted file is read back as what was fitted, with its error and what observations do not tell', () => {
  const { profile } = fit(observationsOf(HIDDEN, { seed: 4, count: 100 }));
  const read = parseProfile('fitted', profileText(profile));
  assert.deepEqual(read, { ...profile, waitsForPrefix: false });
  assert.match(read.error, /held out.*median 0\.0 %, p90 0\.0 %.*100 observations/);
  assert.match(read.error, /host memory was not observed/);
  assert.equal(read.hostFetchPerTokenUs, 3);
});

test('a handful of steps is refused, and so is a step of no time', () => {
  const few = observationsOf(HIDDEN, { seed: 1, count: 39 });
  assert.throws(() => fit(few), /needs 40 observations; there are 39/);
  const stopped = observationsOf(HIDDEN, { seed: 1, count: 50 }).map((one) => ({ ...one, us: 0 }));
  assert.throws(() => fit(stopped), RangeError);
});

const HIDDEN: ProfileCurve = {
  baseUs: 900,
  perTokenUs: 70,
  perTokenContextUs: 0.05,
  perSequenceUs: 450,
  perContextUs: 0.15,
};

const OBSERVED = {
  batchedTokensMax: undefined,
  sequencesMax: undefined,
  hostFetchPerTokenUs: undefined,
  waitsForPrefix: undefined,
  level: 'typical' as const,
};

function fit(observations: readonly Observation[]) {
  return fitProfile({ ...OBSERVED, observations }, GIVEN);
}

/** Steps as engines mix them: decodes alone, chunks alone, both. */
function worksOf(seed: number, count: number) {
  const rng = new Prng(seed);
  return Array.from({ length: count }, () => {
    const kind = rng.below(3);
    const promptTokens = kind === 0 ? 0 : 2 + rng.below(510);
    const decodes = kind === 1 ? 0 : 1 + rng.below(8);
    return {
      promptTokens,
      tokenContext: promptTokens * rng.below(30_000),
      decodes,
      decodeContext: decodes * rng.below(30_000),
    };
  });
}

function observationsOf(
  hidden: ProfileCurve,
  given: { seed: number; count: number; noise?: number; outliers?: number },
): Observation[] {
  const { seed, count, noise = 0, outliers = 0 } = given;
  const rng = new Prng(seed).fork('noise');
  const normal = () =>
    Math.sqrt(-2 * Math.log(1 - rng.next())) * Math.cos(2 * Math.PI * rng.next());
  return worksOf(seed, count).map((work) => {
    const stalled = rng.next() < outliers ? 2 + 10 * rng.next() : 1;
    const us = stepTimeUs(hidden, work) * Math.exp(noise * normal()) * stalled;
    return { ...work, steps: 1, us };
  });
}
