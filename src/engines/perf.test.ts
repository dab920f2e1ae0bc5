import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../base/prng.ts';
import type { StepPlan } from '../model/step.ts';
import { FittedPace, FixedPace, type StepCurve, stepUs } from './perf.ts';

const CURVE: StepCurve = {
  baseUs: 2000,
  perTokenUs: 80,
  perTokenContextUs: 0.01,
  perLooseContextUs: 0.03,
  perSequenceUs: 300,
  perContextUs: 0.05,
};

/** Sequences by position and tokens computed; one token is a decode step. */
function planOf(slices: readonly { position: number; count: number }[]): StepPlan {
  return {
    moves: [],
    slices: slices.map(({ position, count }, slot) => ({
      slot,
      sequence: slot,
      tokens: new Uint32Array(count),
      position,
      sample: true,
    })),
  };
}

test('a chunk fits its step where a tile does, and never stands still', () => {
  const curve = fc.record({
    baseUs: fc.double({ min: 0, max: 20_000, noNaN: true }),
    perTokenUs: fc.double({ min: 0, max: 3000, noNaN: true }),
    perTokenContextUs: fc.double({ min: 0, max: 1, noNaN: true }),
    perLooseContextUs: fc.double({ min: 0, max: 1, noNaN: true }),
    perSequenceUs: fc.double({ min: 0, max: 5000, noNaN: true }),
    perContextUs: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  const prompt = fc.record({
    position: fc.nat(100_000),
    left: fc.integer({ min: 1, max: 20_000 }),
    max: fc.constantFrom(1, 16, 100, 512, 4096),
  });
  const beside = fc.record({ count: fc.nat(16), contextTokens: fc.nat(500_000) });
  fc.assert(
    fc.property(curve, prompt, beside, fc.integer({ min: 0, max: 1_000_000 }), (...given) => {
      const [terms, at, decodes, us] = given;
      const chunk = new FixedPace(terms).chunkTokens(at, decodes, us);
      assert.ok(Number.isInteger(chunk) && chunk >= 1, `${chunk}`);
      assert.ok(chunk <= Math.min(at.left, at.max), `${chunk} of ${at.left}, at most ${at.max}`);
      if (chunk <= 128 || chunk === at.left) return;
      const load = planOf([{ position: at.position, count: chunk }]);
      const beside =
        terms.perSequenceUs * decodes.count + terms.perContextUs * decodes.contextTokens;
      assert.ok(stepUs(terms, load) + beside <= us + 1, `${chunk} tokens take too long`);
    }),
    { numRuns: 1000 },
  );
});

test('chunks are whole tiles, and a short remainder joins the chunk before it', () => {
  const pace = new FixedPace(CURVE);
  const alone = { count: 0, contextTokens: 0 };
  let position = 0;
  const chunks: number[] = [];
  for (let left = 1000; left > 0; ) {
    const chunk = pace.chunkTokens({ position, left, max: 512 }, alone, 30_000);
    chunks.push(chunk);
    position += chunk;
    left -= chunk;
  }
  const last = chunks.pop() ?? 0;
  for (const chunk of chunks) assert.equal(chunk % 64, 0);
  assert.ok(last >= 64, `a chunk of ${last} tokens is slower than its share`);
});

test('less than a tile takes computed tokens along where the tile is sooner done', () => {
  const pace = new FixedPace(CURVE);
  const again = (position: number, left: number, max = 512) =>
    pace.againTokens({ position, left, max });
  assert.equal(again(8000, 48), 16, '48 alone take 15 ms, the tile 10');
  assert.equal(again(8000, 8), 0, '8 alone take 3 ms');
  assert.equal(again(500, 48), 0, 'early there is little to attend to');
  assert.deepEqual([again(8000, 1), again(8000, 64), again(8000, 300)], [0, 0, 0]);
  assert.deepEqual(
    [again(10, 48), again(8000, 48, 50)],
    [0, 0],
    'there are no such tokens, or no room',
  );
  const flat = new FixedPace({ ...CURVE, perLooseContextUs: CURVE.perTokenContextUs });
  assert.equal(flat.againTokens({ position: 8000, left: 63, max: 512 }), 0);
});

test('where a tile is too long for its step, blocks are taken only if they are much shorter', () => {
  const alone = { count: 0, contextTokens: 0 };
  const at = { position: 16_000, left: 5000, max: 512 };
  // A tile takes 10 ms of matrices and 64 ms of attention: half of it does not fit 15 ms.
  const slow = { ...CURVE, baseUs: 0, perTokenUs: 150, perTokenContextUs: 0.06 };
  const even = new FixedPace({ ...slow, perLooseContextUs: 0.06 });
  assert.equal(even.chunkTokens(at, alone, 15_000), 16, 'a quarter of the time');
  const steep = new FixedPace({ ...slow, perLooseContextUs: 0.16 });
  assert.equal(steep.chunkTokens(at, alone, 15_000), 64, 'a block takes 60 % of a tile');
});

test('it learns the machine from the steps it sees', () => {
  const random = new Prng(1);
  const pace = new FittedPace({ ...CURVE, perTokenUs: 200, perSequenceUs: 900, baseUs: 1000 });
  const step = () => {
    const slices = Array.from({ length: random.below(4) }, () => ({
      position: random.below(16_000),
      count: 1,
    }));
    const position = random.below(16_000);
    if (random.below(3) > 0) slices.push({ position, count: 16 + random.below(500) });
    return planOf(slices);
  };
  for (let i = 0; i < 1500; i++) {
    const plan = step();
    if (plan.slices.length === 0) continue;
    pace.observe(plan, stepUs(CURVE, plan) * (0.95 + 0.1 * random.next()));
  }
  for (let i = 0; i < 50; i++) {
    const plan = step();
    if (plan.slices.length === 0) continue;
    const ratio = stepUs(pace.curve(), plan) / stepUs(CURVE, plan);
    assert.ok(ratio > 0.85 && ratio < 1.15, `predicts ${ratio} of what it takes`);
  }
});
