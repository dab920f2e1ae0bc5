import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ONE_LINE, readJson, writeJson } from './json.ts';

const COMPACT = { ...ONE_LINE, separators: [',', ':'] as const };

test('written without blanks, JSON is what JSON.stringify writes', () => {
  const value = fc.jsonValue().filter((it) => !/\d[.e]|\d{16}|-0/.test(JSON.stringify(it)));
  fc.assert(fc.property(value, (it) => assert.equal(writeJson(it, COMPACT), JSON.stringify(it))));
});

test('what is read is written again as it was', () => {
  const texts = [
    '{"b": 1.0, "2": 1e+16, "1": -0.0, "n": 12345678901234567890, "__proto__": {"x": []}}',
    '[1, 2.5, -3, 0, 1e-07, 1.5e+300, true, false, null, "a\\n\\u0001/é\u2028"]',
    '{"a": {"a": {"a": {}}}}',
    'NaN',
    '[Infinity, -Infinity]',
    '"\\ud83d\\ude00"',
  ];
  for (const text of texts) {
    const plain = text.replace('\\ud83d\\ude00', '😀');
    assert.equal(writeJson(readJson(text), ONE_LINE), plain);
  }
});

test('reading agrees with JSON.parse on what is JSON', () => {
  fc.assert(
    fc.property(fc.json(), fc.constantFrom('', ' ', '}', ','), (json, rest) => {
      const text = json + rest;
      let wanted: unknown;
      try {
        wanted = JSON.parse(text);
      } catch {
        assert.throws(() => readJson(text), SyntaxError);
        return;
      }
      assert.deepEqual(JSON.parse(writeJson(readJson(text), ONE_LINE)), normal(wanted));
    }),
    { numRuns: 500 },
  );
});

test('what is not JSON is refused', () => {
  const wrong = [
    '',
    '{',
    '[1,]',
    '{"a" 1}',
    '01',
    '1.',
    '.5',
    '"\n"',
    '{"a":1.0}x',
    "{'a':1}",
    'nul',
  ];
  for (const text of wrong) assert.throws(() => readJson(text), SyntaxError, text);
  assert.throws(() => readJson(`1.0${'['.repeat(5000)}`), SyntaxError);
});

/** JSON.parse keeps -0, which Python reads as the integer 0 where it has no fraction. */
function normal(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
