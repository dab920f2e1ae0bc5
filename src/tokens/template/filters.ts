/** Filters of Jinja that chat templates use, as in jinja2/filters.py 3.1.6 without autoescape. */
import { type JsonStyle, ONE_LINE, writeJson } from './json.ts';
import { INDENT_MAX, limit } from './limits.ts';
import { integer, joined, replaceText, text } from './methods.ts';
import { BINARY, itemOf } from './operators.ts';
import { print } from './printing.ts';
import { capitalized, characters, SPACES, splitLines, strip } from './python-text.ts';
import type { Signature } from './signature.ts';
import { TemplateError } from './template-error.ts';
import { TESTS } from './tests.ts';
import {
  compare,
  entriesOf,
  Float,
  Iteration,
  isDict,
  isNumber,
  isText,
  isTrue,
  itemsOf,
  Markup,
  numberOf,
  sizeOf,
  Tuple,
  textOf,
  toFloat,
  typeName,
  type Value,
} from './values.ts';

/** A word and what Jinja's own `title` counts to it. */
const WORD = new RegExp(`[^-({[<${SPACES}]+`, 'g');

export const FILTERS: Readonly<Record<string, Signature>> = {
  length: filter([], sizeOf),
  count: filter([], sizeOf),
  string: filter([], (value) => (value instanceof Markup ? value : print(value))),
  safe: filter([], (value) => new Markup(print(value))),
  list: filter([], (value) => [...itemsOf(value)]),
  first: filter([], (value) => itemsOf(value)[0]),
  last: filter([], (value) => {
    if (value instanceof Iteration && value.isGenerator) {
      throw new TemplateError('a generator has no last item');
    }
    return itemsOf(value).at(-1);
  }),
  reverse: filter([], reversed),
  lower: filter([], (value) => plain(value).toLowerCase()),
  upper: filter([], (value) => plain(value).toUpperCase()),
  capitalize: filter([], (value) => capitalized(plain(value))),
  // Not as `str.title` has it: words end at blanks, hyphens and opening brackets only.
  title: filter([], (value) =>
    plain(value).replace(WORD, (word) => {
      const [first] = word;
      return first.toUpperCase() + word.slice(first.length).toLowerCase();
    }),
  ),
  int: filter(['default'], toInteger, [0]),
  float: filter(['default'], (value, fallback) => toDecimal(value) ?? fallback, [new Float(0)]),
  abs: filter([], (value) => BINARY[compare(value, 0) > 0 ? '+' : '-'](0, value)),
  trim: filter(['chars'], (value, chars) =>
    strip(plain(value), 'both', chars === undefined || chars === null ? undefined : text(chars)),
  ),
  default: filter(['default_value', 'boolean'], otherwise, ['', false]),
  d: filter(['default_value', 'boolean'], otherwise, ['', false]),
  join: filter(['d', 'attribute'], (value, separator = '', attribute) =>
    joined(
      itemsOf(value).map((item) => print(isAbsent(attribute) ? item : memberOf(item, attribute))),
      print(separator),
    ),
  ),
  replace: filter(['s', 'new', 'count'], (value, from, to, count) =>
    replaceText(plain(value), {
      from: print(from),
      to: print(to),
      max: count === undefined || count === null ? -1 : integer(count),
    }),
  ),
  indent: filter(['width', 'first', 'blank'], indent),
  items: filter([], (value) => {
    if (value === undefined) return generator([]);
    if (!isDict(value)) throw new TemplateError(`${typeName(value)} has no items`);
    return generator(entriesOf(value).map((pair) => Tuple.from(pair)));
  }),
  dictsort: filter(['case_sensitive', 'by', 'reverse'], dictsort),
  tojson: filter(['ensure_ascii', 'indent', 'separators', 'sort_keys'], tojson),
  // Only `map(attribute=…)`; what `map('filter')` means is known when the template is compiled.
  map: filter(['attribute'], (value, attribute) =>
    each(value, (items) => items.map((item) => memberOf(item, attribute))),
  ),
  select: filter(['test', 'argument'], (value, test, argument) =>
    each(value, (items) => items.filter((item) => passes(item, test, argument))),
  ),
  reject: filter(['test', 'argument'], (value, test, argument) =>
    each(value, (items) => items.filter((item) => !passes(item, test, argument))),
  ),
  selectattr: filter(['attribute', 'test', 'argument'], (value, path, test, argument) =>
    each(value, (items) => items.filter((it) => passes(memberOf(it, path), test, argument))),
  ),
  rejectattr: filter(['attribute', 'test', 'argument'], (value, path, test, argument) =>
    each(value, (items) => items.filter((it) => !passes(memberOf(it, path), test, argument))),
  ),
  sort: filter(['reverse', 'case_sensitive', 'attribute'], sort),
  unique: filter(['case_sensitive', 'attribute'], (value, caseSensitive, attribute) => {
    const fold = isTrue(caseSensitive) ? (it: Value) => it : folded;
    const unique = new Map<Value, Value>();
    for (const item of itemsOf(value)) {
      const key = keyOf(fold(isAbsent(attribute) ? item : memberOf(item, attribute)));
      if (!unique.has(key)) unique.set(key, item);
    }
    return generator([...unique.values()]);
  }),
  min: filter(['case_sensitive', 'attribute'], (value, caseSensitive, attribute) => {
    return extreme(value, false, caseSensitive, attribute);
  }),
  max: filter(['case_sensitive', 'attribute'], (value, caseSensitive, attribute) => {
    return extreme(value, true, caseSensitive, attribute);
  }),
  // Of llama.cpp, not of Jinja, which raises where a template comes to it.
  from_json: filter([], () => {
    throw new TemplateError('the filter from_json is none of Jinja');
  }),
};

