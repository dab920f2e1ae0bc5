import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readObserved, readObservedOfAll } from './observed.ts';

const HEAD = { stepLog: 1, model: 'm', slots: 4, blockTokens: 16 };
const STEP = {
  promptTokens: 64,
  tokenContext: 6400,
  decodes: 2,
  decodeContext: 300,
  fetchedTokens: 0,
  moveUs: 0,
  us: 5000,
};

test('a step log: moves are the tiers’ time, steps of moves alone are no steps, a torn last line is nothing', () => {
  const fetch = { ...STEP, fetchedTokens: 1000, moveUs: 3000 };
  const moving = {
    ...fetch,
    promptTokens: 0,
    tokenContext: 0,
    decodes: 0,
    decodeContext: 0,
    us: 2000,
    moveUs: 2000,
  };
  const observed = readObserved('log', lines(HEAD, STEP, fetch, moving, { promptTokens: 5 }));
  assert.deepEqual(
    observed.observations.map(({ us }) => us),
    [5000, 2000],
  );
  // Three and two microseconds a token.
  assert.equal(observed.hostFetchPerTokenUs, 3);
  assert.equal(observed.sequencesMax, 4);
  assert.equal(observed.waitsForPrefix, true);
});

test('half of the prompt tokens were computed in chunks of at least the length that is told', () => {
  const chunks = [512, 128, 128, 128, 64, 16].map((promptTokens) => ({ ...STEP, promptTokens }));
  assert.equal(readObserved('log', lines(HEAD, ...chunks)).batchedTokensMax, 512);
  assert.equal(readObserved('log', lines(HEAD, ...chunks.slice(1))).batchedTokensMax, 128);
  const decode = { ...STEP, promptTokens: 0 };
  assert.equal(readObserved('log', lines(HEAD, decode)).batchedTokensMax, undefined);
});

test('logs of several workers are one, and one of them need not have seen everything', () => {
  const one = { name: 'a', text: lines(HEAD, STEP) };
  const other = { name: 'b', text: lines(HEAD, { ...STEP, promptTokens: 0, us: 7000 }) };
  const all = readObservedOfAll([other, one]);
  assert.deepEqual(
    all.observations.map(({ us }) => us),
    [7000, 5000],
  );
  assert.equal(all.batchedTokensMax, 64);
});

test('a receipt: what was computed until the first token, then one sequence that grows', () => {
  const actual = {
    status: 'done',
    cachedTokens: 60,
    outputTokens: 4,
    ttftUs: 900,
    prefillUs: 700,
    e2eUs: 2400,
  };
  const failed = { ...actual, status: 'failed' };
  const untold = { ...actual, cachedTokens: null };
  const one = { ...actual, outputTokens: 1, e2eUs: 900 };
  const receipts = [actual, failed, untold, one].map((it) => ({ promptTokens: 100, actual: it }));
  const { observations, level } = readObserved('receipts', lines(...receipts));
  const prefill = {
    steps: 1,
    promptTokens: 40,
    tokenContext: 40 * 60 + 800,
    decodes: 0,
    decodeContext: 0,
    us: 700,
  };
  const decode = {
    steps: 3,
    promptTokens: 0,
    tokenContext: 0,
    decodes: 3,
    decodeContext: 101 + 102 + 103,
    us: 1500,
  };
  assert.deepEqual(observations, [prefill, decode, prefill]);
  assert.deepEqual(readObserved('listed', JSON.stringify({ receipts })).observations, observations);
  assert.equal(level, 'typical');
});

test('anything else is refused in a sentence that names it', () => {
  assert.throws(() => readObserved('notes.txt', 'hello\n'), /Line 1 of notes.txt is no JSON/);
  assert.throws(() => readObserved('x', lines({ stepLog: 2 })), /x is neither a step log/);
  assert.throws(() => readObserved('empty', ''), /neither/);
});

function lines(...objects: object[]): string {
  return `${objects.map((one) => JSON.stringify(one)).join('\n')}\n`;
}
