import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CustomInput, customArguments, customInput } from './responses-custom-input.ts';

/** Half of a character that UTF-16 writes in two. */
const HALF = /\p{Surrogate}/u;

const anyText = fc.string({ unit: 'binary', maxLength: 40 });

test('an input is what a JSON reader finds, however it is escaped and cut', () => {
  const escaped = (json: string) =>
    json.replace(/[^\x20-\x7e]/g, (it) => `\\u${it.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const writings = [
    (input: string) => customArguments(input),
    (input: string) => JSON.stringify({ input }, undefined, 2),
    (input: string) => escaped(JSON.stringify({ input })).replaceAll('/', '\\/'),
    (input: string) => JSON.stringify({ reason: 'x', input }),
  ];
  fc.assert(
    fc.property(
      anyText,
      fc.constantFrom(...writings),
      fc.array(fc.nat(60)),
      (input, write, cuts) => {
        const json = write(input);
        assert.equal((JSON.parse(json) as { input: string }).input, input, 'the twin');
        const { pieces, whole } = told(json, cuts);
        assert.equal(whole, input);
        for (const piece of pieces) assert.ok(!HALF.test(piece) || HALF.test(input), piece);
      },
    ),
    { numRuns: 300 },
  );
});

test('whatever a model writes, pieces add up to the whole', () => {
  fc.assert(
    fc.property(
      anyText,
      fc.constantFrom('', '{"input":"', ' { "input" : "\\'),
      fc.array(fc.nat(60)),
      (text, opening, cuts) => {
        assert.equal(told(opening + text, cuts).whole, customInput(opening + text));
      },
    ),
    { numRuns: 300 },
  );
  assert.equal(customInput('no object'), 'no object');
  assert.equal(customInput('{"input":"cut off \\u00e'), 'cut off ');
  assert.equal(customInput('{"input":5}'), '{"input":5}');
  assert.equal(customInput(''), '');
});

function told(text: string, cuts: readonly number[]): { pieces: string[]; whole: string } {
  const input = new CustomInput();
  const places = [0, ...cuts.map((cut) => Math.min(cut, text.length)), text.length].sort(
    (a, b) => a - b,
  );
  const pieces = places.slice(1).map((end, i) => input.push(text.slice(places[i], end)));
  pieces.push(input.end());
  return { pieces, whole: pieces.join('') };
}
