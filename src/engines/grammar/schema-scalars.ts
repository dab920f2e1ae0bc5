/** Strings, numbers and listed values of a JSON Schema as expressions. */
import { type Expression, either, NOTHING, repeat, sequence, text } from './expression.ts';
import { FORMATS } from './formats.ts';
import {
  CHARACTER,
  characterIn,
  DIGITS,
  INTEGER,
  literal,
  NUMBER,
  quoted,
  STRING,
} from './json-text.ts';
import { type Bounds, integerWithin, numberWithin } from './number-range.ts';
import { PatternError, readPattern } from './pattern.ts';
import { SchemaError } from './schema-error.ts';
import type { Schema } from './schema-merge.ts';

/** Longer texts no context holds, and no grammar should count. */
const LENGTH_MAX = 100_000;
/** Beyond it we write no digits: a bound out there bounds nothing, or everything. */
const NUMBER_MAX = 1e15;
const MULTIPLES_MAX = 1_000;

export function stringOf(schema: Schema): Expression {
  const least = countOf(schema, 'minLength') ?? 0;
  const most = countOf(schema, 'maxLength');
  const pattern = patternOf(schema);
  if (pattern === undefined) {
    if (least === 0 && most === undefined) return STRING;
    return quoted(repeat(CHARACTER, least, most));
  }
  const { expression, lengthMin, lengthMax } = pattern;
  if (lengthMin > (most ?? Number.POSITIVE_INFINITY) || (lengthMax ?? least) < least)
    return NOTHING;
  const fits =
    lengthMin >= least && (most === undefined || (lengthMax !== undefined && lengthMax <= most));
  if (!fits) {
    throw new SchemaError(
      'bounds the length of a string that also has a pattern or format; bound it in the pattern, such as ^[a-z]{1,8}$',
    );
  }
  return quoted(expression);
}

function patternOf(schema: Schema): ReturnType<typeof readPattern> | undefined {
  const { pattern, format } = schema;
  const known =
    typeof format === 'string' && Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
  if (pattern === undefined && known === undefined) return undefined;
  if (pattern !== undefined && known !== undefined) {
    throw new SchemaError(`has both a pattern and the format ${String(format)}; leave one out`);
  }
  if (pattern !== undefined && typeof pattern !== 'string') {
    throw new SchemaError('has a pattern that is no string');
  }
  try {
    return readPattern((pattern as string | undefined) ?? known ?? '', characterIn);
  } catch (thrown) {
    if (!(thrown instanceof PatternError)) throw thrown;
    const shown = JSON.stringify(String(pattern).slice(0, 60));
    throw new SchemaError(`has the pattern ${shown}, which ${thrown.message}`);
  }
}

export function integerOf(schema: Schema): Expression {
  const bounds = boundsOf(schema, 'whole');
  const step = stepOf(schema);
  if (bounds === undefined) return NOTHING;
  if (step === undefined || 1 / step === Math.round(1 / step)) {
    const isFree = bounds.min === undefined && bounds.max === undefined;
    return isFree ? INTEGER : integerWithin(bounds);
  }
  return multiples(step, bounds);
}

export function numberOf(schema: Schema): Expression {
  const bounds = boundsOf(schema, 'asGiven');
  const step = stepOf(schema);
  if (bounds === undefined) return NOTHING;
  const isFree = bounds.min === undefined && bounds.max === undefined;
  if (step === undefined) return isFree ? NUMBER : numberWithin(bounds);
  const places = -Math.log10(step);
  if (Number.isInteger(step)) return integerOf(schema);
  if (!isFree || !Number.isInteger(places)) {
    throw new SchemaError(
      'has a multipleOf that is supported for whole numbers, or as 0.1, 0.01, … without bounds',
    );
  }
  return sequence(INTEGER, repeat(sequence(text('.'), repeat(DIGITS, 1, places)), 0, 1));
}

function multiples(step: number, bounds: Bounds): Expression {
  const { min, max, above, below } = bounds;
  if (!Number.isInteger(step) || min === undefined || max === undefined) {
    throw new SchemaError('has a multipleOf that needs whole numbers, a minimum and a maximum');
  }
  const by = BigInt(step);
  const from = above ? min + 1n : min;
  const to = below ? max - 1n : max;
  const first = from + ((((-from % by) + by) % by) as bigint);
  const found: Expression[] = [];
  for (let value = first; value <= to; value += by) {
    if (found.length >= MULTIPLES_MAX) {
      throw new SchemaError(
        `has a multipleOf with more than ${MULTIPLES_MAX} values within its bounds`,
      );
    }
    found.push(text(String(value)));
  }
  return either(...found);
}

