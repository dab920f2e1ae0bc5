import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import { GatewayError } from '../../model/error.ts';
import { derive } from './derivation.ts';
import { writeGbnf } from './gbnf.ts';
import { grammarOf, matches } from './matcher.test.ts';
import type { Schema } from './schema-merge.ts';

interface Case {
  schema: unknown;
  takes: unknown[];
  refuses: unknown[];
}

/** The keywords structured output serves, each with what it must let through and keep out. */
const CASES: Record<string, Case> = {
  'any value': {
    schema: {},
    takes: [null, true, -1.5e9, 'x', [1, [{}]], { a: { b: [] } }],
    refuses: [],
  },
  'a type': { schema: { type: 'integer' }, takes: [0, -7, 12345], refuses: [1.5, '1', null, [1]] },
  'several types': {
    schema: { type: ['string', 'null'] },
    takes: ['', null],
    refuses: [0, {}],
  },
  'an enum of anything': {
    schema: { enum: ['é"\\', 6, null, { a: [1] }] },
    takes: ['é"\\', 6, null, { a: [1] }],
    refuses: ['é', 60, { a: [2] }],
  },
  'an enum beside a type': {
    schema: { type: 'string', enum: ['a', 1] },
    takes: ['a'],
    refuses: [1],
  },
  'a const': {
    schema: { const: { b: 1, a: 2 } },
    takes: [{ b: 1, a: 2 }],
    refuses: [{ b: 1 }, {}],
  },
  'required and optional properties': {
    schema: {
      type: 'object',
      properties: { a: { type: 'integer' }, b: { type: 'string' }, c: { type: 'null' } },
      required: ['b'],
    },
    takes: [{ b: 'x' }, { a: 1, b: 'x' }, { b: 'x', c: null }, { a: 1, b: 'x', c: null }],
    refuses: [{}, { a: 1 }, { b: 1 }, { b: 'x', d: 1 }, { a: 'x', b: 'x' }, []],
  },
  'only optional properties': {
    schema: { properties: { a: { const: 1 }, b: { const: 2 }, c: { const: 3 } } },
    takes: [{}, { a: 1 }, { b: 2 }, { c: 3 }, { a: 1, c: 3 }, { b: 2, c: 3 }, { a: 1, b: 2, c: 3 }],
    refuses: [{ a: 2 }, { d: 1 }],
  },
  'further properties of a kind': {
    schema: { properties: { ab: { const: 1 } }, additionalProperties: { type: 'boolean' } },
    takes: [{}, { ab: 1 }, { ab: 1, a: true, abc: false }, { x: true }, { '': true }, { é: true }],
    refuses: [{ ab: true }, { ab: 1, x: 1 }, { x: null }],
  },
  'a dictionary': {
    schema: { type: 'object', additionalProperties: { type: 'integer' } },
    takes: [{}, { a: 1, 'b"\n': 2 }],
    refuses: [{ a: 'x' }],
  },
  'a required property nobody describes': {
    schema: { type: 'object', properties: { a: { const: 1 } }, required: ['z'] },
    takes: [{ z: [1] }, { a: 1, z: null }],
    refuses: [{ a: 1 }, {}],
  },
  'a property that cannot be': {
    schema: { properties: { a: false, b: { type: 'null' } } },
    takes: [{}, { b: null }],
    refuses: [{ a: 1 }],
  },
  'items and their count': {
    schema: { type: 'array', items: { type: 'integer' }, minItems: 1, maxItems: 3 },
    takes: [[1], [1, 2], [1, 2, 3]],
    refuses: [[], [1, 2, 3, 4], ['x'], {}],
  },
  'a prefix of items': {
    schema: { prefixItems: [{ type: 'integer' }, { type: 'string' }], items: { type: 'null' } },
    takes: [[], [1], [1, 'x'], [1, 'x', null, null]],
    refuses: [['x'], [1, 2], [1, 'x', 3]],
  },
  'a prefix and nothing behind it': {
    schema: { prefixItems: [{ const: 1 }, { const: 2 }], items: false, minItems: 1 },
    takes: [[1], [1, 2]],
    refuses: [[], [1, 2, 3]],
  },
  'lengths, in characters': {
    schema: { type: 'string', minLength: 2, maxLength: 3 },
    takes: ['ab', 'abc', '😀é', '\n"', '\\\\'],
    refuses: ['', 'a', 'abcd', '😀'],
  },
  'a pattern that may stand anywhere': {
    schema: { pattern: 'b+c?' },
    takes: ['b', 'abcd', '"\n b', 'bb'],
    refuses: ['', 'ac'],
  },
  'a pattern with all it may hold': {
    schema: { pattern: '^(?:[a-c\\d]{2,3}|\\u00e9[^x"\\n]\\w?)-\\S\\.$|^$' },
    takes: ['ab-x.', '1a2-".', 'éé-x.', 'é\\_-é.', ''],
    refuses: ['a-x.', 'abcd-x.', 'éx-x.', 'é"-x.', 'ab- .', 'ab-x'],
  },
  'a pattern within its lengths': {
    schema: { pattern: '^[a-z]{2,4}$', minLength: 1, maxLength: 10 },
    takes: ['ab', 'abcd'],
    refuses: ['a', 'abcde'],
  },
  'dates and times': {
    schema: { type: 'string', format: 'date-time' },
    takes: ['2024-02-29T23:59:59Z', '1990-12-31T15:59:50.123-08:00', '2000-02-29T00:00:00Z'],
    refuses: ['2023-02-29T23:59:59Z', '1900-02-29T00:00:00Z', '2024-13-01T00:00:00Z', '2024-01-01'],
  },
  'an identifier': {
    schema: { format: 'uuid' },
    takes: ['2eb8aa08-aa98-11ea-b4aa-73b441d16380'],
    refuses: ['2eb8aa08-aa98-11ea-b4aa-73b441d1638'],
  },
  'whole numbers within bounds': {
    schema: { type: 'integer', minimum: -12, exclusiveMaximum: 105 },
    takes: [-12, -9, -1, 0, 9, 10, 99, 100, 104],
    refuses: [-13, 105, 110, 1000, 1.5],
  },
  'whole numbers within bounds of draft 4': {
    schema: { type: 'integer', minimum: 5, exclusiveMinimum: true },
    takes: [6, 10, 4711],
    refuses: [5, 4, 0, -6],
  },
  'numbers within bounds': {
    schema: { type: 'number', exclusiveMinimum: -2, maximum: 3 },
    takes: [-1.5, -1, 0, 0.25, 2.999, 3],
    refuses: [-2, -2.5, 3.1, 4, 30],
  },
  multiples: {
    schema: { type: 'integer', multipleOf: 7, minimum: -8, maximum: 21 },
    takes: [-7, 0, 7, 14, 21],
    refuses: [1, -14, 28],
  },
  'whole cents': {
    schema: { type: 'number', multipleOf: 0.01 },
    takes: [1.25, 3],
    refuses: [1.255],
  },
  'any of several': {
    schema: {
      type: 'object',
      properties: { a: {} },
      anyOf: [{ required: ['a'] }, { properties: { b: { const: 1 } } }],
    },
    takes: [{ a: 0 }, { a: 1, b: 1 }, {}],
    refuses: [{ b: 2 }],
  },
  'one of several by a tag': {
    schema: {
      oneOf: [
        { type: 'object', properties: { kind: { const: 'a' }, x: {} }, required: ['kind'] },
        { type: 'object', properties: { kind: { const: 'b' }, y: {} }, required: ['kind', 'y'] },
        { type: 'integer' },
      ],
    },
    takes: [{ kind: 'a' }, { kind: 'a', x: 1 }, { kind: 'b', y: null }, 5],
    refuses: [{ kind: 'b' }, { kind: 'c' }, 'x', {}],
  },
  'all of several': {
    schema: {
      allOf: [
        { type: ['integer', 'string'], minimum: 3 },
        { type: 'number', maximum: 9 },
        { enum: [1, 3, 9, 10] },
      ],
    },
    takes: [3, 9],
    refuses: [1, 10, 5, '3'],
  },
  'all of several objects, one of them closed': {
    schema: {
      allOf: [
        { properties: { a: { type: 'integer' } }, additionalProperties: false },
        { properties: { a: { minimum: 2 }, b: {} }, required: ['a'] },
      ],
    },
    takes: [{ a: 2 }],
    refuses: [{ a: 1 }, { a: 2, b: 1 }, {}],
  },
  'a list that holds itself': {
    schema: {
      $ref: '#/$defs/node~1x',
      $defs: {
        'node/x': {
          type: 'object',
          properties: {
            v: { type: 'integer' },
            next: { anyOf: [{ $ref: '#/$defs/node~1x' }, { type: 'null' }] },
          },
          required: ['v', 'next'],
        },
      },
    },
    takes: [
      { v: 1, next: null },
      { v: 1, next: { v: 2, next: null } },
    ],
    refuses: [{ v: 1 }, { v: 1, next: {} }],
  },
  'a tree from its root': {
    schema: {
      properties: { sub: { type: 'array', items: { $ref: '#' } } },
      additionalProperties: false,
    },
    takes: [{}, { sub: [] }, { sub: [{}, { sub: [{}] }] }],
    refuses: [{ sub: [1] }, { sub: [{ x: 1 }] }],
  },
  'a reference with a word beside it': {
    schema: { $defs: { a: { type: 'integer' } }, $ref: '#/$defs/a', maximum: 5, description: 'x' },
    takes: [5],
    refuses: [6, 'x'],
  },
};

