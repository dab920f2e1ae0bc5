import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { keywordArguments, literalJson, PythonScan } from './python-literal.ts';

test('literals become JSON', () => {
  const cases: [string, string | undefined][] = [
    ['1', '1'],
    ['-0', '-0'],
    ['+7', '7'],
    ['1_000', '1000'],
    ['123456789012345678901234567890', '123456789012345678901234567890'],
    ['1.50', '1.5'],
    ['2.', '2.0'],
    ['.5', '0.5'],
    ['1e3', '1000.0'],
    ['1e300', '1e+300'],
    ['1e999', undefined],
    ['007', undefined],
    ['--1', undefined],
    ['True', 'true'],
    ['None', 'null'],
    ['null', 'null'],
    ['nil', undefined],
    ['constructor', undefined],
    ["'a\"b'", '"a\\"b"'],
    ["'it\\'s'", '"it\'s"'],
    ['\'a\' "b"', '"ab"'],
    ["'''a'b\n'''", '"a\'b\\n"'],
    ["''", '""'],
    ["'a", undefined],
    ["'a' 'b", undefined],
    ["'\\x41\\u00e9\\U0001f600\\101\\n\\q\\\\'", '"Aé😀A\\n\\\\q\\\\"'],
    ["'\\Uffffffff'", '"\\\\Uffffffff"'],
    ['[1, [2,], ()]', '[1, [2], []]'],
    ['(1, 2)', '[1, 2]'],
    ["{'a': {1: 'x'}, }", '{"a": {"1": "x"}}'],
    ['{1}', undefined],
    ['[1 2]', undefined],
    ['[,]', undefined],
    ['1 1', undefined],
    ['', undefined],
    ['['.repeat(600) + ']'.repeat(600), undefined],
  ];
  for (const [text, json] of cases) assert.equal(literalJson(text), json, text);
  assert.equal(keywordArguments('a=1, b = "x",)'), '{"a": 1, "b": "x"}');
  for (const wrong of ['1)', 'a=1', 'a)', 'a=1 b=2)', 'a=1))', 'a==1)', '**a)']) {
    assert.equal(keywordArguments(wrong), undefined, wrong);
  }
});

test('JSON is Python but for its words, so that it stays what it is', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
      const json = JSON.stringify(value);
      const read = literalJson(json);
      assert.deepEqual(JSON.parse(read as string), JSON.parse(json));
    }),
  );
});

test('any text is a literal or none, and what comes of it is JSON', () => {
  const atoms = [
    '[',
    ']',
    '{',
    '}',
    '(',
    ')',
    "'",
    '"',
    '\\',
    ':',
    ',',
    '1',
    '.',
    '-',
    'e',
    'None',
  ];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...atoms, ' ', 'x', '\n'), { maxLength: 12 }), (all) => {
      const json = literalJson(all.join(''));
      if (json !== undefined) JSON.parse(json);
    }),
    { numRuns: 5000 },
  );
});

test('the end of a call is found past brackets in strings', () => {
  const scan = new PythonScan();
  const text = "a=\")\", b='\\')', c=[(1)]) + 1";
  const first = scan.scan(text.slice(0, 9), 0);
  assert.equal(text.slice(0, scan.scan(text, first)), "a=\")\", b='\\')', c=[(1)])");
  assert.equal(scan.state, 'whole');
});