function stepOf({ multipleOf }: Schema): number | undefined {
  if (multipleOf === undefined) return undefined;
  if (typeof multipleOf === 'number' && multipleOf > 0) return multipleOf;
  throw new SchemaError('has a multipleOf that is no number above 0');
}

/** Undefined where nothing we could write lies between them. */
function boundsOf(schema: Schema, rounding: 'whole' | 'asGiven'): Bounds | undefined {
  const lower = tighter(schema, 'minimum', 'exclusiveMinimum', Math.max);
  const upper = tighter(schema, 'maximum', 'exclusiveMaximum', Math.min);
  if (lower !== undefined && lower.at > NUMBER_MAX) return undefined;
  if (upper !== undefined && upper.at < -NUMBER_MAX) return undefined;
  const min = lower === undefined || lower.at < -NUMBER_MAX ? undefined : lower;
  const max = upper === undefined || upper.at > NUMBER_MAX ? undefined : upper;
  const isWhole = (end: { at: number } | undefined) =>
    end === undefined || Number.isInteger(end.at);
  if (rounding === 'asGiven' && !(isWhole(min) && isWhole(max))) {
    throw new SchemaError('bounds a number by a fraction; only whole bounds are supported');
  }
  return {
    min: min === undefined ? undefined : BigInt(Math.ceil(min.at)),
    max: max === undefined ? undefined : BigInt(Math.floor(max.at)),
    above: min !== undefined && isWhole(min) && min.out,
    below: max !== undefined && isWhole(max) && max.out,
  };
}

/** Draft 4 says by `true` that the bound beside it is out; later drafts give a bound of its own. */
function tighter(
  schema: Schema,
  inclusive: string,
  exclusive: string,
  choose: (a: number, b: number) => number,
): { at: number; out: boolean } | undefined {
  const isOut = schema[exclusive] === true;
  const within = boundOf(schema, inclusive);
  const out = typeof schema[exclusive] === 'boolean' ? undefined : boundOf(schema, exclusive);
  if (within === undefined) return out === undefined ? undefined : { at: out, out: true };
  if (out === undefined) return { at: within, out: isOut };
  return { at: choose(within, out), out: choose(within, out) === out };
}

function boundOf(schema: Schema, keyword: string): number | undefined {
  const value = schema[keyword];
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new SchemaError(`has a ${keyword} that is no number`);
}

export function countOf(schema: Schema, keyword: string): number | undefined {
  const value = schema[keyword];
  if (value === undefined) return undefined;
  const isCount = typeof value === 'number' && Number.isInteger(value) && value >= 0;
  if (!isCount) throw new SchemaError(`has a ${keyword} that is no count`);
  if (value > LENGTH_MAX) throw new SchemaError(`has a ${keyword} above ${LENGTH_MAX}`);
  return value;
}

/** Of the listed values those that the rest of the schema allows. */
export function listedValues(values: readonly unknown[], schema: Schema): Expression {
  return either(...values.filter((value) => holds(value, schema)).map(literal));
}

const OF_CONTAINERS = [
  ...['properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties'],
  ...['items', 'prefixItems', 'additionalItems', 'minItems', 'maxItems'],
];

function holds(value: unknown, schema: Schema): boolean {
  const { type } = schema;
  if (type !== undefined && ![type].flat().some((name) => isOfType(value, name))) return false;
  if (typeof value === 'string') {
    const length = Array.from(value).length;
    if (length < (countOf(schema, 'minLength') ?? 0)) return false;
    if (length > (countOf(schema, 'maxLength') ?? length)) return false;
    const pattern = schema.pattern === undefined ? undefined : String(schema.pattern);
    return pattern === undefined || new RegExp(pattern, 'u').test(value);
  }
  if (typeof value === 'number') {
    const lower = tighter(schema, 'minimum', 'exclusiveMinimum', Math.max);
    const upper = tighter(schema, 'maximum', 'exclusiveMaximum', Math.min);
    if (lower !== undefined && (value < lower.at || (lower.out && value === lower.at)))
      return false;
    if (upper !== undefined && (value > upper.at || (upper.out && value === upper.at)))
      return false;
    const step = stepOf(schema);
    return step === undefined || Number.isInteger(value / step);
  }
  const beside = OF_CONTAINERS.find((keyword) => schema[keyword] !== undefined);
  if (typeof value !== 'object' || value === null || beside === undefined) return true;
  throw new SchemaError(`lists objects or lists beside ${beside}, which is not supported`);
}

export function isOfType(value: unknown, type: unknown): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'integer':
      return Number.isInteger(value);
    case 'array':
      return Array.isArray(value);
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    default:
      return typeof value === type;
  }
}
