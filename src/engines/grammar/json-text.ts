/** JSON as text (RFC 8259): its characters, words and white space, as expressions. */
import {
  anyOf,
  complement,
  EMPTY,
  type Expression,
  either,
  intersection,
  oneOf,
  optional,
  type Range,
  repeat,
  rule,
  sequence,
  text,
} from './expression.ts';

const DIGIT: Range = [0x30, 0x39];
export const DIGITS = oneOf([DIGIT]);
const HEX = oneOf([DIGIT, [0x41, 0x46], [0x61, 0x66]]);

/** Written as they are: all but controls, quote and backslash. */
export const PLAIN: readonly Range[] = complement([
  [0, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
  [0xd800, 0xdfff],
]);

/** What may stand between the words of JSON: nothing, a space, or a line break and an indent. */
export const SPACE = rule('ws');
/** Any character of a string, however it is written. Escapes stand for one character each. */
export const CHARACTER = rule('char');
export const INTEGER = rule('integer');
export const NUMBER = rule('number');
export const STRING = rule('string');
export const OBJECT = rule('object');
export const ARRAY = rule('array');
export const VALUE = rule('value');

const ANY_SPACE: Expression = optional(
  either(text(' '), sequence(text('\n'), repeat(anyOf(' '), 0, 20))),
);

const ANY_CHARACTER: Expression = either(
  oneOf(PLAIN),
  sequence(text('\\'), anyOf('"\\/bfnrt')),
  sequence(
    text('\\u'),
    either(
      sequence(oneOf([DIGIT, [0x41, 0x43], [0x45, 0x46], [0x61, 0x63], [0x65, 0x66]]), HEX),
      sequence(anyOf('dD'), oneOf([[0x30, 0x37]])),
    ),
    HEX,
    HEX,
  ),
);

const NAMED_ESCAPES: readonly (readonly [number, string])[] = [
  [0x22, '\\"'],
  [0x5c, '\\\\'],
  [0x08, '\\b'],
  [0x0c, '\\f'],
  [0x0a, '\\n'],
  [0x0d, '\\r'],
  [0x09, '\\t'],
];

/** One of these characters as it stands in a JSON string, in the shortest spelling. */
export function characterIn(ranges: readonly Range[]): Expression {
  const plain = intersection(ranges, PLAIN);
  const has = (code: number) => ranges.some(([from, to]) => from <= code && code <= to);
  const escapes: Expression[] = [];
  for (const [code, written] of NAMED_ESCAPES) if (has(code)) escapes.push(text(written));
  for (let code = 0; code < 0x20; code++) {
    if (!has(code) || NAMED_ESCAPES.some(([named]) => named === code)) continue;
    escapes.push(text(`\\u${code.toString(16).padStart(4, '0')}`));
  }
  return either(oneOf(plain), ...escapes);
}

export function quoted(content: Expression): Expression {
  return sequence(text('"'), content, text('"'));
}

/** More digits than these a double cannot tell apart. */
const DIGITS_MAX = 15;

export const FRACTION: Expression = sequence(text('.'), repeat(DIGITS, 1, DIGITS_MAX));

const WHOLE: Expression = either(
  text('0'),
  sequence(oneOf([[0x31, 0x39]]), repeat(DIGITS, 0, DIGITS_MAX - 1)),
);

const ANY_INTEGER: Expression = sequence(optional(text('-')), WHOLE);

const ANY_NUMBER: Expression = sequence(
  ANY_INTEGER,
  optional(FRACTION),
  optional(sequence(anyOf('eE'), optional(anyOf('+-')), DIGITS, optional(DIGITS))),
);

/** `{` or `[`, members with commas between them, and the end. `members` may be empty. */
export function enclosed(ends: '{}' | '[]', members: Expression): Expression {
  return sequence(text(ends[0]), SPACE, members, SPACE, text(ends[1]));
}

export const COMMA: Expression = sequence(text(','), SPACE);

/** `min` to `max` times the item, with commas between; `after`: something stands before already. */
export function listed(
  item: Expression,
  { min, max, after }: { min: number; max: number | undefined; after: boolean },
): Expression {
  const next = sequence(COMMA, item);
  if (after) return repeat(next, min, max);
  if (max !== undefined && max <= 0) return min > 0 ? either() : EMPTY;
  const some = sequence(
    item,
    repeat(next, Math.max(0, min - 1), max === undefined ? undefined : max - 1),
  );
  return min > 0 ? some : optional(some);
}

/** What the names above stand for. Values nest `depthMax` deep, or without end. */
export function jsonRules(depthMax: number | undefined): Map<string, Expression> {
  const rules = new Map<string, Expression>([
    ['ws', ANY_SPACE],
    ['char', ANY_CHARACTER],
    ['integer', ANY_INTEGER],
    ['number', ANY_NUMBER],
    ['string', quoted(repeat(CHARACTER, 0, undefined))],
  ]);
  const scalars = [text('null'), text('true'), text('false'), NUMBER, STRING];
  if (depthMax === undefined) {
    rules.set('object', anyObject(VALUE)).set('array', anyArray(VALUE));
    return rules.set('value', either(...scalars, OBJECT, ARRAY));
  }
  let inner = either(...scalars);
  for (let depth = 1; depth < depthMax; depth++) {
    rules.set(`value-${depth}`, inner);
    const below = rule(`value-${depth}`);
    inner = either(...scalars, anyObject(below), anyArray(below));
  }
  rules.set('inner', inner);
  rules.set('object', anyObject(rule('inner'))).set('array', anyArray(rule('inner')));
  return rules.set('value', either(...scalars, OBJECT, ARRAY));
}

const ANY_NUMBER_OF = { min: 0, max: undefined, after: false };

function anyObject(value: Expression): Expression {
  const member = sequence(STRING, text(':'), SPACE, value);
  return enclosed('{}', listed(member, ANY_NUMBER_OF));
}

function anyArray(value: Expression): Expression {
  return enclosed('[]', listed(value, ANY_NUMBER_OF));
}

/** A value, written without spaces. */
export function literal(value: unknown): Expression {
  return text(JSON.stringify(value));
}

/** Characters that are written as they are, but for those given. */
export function plainBut(except: readonly Range[]): Range[] {
  return intersection(PLAIN, complement(except));
}
