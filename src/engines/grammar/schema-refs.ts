/** `$ref` within one schema document, by JSON pointer (RFC 6901), and what it takes to read one. */
import { SchemaError } from './schema-error.ts';
import { merge, type Schema } from './schema-merge.ts';

const FLATTEN_MAX = 64;

export class SchemaRefs {
  readonly #document: unknown;

  constructor(document: unknown) {
    this.#document = document;
  }

  /** The schema a reference names. */
  at(reference: unknown): unknown {
    if (typeof reference !== 'string') throw new SchemaError('has a $ref that is no string');
    if (!/^#(\/|$)/.test(reference)) {
      throw new SchemaError(`refers to ${JSON.stringify(reference)}, but only #/… is supported`);
    }
    let found = this.#document;
    for (const part of reference.split('/').slice(1)) {
      const key = unescaped(part, reference);
      const isThere = typeof found === 'object' && found !== null && Object.hasOwn(found, key);
      if (!isThere)
        throw new SchemaError(`refers to ${JSON.stringify(reference)}, which is not there`);
      found = (found as Schema)[key];
    }
    return found;
  }

  /** The schema without `$ref`, `allOf` and `const` at its top; false where it cannot hold. */
  flatten(schema: unknown, depth = 0): Schema | false {
    if (schema === true) return {};
    if (schema === false) return false;
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) {
      throw new SchemaError('holds something in the place of a schema that is none');
    }
    if (depth > FLATTEN_MAX) throw new SchemaError('refers to itself without anything in between');
    const { $ref, allOf, const: only, ...rest } = schema as Schema;
    let flat: Schema = rest;
    if ('const' in schema) flat = merge(flat, { enum: [only] });
    const parts = [...($ref === undefined ? [] : [this.at($ref)]), ...listOf(allOf, 'allOf')];
    for (const part of parts) {
      const other = this.flatten(part, depth + 1);
      if (other === false) return false;
      flat = merge(flat, other);
    }
    return flat;
  }
}

export function listOf(value: unknown, keyword: string): unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new SchemaError(`has a ${keyword} that is no list`);
  return value;
}

function unescaped(part: string, reference: string): string {
  try {
    return decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
  } catch {
    throw new SchemaError(`refers to ${JSON.stringify(reference)}, which is no JSON pointer`);
  }
}