function filter(
  parameters: readonly string[],
  run: (subject: Value, ...values: Value[]) => Value,
  defaults?: readonly Value[],
): Signature {
  return { parameters, run, defaults };
}

/** What Python computes as it is asked; nothing comes of an empty value, not even of None. */
export function each(value: Value, change: (items: readonly Value[]) => Value[]): Iteration {
  return generator(isTrue(value) ? change(itemsOf(value)) : []);
}

function generator(items: readonly Value[]): Iteration {
  return new Iteration(items, 'once');
}

/** What a filter that works on strings sees. */
function plain(value: Value): string {
  if (value instanceof Markup)
    throw new TemplateError('a filter of a safe string is not supported');
  return print(value);
}

function otherwise(value: Value, fallback: Value, boolean: Value): Value {
  return value === undefined || (isTrue(boolean) && !isTrue(value)) ? fallback : value;
}

/** An iterator; of a generator, which has no end to begin from, a list. */
function reversed(value: Value): Value {
  if (isText(value)) return characters(plain(value)).reverse().join('');
  const items = [...itemsOf(value)].reverse();
  return value instanceof Iteration && value.isGenerator ? items : generator(items);
}

function toInteger(value: Value, fallback: Value): Value {
  if (value === undefined) throw new TemplateError('an undefined value is no integer');
  const trimmed = isText(value) ? strip(textOf(value), 'both') : undefined;
  if (trimmed !== undefined && /^[-+]?\d+$/.test(trimmed)) return safeInteger(Number(trimmed));
  const number = toDecimal(value);
  return number === undefined ? fallback : safeInteger(Math.trunc(numberOf(number)));
}

function safeInteger(number: number): number {
  if (Number.isSafeInteger(number)) return number + 0;
  throw new TemplateError('an integer beyond 2^53');
}

/** `float(value)`; undefined where Python finds no number in it. */
function toDecimal(value: Value): number | Float | undefined {
  if (value === undefined) throw new TemplateError('an undefined value is no number');
  if (isNumber(value)) return toFloat(numberOf(value));
  if (!isText(value)) return undefined;
  const trimmed = strip(textOf(value), 'both');
  if (/^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(trimmed)) return toFloat(Number(trimmed));
  // Python reads more as numbers than this: `1_000`, `inf`, digits of other scripts.
  if (/\d_\d|(?![0-9])\p{Nd}|^[-+]?(inf(inity)?|nan)$/iu.test(trimmed))
    throw new TemplateError('an odd number');
  return undefined;
}

