/** Filters of Jinja that chat templates use, as in jinja2/filters.py 3.1.6 without autoescape. */
import { type JsonStyle, ONE_LINE, writeJson } from './json.ts';
import { integer, replaceText, text } from './methods.ts';
import { itemOf } from './operators.ts';
import { print } from './printing.ts';
import { splitLines, strip } from './python-text.ts';
import type { Signature } from './signature.ts';
import { TemplateError } from './template-error.ts';
import { TESTS } from './tests.ts';
import {
  compare,
  entriesOf,
  equal,
  Iteration,
  isDict,
  isText,
  isTrue,
  itemsOf,
  Markup,
  sizeOf,
  Tuple,
  textOf,
  typeName,
  type Value,
} from './values.ts';

export const FILTERS: Readonly<Record<string, Signature>> = {
  length: filter([], sizeOf),
  count: filter([], sizeOf),
  string: filter([], (value) => (value instanceof Markup ? value : print(value))),
  safe: filter([], (value) => new Markup(print(value))),
  list: filter([], (value) => [...itemsOf(value)]),
  first: filter([], (value) => itemsOf(value)[0]),
  last: filter([], (value) => itemsOf(value).at(-1)),
  lower: filter([], (value) => plain(value).toLowerCase()),
  upper: filter([], (value) => plain(value).toUpperCase()),
  trim: filter(['chars'], (value, chars) =>
    strip(plain(value), 'both', chars === undefined || chars === null ? undefined : text(chars)),
  ),
  default: filter(['default_value', 'boolean'], otherwise),
  d: filter(['default_value', 'boolean'], otherwise),
  join: filter(['d', 'attribute'], (value, separator = '', attribute) =>
    itemsOf(value)
      .map((item) => print(attribute === undefined ? item : memberOf(item, attribute)))
      .join(print(separator)),
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
  unique: filter([], (value) => {
    const seen: Value[] = [];
    for (const item of itemsOf(value)) {
      if (isDict(item) || Array.isArray(item)) throw new TemplateError('a list or dict is no key');
      if (!seen.some((other) => equal(folded(other), folded(item)))) seen.push(item);
    }
    return generator(seen);
  }),
  min: filter([], (value) => sort(value, undefined, undefined, undefined)[0]),
};

function filter(
  parameters: readonly string[],
  run: (subject: Value, ...values: Value[]) => Value,
): Signature {
  return { parameters, run };
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

function otherwise(value: Value, fallback: Value = '', boolean: Value = false): Value {
  return value === undefined || (isTrue(boolean) && !isTrue(value)) ? fallback : value;
}

function indent(value: Value, width: Value = 4, first: Value = false, blank: Value = false): Value {
  if (!isText(value)) throw new TemplateError(`${typeName(value)} cannot be indented`);
  const space = isText(width) ? textOf(width) : ' '.repeat(integer(width));
  const lines = splitLines(`${plain(value)}\n`);
  const inner = lines.map((line, i) =>
    i === 0 || (line === '' && !isTrue(blank)) ? line : space + line,
  );
  return (isTrue(first) ? space : '') + inner.join('\n');
}

function dictsort(value: Value, caseSensitive: Value, by: Value = 'key', reverse: Value = false) {
  if (!isDict(value)) throw new TemplateError(`${typeName(value)} cannot be sorted as a dict`);
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
    fold(attribute === undefined ? item : memberOf(item, attribute)),
  ]);
}

/** Stable in both directions, as Python's sort is. */
function sorted<T>(items: readonly T[], reverse: Value, keyOf: (item: T) => Value): T[] {
  const sign = isTrue(reverse) ? -1 : 1;
  return Array.from(items, (item) => ({ item, key: keyOf(item) }))
    .sort((a, b) => sign * compare(a.key, b.key))
    .map(({ item }) => item);
}

function folded(value: Value): Value {
  return isText(value) ? textOf(value).toLowerCase() : value;
}

function tojson(value: Value, ascii: Value, indent: Value, separators: Value, sortKeys: Value) {
  const isIndented = indent !== undefined && indent !== null;
  const given = Array.isArray(separators) ? separators.map(text) : undefined;
  const style: JsonStyle = {
    indent: isIndented ? integer(indent) : undefined,
    asciiOnly: isTrue(ascii),
    sortKeys: isTrue(sortKeys),
    separators: [given?.[0] ?? (isIndented ? ',' : ', '), given?.[1] ?? ONE_LINE.separators[1]],
  };
  return writeJson(value, style);
}

/** `a.b.0`: the path that an attribute argument names. */
function memberOf(item: Value, path: Value): Value {
  if (typeof path === 'number') return itemOf(item, path);
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
