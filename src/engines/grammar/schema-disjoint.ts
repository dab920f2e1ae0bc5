/** Whether the branches of a `oneOf` exclude each other, as far as that can be told from outside. */
import { type Schema, same } from './schema-merge.ts';
import { listOf, type SchemaRefs } from './schema-refs.ts';
import { isOfType } from './schema-scalars.ts';

const DEPTH_MAX = 3;

export function disjoint(branches: readonly unknown[], refs: SchemaRefs): boolean {
  const flat = branches.map((branch) => refs.flatten(branch));
  return flat.every((a, i) => flat.slice(i + 1).every((b) => exclude(a, b, refs, DEPTH_MAX)));
}

function exclude(a: Schema | false, b: Schema | false, refs: SchemaRefs, depth: number): boolean {
  if (a === false || b === false) return true;
  const [valuesA, valuesB] = [valuesOf(a), valuesOf(b)];
  if (valuesA !== undefined && valuesB !== undefined) {
    return !valuesA.some((value) => valuesB.some((other) => same(value, other)));
  }
  if (valuesA !== undefined) return typesExclude(valuesA, typesOf(b));
  if (valuesB !== undefined) return typesExclude(valuesB, typesOf(a));
  const [typesA, typesB] = [typesOf(a), typesOf(b)];
  if (typesA === undefined || typesB === undefined) return false;
  const common = typesA.filter((type) => typesB.some((other) => overlap(type, other)));
  if (common.length === 0) return true;
  return common.every((type) => type === 'object') && propertiesExclude(a, b, refs, depth);
}

/** Some property both must have, and cannot have alike; or one must have what the other forbids. */
function propertiesExclude(a: Schema, b: Schema, refs: SchemaRefs, depth: number): boolean {
  if (depth === 0) return false;
  const [ofA, ofB] = [(a.properties ?? {}) as Schema, (b.properties ?? {}) as Schema];
  const [mustA, mustB] = [listOf(a.required, 'required'), listOf(b.required, 'required')];
  const forbids = (schema: Schema, names: readonly unknown[], known: Schema) =>
    schema.additionalProperties === false &&
    names.some((name) => !Object.hasOwn(known, String(name)));
  if (forbids(b, mustA, ofB) || forbids(a, mustB, ofA)) return true;
  return mustA.some((name) => {
    const key = String(name);
    if (!mustB.includes(name) || !Object.hasOwn(ofA, key) || !Object.hasOwn(ofB, key)) return false;
    return exclude(refs.flatten(ofA[key]), refs.flatten(ofB[key]), refs, depth - 1);
  });
}

function valuesOf(schema: Schema): unknown[] | undefined {
  return schema.enum === undefined ? undefined : listOf(schema.enum, 'enum');
}

/** Only where `type` is stated: without it, a schema says nothing of other types. */
function typesOf({ type }: Schema): unknown[] | undefined {
  return type === undefined ? undefined : [type].flat();
}

function typesExclude(values: readonly unknown[], types: readonly unknown[] | undefined): boolean {
  return (
    types !== undefined && !values.some((value) => types.some((type) => isOfType(value, type)))
  );
}

function overlap(a: unknown, b: unknown): boolean {
  const isNumber = (type: unknown) => type === 'integer' || type === 'number';
  return a === b || (isNumber(a) && isNumber(b));
}
