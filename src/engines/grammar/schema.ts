/**
 * JSON Schema → grammar. Whatever the grammar allows is valid by the schema; the reverse does not
 * hold, where a schema leaves open what nobody wants written:
 *
 *   properties come in the schema's order, and others only where `additionalProperties` is stated
 *   without `type`, keywords tell it: `properties` an object, `items` a list, …
 *   `oneOf` is taken where its branches exclude each other
 *
 * What a grammar cannot say is refused by name, never ignored. Unknown keywords are annotations.
 */
import {
  EMPTY,
  type Expression,
  either,
  isNothing,
  NOTHING,
  oneOf,
  optional,
  repeat,
  rule,
  sequence,
  text,
} from './expression.ts';
import {
  ARRAY,
  COMMA,
  enclosed,
  listed,
  literal,
  OBJECT,
  plainBut,
  SPACE,
  STRING,
  VALUE,
} from './json-text.ts';
import type { RuleBook } from './rule-book.ts';
import { disjoint } from './schema-disjoint.ts';
import { SchemaError } from './schema-error.ts';
import { merge, type Schema } from './schema-merge.ts';
import { listOf, SchemaRefs } from './schema-refs.ts';
import { countOf, integerOf, listedValues, numberOf, stringOf } from './schema-scalars.ts';

const SCHEMAS_MAX = 20_000;

const REFUSED = [
  ...['not', 'if', 'dependentRequired', 'dependentSchemas', 'dependencies', 'patternProperties'],
  ...['contains', 'unevaluatedItems', 'unevaluatedProperties', '$dynamicRef', '$recursiveRef'],
];

/** Keywords by the type they are about, in the order types are tried. */
const ABOUT: Readonly<Record<string, readonly string[]>> = {
  object: [
    ...['properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties'],
    'propertyNames',
  ],
  array: ['items', 'prefixItems', 'additionalItems', 'minItems', 'maxItems', 'uniqueItems'],
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
};

/** One schema document; its rules go into the book. */
export class SchemaCompiler {
  readonly #book: RuleBook;
  readonly #document: unknown;
  readonly #refs: SchemaRefs;
  readonly #references = new Map<string, string>();
  /** References being followed. */
  readonly #open: string[] = [];
  #schemas = 0;

  constructor(document: unknown, book: RuleBook) {
    this.#document = document;
    this.#refs = new SchemaRefs(document);
    this.#book = book;
  }

  /** Throws a SchemaError where the schema cannot become a grammar. */
  expression(): Expression {
    return this.#reference('#', this.#document);
  }

  #value(schema: unknown): Expression {
    if (++this.#schemas > SCHEMAS_MAX) throw new SchemaError('is too large');
    const pointer = plainReference(schema);
    if (pointer !== undefined) return this.#reference(pointer, this.#refs.at(pointer));
    const flat = this.#refs.flatten(schema);
    return flat === false ? NOTHING : this.#flat(flat);
  }

  /** A rule of its own, so that a schema may hold itself. */
  #reference(pointer: string, schema: unknown): Expression {
    const { depthMax } = this.#book.limits;
    if (depthMax !== undefined) {
      if (this.#open.filter((open) => open === pointer).length >= depthMax) return NOTHING;
    } else {
      const known = this.#references.get(pointer);
      if (known !== undefined) return rule(known);
    }
    const name = this.#book.reserve();
    this.#references.set(pointer, name);
    this.#open.push(pointer);
    this.#book.set(name, this.#value(schema));
    this.#open.pop();
    return rule(name);
  }

