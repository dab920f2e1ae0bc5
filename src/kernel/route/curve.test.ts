import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import { Curve, type PrefillWork } from './curve.ts';

const CARD = {
  prefill: { perTokenUs: 100, perTokenContextUs: 0.004 },
  decode: { stepUs: 8000, perSequenceUs: 300 },
};

test('before anything was seen it says what the card says', () => {
  const curve = new Curve(CARD);
  // perToken·u + perTokenContext·u·(c − u/2), as on the card.
  const us = curve.prefillUs(workOf({ uncachedTokens: 2000, contextTokens: 9000 }));
  assert.ok(Math.abs(us - (100 * 2000 + 0.004 * 2000 * 8000)) < 1e-6, `${us}`);
  assert.equal(curve.stepUs(4, 0), 8000 + 4 * 300);
});

test('it finds the machine behind noisy prefills, also where one in 20 took ten times as long', () => {
  const ratios: number[] = [];
  for (let seed = 1; seed <= 20; seed++) {
    const rng = new Prng(seed);
    const truth = new Curve({
      prefill: {
        perTokenUs: 100 * (0.3 + 2 * rng.next()),
        perTokenContextUs: 0.004 * (0.3 + 2 * rng.next()),
      },
      decode: CARD.decode,
    });
    const curve = new Curve(CARD);
    for (let i = 0; i < 500; i++) {
      const work = drawn(rng);
      const late = rng.below(20) === 0 ? 10 : 1;
      curve.sawPrefill(work, truth.prefillUs(work) * (0.9 + 0.2 * rng.next()) * late);
    }
    for (let i = 0; i < 10; i++) {
      const work = drawn(rng);
      ratios.push(curve.prefillUs(work) / truth.prefillUs(work));
    }
  }
  ratios.sort((a, b) => a - b);
  const median = ratios[ratios.length >> 1];
  assert.ok(Math.abs(median - 1) < 0.1, `median ${median}`);
  assert.ok(ratios[Math.floor(0.05 * ratios.length)] > 0.75, 'few are far too low');
  assert.ok(ratios[Math.floor(0.95 * ratios.length)] < 1.35, 'few are far too high');
});

test('what bringing tokens up costs is learned apart from what computing them costs', () => {
  const rng = new Prng(3);
  const curve = new Curve(CARD);
  for (let i = 0; i < 400; i++) {
    const hostTokens = rng.below(2) * rng.below(20_000);
    const work = { ...drawn(rng), hostTokens };
    const us = 100 * work.uncachedTokens + 30 * hostTokens + 2000;
    curve.sawPrefill(work, us * (0.95 + 0.1 * rng.next()));
  }
  const perToken = curve.fetchUs({ hostTokens: 1000, diskTokens: 0 }) / 1000;
  assert.ok(perToken > 22 && perToken < 38, `${perToken} µs, of 30`);
});

test('a decode step is learned from answers among more or fewer others', () => {
  const rng = new Prng(4);
  const curve = new Curve(CARD);
  for (let i = 0; i < 300; i++) {
    const sequences = 1 + 15 * rng.next();
    const prefillUsPerToken = 4000 * rng.next();
    const us = 3000 + 700 * sequences + 0.5 * prefillUsPerToken;
    curve.sawDecode({ sequences, prefillUsPerToken }, us * (0.95 + 0.1 * rng.next()));
  }
  for (const sequences of [1, 8, 16]) {
    const ratio = curve.stepUs(sequences, 1000) / (3500 + 700 * sequences);
    assert.ok(Math.abs(ratio - 1) < 0.1, `${ratio}`);
  }
});

test('doubt shrinks with what was seen, and so does how far a prediction may be off', () => {
  const rng = new Prng(5);
  const curve = new Curve(CARD);
  const work = workOf({ uncachedTokens: 3000, contextTokens: 10_000 });
  const before = { doubt: curve.doubt, unsureness: curve.unsureness(work) };
  for (let i = 0; i < 30; i++) curve.sawPrefill(drawn(rng), 300_000);
  assert.ok(curve.doubt < before.doubt / 10);
  assert.ok(curve.unsureness(work) < before.unsureness / 3);
});

function drawn(rng: Prng): PrefillWork {
  const contextTokens = 1000 + rng.below(60_000);
  return workOf({ uncachedTokens: 1 + rng.below(contextTokens), contextTokens });
}

function workOf(given: Pick<PrefillWork, 'uncachedTokens' | 'contextTokens'>): PrefillWork {
  return { ...given, hostTokens: 0, diskTokens: 0, decoding: 0 };
}
