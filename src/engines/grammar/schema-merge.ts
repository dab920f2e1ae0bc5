/** Two JSON Schemas that both must hold, as one (`allOf`, and keywords beside a `$ref`). */
import { SchemaError } from './schema-error.ts';

export type Schema = Record<string, unknown>;

type Combine = (a: unknown, b: unknown, keyword: string) => unknown;

const larger: Combine = (a, b) => Math.max(Number(a), Number(b));
const smaller: Combine = (a, b) => Math.min(Number(a), Number(b));
const both: Combine = (a, b) => ({ allOf: [a, b] });

/** Keywords that are neither here nor below must be equal, or are words without effect. */
const COMBINE: Readonly<Record<string, Combine>> = {
  type: commonTypes,
  enum: (a, b) => common(a as unknown[], b as unknown[]),
  required: (a, b) => [...new Set([...(a as string[]), ...(b as string[])])],
  additionalProperties: both,
  minimum: larger,
  exclusiveMinimum: larger,
  minLength: larger,
  minItems: larger,
  minProperties: larger,
  maximum: smaller,
  exclusiveMaximum: smaller,
  maxLength: smaller,
  maxItems: smaller,
  maxProperties: smaller,
};

const EQUAL_ONLY = [
  ...[
    'pattern',
    'format',
    'multipleOf',
    'items',
    'prefixItems',
    'additionalItems',
    'anyOf',
    'oneOf',
  ],
  ...['not', 'if', 'then', 'else', 'contains', 'uniqueItems', 'propertyNames', 'patternProperties'],
  ...['dependentRequired', 'dependentSchemas', 'dependencies', 'unevaluatedItems', '$ref'],
];

/** Neither holds a `const`: it was made an `enum`. Throws a SchemaError where one cannot say both. */
export function merge(a: Schema, b: Schema): Schema {
  const merged: Schema = { ...a };
  // `items` is about what the `prefixItems` beside it leave over, and nobody else's.
  if (hasItems(a) && hasItems(b) && !OF_ITEMS.every((keyword) => same(a[keyword], b[keyword]))) {
    throw new SchemaError(
      'describes items in two ways that both must hold, which is not supported',
    );
  }
  for (const [keyword, value] of Object.entries(b)) {
    if (value === undefined) continue;
    const earlier = a[keyword];
    if (earlier === undefined || keyword === 'properties') merged[keyword] = value;
    else if (Object.hasOwn(COMBINE, keyword))
      merged[keyword] = COMBINE[keyword](earlier, value, keyword);
    else if (EQUAL_ONLY.includes(keyword) && !same(earlier, value)) {
      throw new SchemaError(
        `has two different ${keyword} that both must hold, which is not supported`,
      );
    }
  }
  if (a.properties !== undefined || b.properties !== undefined) {
    merged.properties = mergeProperties(a, b);
  }
  return merged;
}

const OF_ITEMS = ['items', 'prefixItems', 'additionalItems'];

function hasItems(schema: Schema): boolean {
  return OF_ITEMS.some((keyword) => schema[keyword] !== undefined);
}

/** A property that one side does not name is that side's additional property. */
function mergeProperties(a: Schema, b: Schema): Schema {
  const [ofA, ofB] = [(a.properties ?? {}) as Schema, (b.properties ?? {}) as Schema];
  const merged: [string, unknown][] = [];
  for (const name of new Set([...Object.keys(ofA), ...Object.keys(ofB)])) {
    const sides = [
      Object.hasOwn(ofA, name) ? ofA[name] : a.additionalProperties,
      Object.hasOwn(ofB, name) ? ofB[name] : b.additionalProperties,
    ].filter((side) => side !== undefined);
    merged.push([name, sides.length === 1 ? sides[0] : { allOf: sides }]);
  }
  return Object.fromEntries(merged);
}

function commonTypes(a: unknown, b: unknown): string[] {
  const [ofA, ofB] = [[a].flat() as string[], [b].flat() as string[]];
  const found = new Set<string>();
  for (const type of ofA) {
    if (ofB.includes(type)) found.add(type);
    else if (type === 'integer' && ofB.includes('number')) found.add(type);
    else if (type === 'number' && ofB.includes('integer')) found.add('integer');
  }
  return [...found];
}

function common(a: readonly unknown[], b: readonly unknown[]): unknown[] {
  return a.filter((value) => b.some((other) => same(value, other)));
}

/** Equal as JSON, whatever the order of keys. */
export function same(a: unknown, b: unknown): boolean {
  return a === b || (a !== undefined && b !== undefined && canonical(a) === canonical(b));
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([x], [y]) => (x < y ? -1 : 1)));
  });
}