  #flat(schema: Schema): Expression {
    refuseUnsupported(schema);
    const { anyOf, oneOf: exclusive, ...rest } = schema;
    if (anyOf !== undefined) {
      const others = exclusive === undefined ? rest : { ...rest, oneOf: exclusive };
      return this.#branches(listOf(anyOf, 'anyOf'), others);
    }
    if (exclusive !== undefined) {
      const branches = listOf(exclusive, 'oneOf');
      if (!disjoint(branches, this.#refs)) {
        throw new SchemaError('has a oneOf of which several branches could hold; use anyOf');
      }
      return this.#branches(branches, rest);
    }
    if (rest.enum !== undefined) return listedValues(listOf(rest.enum, 'enum'), rest);
    return either(...typesOf(rest).map((type) => this.#typed(type, rest)));
  }

  #branches(branches: readonly unknown[], beside: Schema): Expression {
    const hasRest = Object.keys(beside).some((keyword) => !WORDS.has(keyword));
    return either(
      ...branches.map((branch) => {
        if (!hasRest) return this.#value(branch);
        const flat = this.#refs.flatten(branch);
        return flat === false ? NOTHING : this.#flat(merge(beside, flat));
      }),
    );
  }

  #typed(type: unknown, schema: Schema): Expression {
    switch (type) {
      case 'any':
        return VALUE;
      case 'null':
        return text('null');
      case 'boolean':
        return either(text('true'), text('false'));
      case 'integer':
        return integerOf(schema);
      case 'number':
        return numberOf(schema);
      case 'string':
        return stringOf(schema);
      case 'array':
        return this.#array(schema);
      case 'object':
        return this.#object(schema);
      default:
        throw new SchemaError(`has the unknown type ${JSON.stringify(type)}`);
    }
  }

  #array(schema: Schema): Expression {
    const { uniqueItems } = schema;
    const { prefix, rest } = itemsOf(schema);
    const min = countOf(schema, 'minItems') ?? 0;
    const max = countOf(schema, 'maxItems');
    if (uniqueItems === true && (max ?? 2) > 1) {
      throw new SchemaError('asks for uniqueItems, which a grammar cannot say');
    }
    if (max !== undefined && max < min) return NOTHING;
    if (prefix.length === 0 && rest === true && min === 0 && max === undefined) return ARRAY;
    const item = this.#book.add(this.#value(rest));
    const following = (from: number): Expression => {
      if (from === max) return EMPTY;
      if (from < prefix.length) {
        const one = this.#value(prefix[from]);
        if (isNothing(one)) return from >= min ? EMPTY : NOTHING;
        const more = sequence(from === 0 ? EMPTY : COMMA, one, following(from + 1));
        return from >= min ? optional(more) : more;
      }
      const left = { min: Math.max(0, min - from), max: max === undefined ? max : max - from };
      return listed(item, { ...left, after: from > 0 });
    };
    return enclosed('[]', following(0));
  }

  #object(schema: Schema): Expression {
    const properties = this.#propertiesOf(schema);
    if (properties === undefined) return OBJECT;
    const { members, more } = properties;
    const extra = this.#extra(
      members.map(({ name }) => name),
      more,
    );
    // What may follow member i where something stands before it, and where nothing does.
    let after: Expression = listed(extra, { min: 0, max: undefined, after: true });
    let first: Expression = listed(extra, { min: 0, max: undefined, after: false });
    for (const { name, value, required } of [...members].reverse()) {
      if (isNothing(value)) {
        if (required) return NOTHING;
        continue;
      }
      const member = sequence(literal(name), text(':'), SPACE, value);
      const rest = this.#book.add(after);
      const begun = sequence(member, rest);
      first = required ? begun : either(begun, first);
      const next = sequence(COMMA, member);
      after = sequence(required ? next : optional(next), rest);
    }
    return enclosed('{}', this.#book.add(first));
  }

  /** Undefined where any object will do. */
  #propertiesOf(
    schema: Schema,
  ):
    | { members: { name: string; value: Expression; required: boolean }[]; more: unknown }
    | undefined {
    const { properties, additionalProperties } = schema;
    if (properties !== undefined && (typeof properties !== 'object' || properties === null)) {
      throw new SchemaError('has properties that are no object');
    }
    const required = new Set(listOf(schema.required, 'required').map(String));
    const isOpen = properties === undefined && required.size === 0;
    if (isOpen && (additionalProperties === undefined || additionalProperties === true)) {
      checkCounts(schema, { least: 0, most: undefined });
      return undefined;
    }
    const declared = Object.entries((properties ?? {}) as Schema);
    for (const name of required) {
      if (!declared.some(([known]) => known === name))
        declared.push([name, additionalProperties ?? true]);
    }
    const more = additionalProperties ?? false;
    checkCounts(schema, {
      least: required.size,
      most: more === false ? declared.length : undefined,
    });
    const members = declared.map(([name, value]) => ({
      name,
      value: this.#book.add(this.#value(value)),
      required: required.has(name),
    }));
    return { members, more };
  }

  /** A property that is not declared; its name is written without escapes. */
  #extra(names: readonly string[], schema: unknown): Expression {
    const value = this.#value(schema);
    if (isNothing(value)) return NOTHING;
    const name = names.length === 0 ? STRING : sequence(text('"'), otherThan(names), text('"'));
    return this.#book.add(sequence(name, text(':'), SPACE, value));
  }
}

