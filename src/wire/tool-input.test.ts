import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ToolInput, toolInput } from './tool-input.ts';

test('whatever a model writes as arguments, clients read an object', () => {
  const cases: [string, unknown][] = [
    ['', {}],
    ['{"a": 1}', { a: 1 }],
    [' \n{"a": 1} ', { a: 1 }],
    ['{"a": 1} and more', { a: 1 }],
    ['{"a": "cut he', {}],
    ['{"a": 1, "b": [true, fal', { a: 1, b: [true] }],
    ['{"a": 1, b: 2}', { a: 1 }],
    ['[1, 2]', { arguments: '[1, 2]' }],
    ['ls -l "x"\n', { arguments: 'ls -l "x"\n' }],
  ];
  for (const [text, value] of cases) assert.deepEqual(toolInput(text), value, text);
});

test('in whatever pieces it comes, the same is sent', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.dictionary(fc.string(), fc.jsonValue()).map((it) => JSON.stringify(it)),
    fc.dictionary(fc.string(), fc.jsonValue()).map((it) => JSON.stringify(it).slice(0, -2)),
  );
  fc.assert(
    fc.property(text, fc.array(fc.nat({ max: 5 })), (json, sizes) => {
      const whole = new ToolInput();
      const sent = whole.push(json) + whole.end();
      const input = new ToolInput();
      let told = '';
      let at = 0;
      for (const size of sizes) {
        told += input.push(json.slice(at, at + size));
        at += size;
      }
      told += input.push(json.slice(at)) + input.end();
      if (!/[\ud800-\udfff]/.test(json)) assert.equal(told, sent);
      if (/^\s*\{/.test(json) && isJson(json)) assert.deepEqual(JSON.parse(told), JSON.parse(json));
    }),
    { numRuns: 300 },
  );
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