function indent(value: Value, width: Value = 4, first: Value = false, blank: Value = false): Value {
  if (!isText(value)) throw new TemplateError(`${typeName(value)} cannot be indented`);
  const space = isText(width) ? textOf(width) : ' '.repeat(blanks(width));
  const lines = splitLines(`${plain(value)}\n`);
  const inner = lines.map((line, i) =>
    i === 0 || (line === '' && !isTrue(blank)) ? line : space + line,
  );
  return (isTrue(first) ? space : '') + inner.join('\n');
}

function blanks(value: Value): number {
  limit(integer(value), INDENT_MAX, 'an indent');
  return Math.max(0, integer(value));
}

function dictsort(value: Value, caseSensitive: Value, by: Value = 'key', reverse: Value = false) {
  if (!isDict(value)) throw new TemplateError(`${typeName(value)} cannot be sorted as a dict`);
  if (by !== 'key' && by !== 'value') throw new TemplateError('a dict is sorted by key or value');
  const at = by === 'value' ? 1 : 0;
  const fold = isTrue(caseSensitive) ? (it: Value) => it : folded;
  return sorted(
    entriesOf(value).map((pair) => Tuple.from(pair)),
    reverse,
    (it) => fold(it[at]),
  );
}

function sort(value: Value, reverse: Value, caseSensitive: Value, attribute: Value): Value[] {
  const fold = isTrue(caseSensitive) ? (it: Value) => it : folded;
  // In a list, as Jinja has it: equal keys then need no order.
  return sorted(itemsOf(value), reverse, (item) => [
    fold(isAbsent(attribute) ? item : memberOf(item, attribute)),
  ]);
}

/** The least or the greatest item, the first of several. Unlike in sorting, keys stand alone. */
function extreme(value: Value, greatest: Value, caseSensitive: Value, attribute: Value): Value {
  const fold = isTrue(caseSensitive) ? (it: Value) => it : folded;
  const key = (item: Value) => fold(isAbsent(attribute) ? item : memberOf(item, attribute));
  return sorted(itemsOf(value), greatest, key)[0];
}

/** Stable in both directions, as Python's sort is. */
function sorted<T>(items: readonly T[], reverse: Value, keyOf: (item: T) => Value): T[] {
  const sign = isTrue(reverse) ? -1 : 1;
  return Array.from(items, (item) => ({ item, key: keyOf(item) }))
    .sort((a, b) => sign * compare(a.key, b.key))
    .map(({ item }) => item);
}

/** The same for values that are equal as keys. */
function keyOf(value: Value): Value {
  if (isText(value)) return `s${textOf(value)}`;
  if (isNumber(value)) return typeof value === 'bigint' ? value : numberOf(value);
  if (value === undefined || value === null) return value;
  throw new TemplateError(`${typeName(value)} is no key`);
}

function isAbsent(value: Value): boolean {
  return value === undefined || value === null;
}

function folded(value: Value): Value {
  return isText(value) ? textOf(value).toLowerCase() : value;
}

function tojson(value: Value, ascii: Value, indent: Value, separators: Value, sortKeys: Value) {
  const isIndented = indent !== undefined && indent !== null;
  const given = Array.isArray(separators) ? separators.map(text) : undefined;
  const style: JsonStyle = {
    indent: isIndented ? blanks(indent) : undefined,
    asciiOnly: isTrue(ascii),
    sortKeys: isTrue(sortKeys),
    separators: [given?.[0] ?? (isIndented ? ',' : ', '), given?.[1] ?? ONE_LINE.separators[1]],
  };
  return writeJson(value, style);
}

/** `a.b.0`: the path that an attribute argument names. Sorting would take several, here refused. */
function memberOf(item: Value, path: Value): Value {
  if (typeof path === 'number') return itemOf(item, path);
  if (text(path).includes(',')) throw new TemplateError('an attribute with a comma');
  return text(path)
    .split('.')
    .reduce((at: Value, name) => itemOf(at, /^\d+$/.test(name) ? Number(name) : name), item);
}

function passes(value: Value, test: Value, argument: Value): boolean {
  if (test === undefined) return isTrue(value);
  const name = text(test);
  if (!Object.hasOwn(TESTS, name)) throw new TemplateError(`the test ${name} is not supported`);
  return isTrue(TESTS[name].run(value as never, argument));
}
