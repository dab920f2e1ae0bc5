import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  aloneUs,
  decodeTimeUs,
  parseProfile,
  readProfile,
  shippedProfiles,
  stepTimeUs,
} from './profile.ts';

test('each shipped profile reads, and bears the name of its file', () => {
  assert.ok(shippedProfiles().length >= 3);
  for (const name of shippedProfiles()) assert.equal(readProfile(name).name, name);
});

test('decode steps taken together last as long as one after the other', () => {
  const { curve } = readProfile('h100-qwen3-8b');
  let us = 0;
  let context = 50_000;
  for (let step = 0; step < 300; step++) {
    us += stepTimeUs(curve, {
      promptTokens: 0,
      tokenContext: 0,
      decodes: 3,
      decodeContext: context,
    });
    context += 3;
  }
  const together = decodeTimeUs(curve, { steps: 300, decodes: 3, decodeContext: 50_000 });
  assert.ok(Math.abs(together - us) < 1e-3 * us, `${together} and ${us}`);
});

test('the published rates of an 8B model on an H100: 24k tokens/s of short prompts, 5k at 100k of context', () => {
  const profile = readProfile('h100-qwen3-8b');
  const short = aloneUs(profile, { promptTokens: 4096, uncachedTokens: 4096, outputTokens: 1 });
  assert.ok(Math.abs(4096 / (short / 1e6) / 24_000 - 1) < 0.15);
  const given = { promptTokens: 100_000, uncachedTokens: 4096, outputTokens: 1 };
  assert.ok(Math.abs(4096 / (aloneUs(profile, given) / 1e6) / 5000 - 1) < 0.15);
});

test('a file that is no profile is refused in a sentence that names the field', () => {
  const good = {
    version: 1,
    name: 'x',
    about: 'x',
    source: 'x',
    error: 'x',
    curve: {
      baseUs: 1,
      perTokenUs: 1,
      perTokenContextUs: 0,
      perSequenceUs: 0,
      perContextUs: 0,
    },
    hostFetchPerTokenUs: 0,
    batchedTokensMax: 1,
    sequencesMax: 1,
  };
  assert.equal(parseProfile('x', JSON.stringify(good)).name, 'x');
  const refuses = (change: object, sentence: RegExp) =>
    assert.throws(() => parseProfile('x', JSON.stringify({ ...good, ...change })), sentence);
  refuses({ version: 2 }, /version/);
  refuses({ error: '' }, /needs error in words/);
  refuses({ batchedTokensMax: 0 }, /batchedTokensMax as a number of at least 1/);
  refuses({ curve: { ...good.curve, perTokenUs: '5' } }, /perTokenUs/);
  refuses({ curve: undefined }, /baseUs/);
  assert.throws(() => parseProfile('x', '{'), /not JSON/);
  assert.throws(() => readProfile('no-such-card'), /h100-qwen3-8b/);
});
