import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WorkerId } from '../../model/ids.ts';
import { HeldBack, isHeldBack } from './held-back.ts';

const S = 1_000_000;
const W = 'w' as WorkerId;

test('only a long answer that took long and then came at once was held back', () => {
  const cases: [number, number, number, boolean | undefined][] = [
    [3 * S, 3 * S + 500, 200, true],
    [3 * S, 3 * S + 900_000, 200, false],
    [S / 10, S, 200, false],
    // A short one, one that was there soon, one without a token: they say nothing.
    [3 * S, 3 * S + 10, 8, undefined],
    [S / 10, S / 10 + 500, 200, undefined],
  ];
  for (const [firstUs, endUs, tokens, held] of cases) {
    const booking = { dispatchedUs: 0, first: momentAt(firstUs) };
    assert.equal(isHeldBack(booking, momentAt(endUs), tokens), held, `${firstUs} ${endUs}`);
  }
  assert.equal(isHeldBack({ dispatchedUs: 0, first: undefined }, momentAt(S), 200), undefined);
});

test('it is news once, when several came so in a row, and is over with the first that streamed', () => {
  const heldBack = new HeldBack();
  const seen = [true, true, false, true, true, true, true, false, true].map((held) =>
    heldBack.saw(W, held),
  );
  assert.deepEqual(
    seen.map(({ isSo }) => isSo),
    [false, false, false, false, false, true, true, false, false],
  );
  assert.deepEqual(
    seen.map(({ isNews }) => isNews),
    [false, false, false, false, false, true, false, false, false],
  );
});

function momentAt(atUs: number) {
  return { atUs, decodeSequenceUs: 0, prefillBusyUs: 0 };
}