/** Plain text that is none of the names: a tree of their beginnings, left at any point. */
function otherThan(names: readonly string[]): Expression {
  const plain = plainBut([]);
  const anything = repeat(oneOf(plain), 0, undefined);
  const inside = (left: readonly string[]): Expression => {
    const heads = [
      ...new Set(left.filter((name) => name !== '').map((name) => Array.from(name)[0])),
    ];
    const codes = heads.map((head) => head.codePointAt(0) ?? 0);
    const others = oneOf(plainBut(codes.map((code) => [code, code])));
    const branches = heads
      .filter((head) => !/["\\\p{Cc}]/u.test(head))
      .map((head) => {
        const rest = left
          .filter((name) => name.startsWith(head))
          .map((name) => name.slice(head.length));
        return sequence(text(head), inside(rest));
      });
    const end = left.includes('') ? NOTHING : EMPTY;
    return either(end, sequence(others, anything), ...branches);
  };
  return inside(names);
}

function plainReference(schema: unknown): string | undefined {
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return undefined;
  const { $ref } = schema as Schema;
  const isAlone = Object.keys(schema).every((keyword) => keyword === '$ref' || WORDS.has(keyword));
  return typeof $ref === 'string' && isAlone ? $ref : undefined;
}

/** Keywords without effect on what is valid, which may stand beside any other. */
const WORDS = new Set([
  ...['title', 'description', 'default', 'examples', '$schema', '$id', '$comment', '$defs'],
  ...['definitions', 'deprecated', 'readOnly', 'writeOnly', 'discriminator'],
]);

function refuseUnsupported(schema: Schema): void {
  const found = REFUSED.find((keyword) => schema[keyword] !== undefined);
  if (found !== undefined) throw new SchemaError(`uses ${found}, which is not supported`);
  if (schema.propertyNames !== undefined && schema.propertyNames !== true) {
    throw new SchemaError('uses propertyNames, which is not supported');
  }
}

function typesOf(schema: Schema): unknown[] {
  if (schema.type !== undefined) {
    const types = [schema.type].flat();
    return types.includes('number') ? types.filter((type) => type !== 'integer') : types;
  }
  const told = Object.keys(ABOUT).filter((type) =>
    ABOUT[type].some((keyword) => schema[keyword] !== undefined),
  );
  return told.length > 0 ? told : ['any'];
}

/** Lists as drafts before 2020-12 put them: `items` may be the prefix. */
function itemsOf(schema: Schema): { prefix: unknown[]; rest: unknown } {
  const { items, prefixItems, additionalItems } = schema;
  if (Array.isArray(items)) return { prefix: items, rest: additionalItems ?? true };
  return { prefix: listOf(prefixItems, 'prefixItems'), rest: items ?? true };
}

function checkCounts(schema: Schema, has: { least: number; most: number | undefined }): void {
  const min = countOf(schema, 'minProperties') ?? 0;
  const max = countOf(schema, 'maxProperties');
  if (min > has.least) {
    throw new SchemaError(
      'has a minProperties beyond its required properties, which is not supported',
    );
  }
  if (max !== undefined && (has.most === undefined || has.most > max)) {
    throw new SchemaError('has a maxProperties that could be passed, which is not supported');
  }
}
