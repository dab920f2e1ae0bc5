import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { wholePart } from './json-prefix.ts';

test('what broke off counts as far as it is whole', () => {
  const cases: [string, unknown][] = [
    ['', undefined],
    ['{', {}],
    ['{"a', {}],
    ['{"a": "x', {}],
    ['{"a": "x"', { a: 'x' }],
    ['{"a": 12', {}],
    ['{"a": 12 ', { a: 12 }],
    ['{"a": tr', {}],
    ['{"a": true', { a: true }],
    ['{"a": 1, "b": [1, 2', { a: 1, b: [1] }],
    ['{"a": [{"b": "c\\', { a: [{}] }],
    ['{"a": {"b": 1}, "c": ', { a: { b: 1 } }],
    ['{"a": 1}} and more', { a: 1 }],
    ['{"a": 1, oops', { a: 1 }],
    ['{"a": 1]', { a: 1 }],
    ['no JSON', undefined],
  ];
  for (const [text, value] of cases) assert.deepEqual(wholePart(text), value, text);
});

test('any beginning of JSON gives a beginning of its value, and the whole text the value', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(), (value, at) => {
      const text = JSON.stringify(value);
      assert.deepEqual(wholePart(text), JSON.parse(text));
      const part = wholePart(text.slice(0, 1 + (at % text.length)));
      assert.ok(isBeginning(part, JSON.parse(text)), JSON.stringify(part));
    }),
    { numRuns: 300 },
  );
});

/** Whether nothing stands in `part` that is not in `whole`, in its place. */
function isBeginning(part: unknown, whole: unknown): boolean {
  if (typeof part !== 'object' || part === null) return Object.is(part, whole);
  if (typeof whole !== 'object' || whole === null) return false;
  return Object.entries(part).every(([key, value]) =>
    isBeginning(value, (whole as Record<string, unknown>)[key]),
  );
}
