import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toyTokens } from '../tokens/toy-tokens.test.ts';
import { checkTokens, sampleSlices } from './token-check.ts';

const tokens = toyTokens();

const agreeing = async (texts: string[]) =>
  texts.map((text) => Int32Array.from(tokens.encode(text)));

test('slices are the same at every start, whole characters, and hold what tokenizers differ on', () => {
  const slices = sampleSlices(200);
  assert.deepEqual(slices, sampleSlices(200));
  assert.ok(slices.every((slice) => slice !== '' && !/\p{Surrogate}/u.test(slice)));
  for (const piece of ['<|im_end|>', '\r\n', '👩', '한국어', '  ']) {
    assert.ok(
      slices.some((slice) => slice.includes(piece)),
      piece,
    );
  }
});

test('each slice that differs counts, however it differs, and the first is named', async () => {
  assert.deepEqual(await checkTokens(tokens, agreeing, 100), {
    checked: 100,
    differing: 0,
    reason: '',
  });
  const odd: [number, (ids: Int32Array<ArrayBuffer>) => Int32Array<ArrayBuffer>][] = [
    [3, (ids) => ids.map((id, i) => (i === ids.length - 1 ? id + 1 : id))],
    [5, (ids) => ids.slice(0, -1)],
    [9, (ids) => Int32Array.from([...ids, 1])],
    [11, () => new Int32Array(0)],
  ];
  const theirs = async (texts: string[]) => {
    const all = await agreeing(texts);
    for (const [i, change] of odd) all[i] = change(all[i]);
    return all;
  };
  const { differing, reason } = await checkTokens(tokens, theirs, 100);
  assert.equal(differing, 4);
  assert.ok(reason.includes(JSON.stringify(sampleSlices(100)[3].slice(0, 60))), reason);
});
