import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tool } from '../../model/request.ts';
import { argumentSchema, isString, typedJson } from './typed-value.ts';

test('bare text becomes what the schema says, or a string', () => {
  const integer = { type: 'integer' };
  const object = { type: 'object' };
  const cases: [text: string, schema: unknown, json: string][] = [
    ['5', { type: 'string' }, '"5"'],
    ['null', { type: 'string' }, '"null"'],
    [' 5\n', integer, '5'],
    ['5.0', integer, '5.0'],
    ['5.5', integer, '"5.5"'],
    ['five', integer, '"five"'],
    ['5', { type: 'number' }, '5'],
    ['1e400', { type: 'number' }, '1e400'],
    ['NaN', { type: 'number' }, '"NaN"'],
    ['TRUE', { type: 'boolean' }, 'true'],
    ['False', { type: 'boolean' }, 'false'],
    ['1', { type: 'boolean' }, '"1"'],
    ['{"a": 1.0}', object, '{"a": 1.0}'],
    ["{'a': None}", object, '{"a": null}'],
    ['{"a": ', object, '"{\\"a\\": "'],
    ['[1]', object, '"[1]"'],
    ['[1]', { type: ['array', 'null'] }, '[1]'],
    ['None', { type: ['array', 'null'] }, 'null'],
    ['5', { type: ['string', 'integer'] }, '5'],
    ['x y', { type: ['string', 'integer'] }, '"x y"'],
    ['5', { anyOf: [{ type: 'string' }, { type: 'null' }] }, '"5"'],
    ['5', { oneOf: [{ type: 'string' }, {}] }, '5'],
    ['5', { enum: ['5', '6'] }, '"5"'],
    ['5', { enum: [5, 6] }, '5'],
    ['"x"', undefined, '"\\"x\\""'],
    ['{"a": [1]}', undefined, '{"a": [1]}'],
    ['plain', undefined, '"plain"'],
    ['', undefined, '""'],
    ['5', 'no schema', '5'],
    ['5', { type: 'int', anyOf: 'x', enum: 3 }, '5'],
  ];
  for (const [text, schema, json] of cases) assert.equal(typedJson(text, schema), json, text);
});

test('only what can be nothing else is a string before it is complete', () => {
  assert.ok(isString({ type: 'string', enum: ['a'] }));
  assert.ok(isString({ enum: ['a', 'b'] }));
  for (const schema of [undefined, {}, { type: ['string', 'null'] }, { $ref: '#/x' }, null, 3]) {
    assert.ok(!isString(schema));
  }
});

test('the schema of an argument is the tool’s own', () => {
  const tools = [
    { name: 'f', description: undefined, parameters: { properties: { a: { type: 'null' } } } },
    ...[undefined, null, 'x', { properties: null }].map((parameters, i): Tool => {
      return { name: `g${i}`, description: undefined, parameters };
    }),
  ];
  assert.deepEqual(argumentSchema(tools, 'f', 'a'), { type: 'null' });
  for (const [name, key] of [
    ...[
      ['f', 'b'],
      ['f', 'constructor'],
      ['f', '__proto__'],
      ['x', 'a'],
    ],
    ...['g0', 'g1', 'g2', 'g3'].map((it) => [it, 'a']),
  ]) {
    assert.equal(argumentSchema(tools, name, key), undefined);
  }
});