for (const [what, { schema, takes, refuses }] of Object.entries(CASES)) {
  test(`a schema of ${what} takes and refuses as it says`, () => {
    const grammar = grammarOf({ kind: 'schema', schema });
    const shown = writeGbnf(grammar);
    for (const value of takes) {
      assert.ok(matches(grammar, JSON.stringify(value)), `${JSON.stringify(value)} by\n${shown}`);
    }
    for (const value of refuses) {
      assert.ok(!matches(grammar, JSON.stringify(value)), `${JSON.stringify(value)} by\n${shown}`);
    }
  });
}

const REFUSED: [unknown, RegExp][] = [
  [{ not: {} }, /uses not/],
  [{ if: {} }, /uses if/],
  [{ patternProperties: { a: {} } }, /uses patternProperties/],
  [{ type: 'object', properties: { a: { contains: {} } } }, /uses contains/],
  [{ type: 'array', uniqueItems: true }, /uniqueItems/],
  [{ minProperties: 1 }, /minProperties/],
  [{ oneOf: [{ type: 'integer' }, { minimum: 2 }] }, /use anyOf/],
  [{ allOf: [{ pattern: 'a' }, { pattern: 'b' }] }, /two different pattern/],
  [{ pattern: '(?=a)' }, /looks around/],
  [{ pattern: '(a)\\1' }, /\\1/],
  [{ pattern: 'a(b' }, /\( that is not closed/],
  [{ pattern: '^a+$', maxLength: 3 }, /length/],
  [{ type: 'number', minimum: 0.5 }, /fraction/],
  [{ type: 'integer', multipleOf: 7 }, /multipleOf/],
  [{ $ref: 'https://example.org/x' }, /only #/],
  [{ $ref: '#/$defs/none' }, /not there/],
  [{ $ref: '#' }, /No text at all|itself/],
  [{ anyOf: [{ $ref: '#' }, { type: 'null' }] }, /itself/],
  [{ allOf: [{ $ref: '#' }] }, /itself/],
  [{ type: 'objekt' }, /unknown type "objekt"/],
  [{ type: 'object', properties: [5] }, /in the place of a schema/],
  [{ required: 'a' }, /no list/],
  [{ minLength: -1 }, /no count/],
  [{ maxLength: 1e9 }, /above/],
  [{ type: 'string', minLength: 3, maxLength: 2 }, /No text at all/],
  [{ type: 'integer', minimum: 3, maximum: 2 }, /No text at all/],
  [{ enum: [] }, /No text at all/],
  [{ allOf: [{ type: 'string' }, { type: 'integer' }] }, /No text at all/],
  [{ properties: { a: { $ref: '#' } }, required: ['a'] }, /No text at all/],
];

test('what a grammar cannot say, or no text satisfies, is refused in one sentence', () => {
  for (const [schema, sentence] of REFUSED) {
    for (const isNoise of [false, true]) {
      // Noise is held to a bounded depth: there is no loop left to refuse.
      if (isNoise && sentence.source === 'itself') continue;
      try {
        grammarOf({ kind: 'schema', schema }, isNoise);
        assert.fail(`${JSON.stringify(schema)} was taken`);
      } catch (error) {
        assert.ok(error instanceof GatewayError, `${JSON.stringify(schema)}: ${error}`);
        assert.equal(error.code, 'invalid_request');
        if (!isNoise) assert.match(error.message, sentence);
        assert.match(error.message, /^[A-Z].*\.$/);
      }
    }
  }
});

/** Whether a value is valid, keyword by keyword: a twin without any grammar. */
function valid(value: unknown, schema: Schema): boolean {
  const { type, enum: values, anyOf, properties = {}, required = [], items } = schema;
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (type === 'integer' && !Number.isInteger(value)) return false;
  if (type === 'object' && !isObject) return false;
  if (type === 'array' && !Array.isArray(value)) return false;
  if (!['integer', 'object', 'array', undefined].includes(type as string) && typeof value !== type)
    return false;
  if (
    values !== undefined &&
    !(values as unknown[]).some((it) => JSON.stringify(it) === JSON.stringify(value))
  )
    return false;
  if (anyOf !== undefined && !(anyOf as Schema[]).some((it) => valid(value, it))) return false;
  if (typeof value === 'number') {
    if (
      value < ((schema.minimum as number) ?? value) ||
      value > ((schema.maximum as number) ?? value)
    )
      return false;
  }
  if (typeof value === 'string') {
    const length = Array.from(value).length;
    if (
      length < ((schema.minLength as number) ?? 0) ||
      length > ((schema.maxLength as number) ?? length)
    )
      return false;
  }
  if (Array.isArray(value)) {
    if (
      value.length < ((schema.minItems as number) ?? 0) ||
      value.length > ((schema.maxItems as number) ?? value.length)
    )
      return false;
    if (items !== undefined && !value.every((it) => valid(it, items as Schema))) return false;
  }
  if (!isObject) return true;
  const members = Object.entries(value);
  if (!(required as string[]).every((name) => members.some(([key]) => key === name))) return false;
  return members.every(([key, it]) => {
    const known = Object.hasOwn(properties as Schema, key);
    return known
      ? valid(it, (properties as Record<string, Schema>)[key])
      : schema.additionalProperties === undefined ||
          valid(it, schema.additionalProperties as Schema);
  });
}

const range = (min: string, max: string) =>
  fc.tuple(fc.nat(12), fc.nat(12)).map(([least, more]) => ({ [min]: least, [max]: least + more }));

const schemas: fc.Arbitrary<Schema> = fc.letrec<{ schema: Schema }>((tie) => ({
  schema: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom<Schema>({ type: 'boolean' }, { type: 'integer' }, {}, { type: 'string' }),
    range('minimum', 'maximum').map(
      (bounds): Schema => ({ type: 'integer', ...bounds, minimum: -bounds.minimum * 7 }),
    ),
    range('minimum', 'maximum').map((bounds): Schema => ({ type: 'number', ...bounds })),
    range('minLength', 'maxLength').map((bounds): Schema => ({ type: 'string', ...bounds })),
    fc
      .array(fc.jsonValue({ maxDepth: 1 }), { minLength: 1, maxLength: 3 })
      .map((it) => ({ enum: it })),
    fc.tuple(tie('schema'), fc.nat(2), fc.nat(2)).map(([items, minItems, more]) => ({
      ...{ type: 'array', items, minItems, maxItems: minItems + more },
    })),
    fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
    fc
      .tuple(
        fc.dictionary(fc.string({ maxLength: 3 }), tie('schema'), {
          maxKeys: 3,
          noNullPrototype: true,
        }),
        fc.nat(3),
        fc.option(tie('schema')),
      )
      .map(([properties, count, more]) => ({
        ...{ type: 'object', properties, required: Object.keys(properties).slice(0, count) },
        ...(more !== null && { additionalProperties: more }),
      })),
  ),
})).schema;

test('whatever a grammar allows is valid by its schema', () => {
  const property = fc.property(schemas, fc.nat(), fc.boolean(), (schema, seed, isNoise) => {
    const grammar = grammarOf({ kind: 'schema', schema }, isNoise);
    const sentence = derive(grammarOf({ kind: 'schema', schema }, true), new Prng(seed));
    const value: unknown = JSON.parse(sentence);
    assert.ok(valid(value, schema), `${sentence} by ${JSON.stringify(schema)}`);
    assert.ok(matches(grammar, sentence), 'noise keeps within what a model may write');
  });
  fc.assert(property, { numRuns: 400 });
});
