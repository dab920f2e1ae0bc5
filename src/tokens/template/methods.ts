/** Methods of Python's strings, dicts and lists, as far as chat templates use them. */
import { limit, TEXT_MAX } from './limits.ts';
import { print } from './printing.ts';
import {
  capitalized,
  lengthOf,
  split,
  splitFromRight,
  splitLines,
  strip,
  titled,
} from './python-text.ts';
import type { Signature } from './signature.ts';
import { TemplateError } from './template-error.ts';
import {
  type Dict,
  entriesOf,
  equal,
  hasKey,
  Iteration,
  isNumber,
  isText,
  itemsOf,
  lookUp,
  numberOf,
  Tuple,
  textOf,
  typeName,
  type Value,
} from './values.ts';

export interface Methods {
  supported: Readonly<Record<string, Signature>>;
  /** Those that take any number of arguments by any name. */
  free?: Readonly<Record<string, FreeMethod>>;
  /** What Python has besides: there, but not to be called here. */
  others: ReadonlySet<string>;
  /** Those that change their object: hidden by transformers' sandbox. */
  hidden: ReadonlySet<string>;
}

type FreeMethod = (
  self: never,
  positional: readonly Value[],
  named: ReadonlyMap<string, Value>,
) => Value;

export const STRING_METHODS: Methods = {
  supported: {
    strip: method(['chars'], (self: string, chars) => strip(self, 'both', optionalText(chars))),
    lstrip: method(['chars'], (self: string, chars) => strip(self, 'left', optionalText(chars))),
    rstrip: method(['chars'], (self: string, chars) => strip(self, 'right', optionalText(chars))),
    split: method(['sep', 'maxsplit'], (self: string, separator, max) =>
      split(self, separatorOf(separator), optionalCount(max)),
    ),
    splitlines: method([], (self: string) => splitLines(self)),
    startswith: method(['prefix'], (self: string, prefix) =>
      choicesOf(prefix).some((it) => self.startsWith(it)),
    ),
    endswith: method(['suffix'], (self: string, suffix) =>
      choicesOf(suffix).some((it) => self.endsWith(it)),
    ),
    replace: method(['old', 'new', 'count'], (self: string, from, to, count) =>
      replaceText(self, { from: text(from), to: text(to), max: optionalCount(count) }),
    ),
    lower: method([], (self: string) => self.toLowerCase()),
    upper: method([], (self: string) => self.toUpperCase()),
    capitalize: method([], (self: string) => capitalized(self)),
    title: method([], (self: string) => titled(self)),
    removeprefix: method(['prefix'], (self: string, prefix) =>
      self.startsWith(text(prefix)) ? self.slice(text(prefix).length) : self,
    ),
    removesuffix: method(['suffix'], (self: string, suffix) =>
      self.endsWith(text(suffix)) ? self.slice(0, self.length - text(suffix).length) : self,
    ),
    rsplit: method(['sep', 'maxsplit'], (self: string, separator, max) =>
      splitFromRight(self, text(separator), optionalCount(max)),
    ),
    join: method(['items'], (self: string, items) => joined(itemsOf(items).map(text), self)),
    find: method(['part'], (self: string, part) => place(self, self.indexOf(text(part)))),
    rfind: method(['part'], (self: string, part) => place(self, self.lastIndexOf(text(part)))),
  },
  free: { format: (self: string, positional, named) => format(self, positional, named) },
  others: names(
    'casefold center count encode expandtabs format_map index isalnum isalpha',
    'isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper',
    'ljust maketrans partition rindex rjust rpartition swapcase translate zfill',
  ),
  hidden: names(),
};

export const DICT_METHODS: Methods = {
  supported: {
    get: method(['key', 'default'], (self: Dict, key, ...more) => {
      if (hasKey(self, key)) return lookUp(self, key);
      return more.length === 0 ? null : more[0];
    }),
    items: method([], (self: Dict) => view(entriesOf(self).map((pair) => Tuple.from(pair)))),
    keys: method([], (self: Dict) => view(itemsOf(self))),
    values: method([], (self: Dict) => view(entriesOf(self).map(([, value]) => value))),
  },
  others: names('copy fromkeys'),
  hidden: names('clear pop popitem setdefault update'),
};

export const LIST_METHODS: Methods = {
  supported: {
    count: method(['value'], (self: Value[], value) => {
      return self.filter((item) => equal(item, value)).length;
    }),
  },
  others: names('index copy'),
  hidden: names('append clear extend insert pop remove reverse sort'),
};

/** Names that a call `x.name(…)` may have, whatever `x` turns out to be. */
export const CALLABLE_NAMES: ReadonlySet<string> = new Set(
  [STRING_METHODS, DICT_METHODS, LIST_METHODS].flatMap(({ supported, free }) => [
    ...Object.keys(supported),
    ...Object.keys(free ?? {}),
  ]),
);

/** Names that mean more than an item, on some type; with all others a dict is a dict. */
export const METHOD_NAMES: ReadonlySet<string> = new Set(
  [STRING_METHODS, DICT_METHODS, LIST_METHODS].flatMap(({ supported, free, others, hidden }) => [
    ...Object.keys({ ...supported, ...free }),
    ...others,
    ...hidden,
  ]),
);

/** `str.replace`; `max` is negative for all. */
export function replaceText(
  subject: string,
  { from, to, max }: { from: string; to: string; max: number },
): string {
  if (from === '') throw new TemplateError('a replacement of the empty string is not supported');
  const parts = subject.split(from);
  limit(subject.length + parts.length * Math.max(0, to.length - from.length), TEXT_MAX, 'a text');
  if (max < 0) return parts.join(to);
  const first = parts.slice(0, max + 1).join(to);
  return [first, ...parts.slice(max + 1)].join(from);
}

const FIELD = /\{\{|\}\}|\{(\w*)\}|[{}]/g;

/** `str.format`, as far as fields are empty, numbers or names without anything behind them. */
function format(
  template: string,
  positional: readonly Value[],
  named: ReadonlyMap<string, Value>,
): string {
  const given: Record<string, Value> = { ...positional, ...Object.fromEntries(named) };
  let counted = 0;
  let numbered = 0;
  const formatted = template.replace(FIELD, (whole, field: string | undefined) => {
    if (field === undefined && whole.length === 2) return whole[0];
    if (field === undefined) throw new TemplateError('a format that is not supported');
    if (/^\d+$/.test(field)) numbered++;
    const name = field === '' ? String(counted++) : field;
    if (counted > 0 && numbered > 0)
      throw new TemplateError('a format that is counted and numbered');
    if (!Object.hasOwn(given, name)) throw new TemplateError('a format without its value');
    return print(given[name]);
  });
  limit(formatted.length, TEXT_MAX, 'a text');
  return formatted;
}

export function joined(texts: readonly string[], separator: string): string {
  const length = texts.reduce((sum, { length }) => sum + length + separator.length, 0);
  limit(length, TEXT_MAX, 'a text');
  return texts.join(separator);
}

/** An argument that must be a string. */
export function text(value: Value): string {
  if (!isText(value)) throw new TemplateError(`${typeName(value)} stands where a string should`);
  return textOf(value);
}

export function integer(value: Value): number {
  if (isNumber(value) && Number.isInteger(numberOf(value))) return numberOf(value);
  throw new TemplateError(`${typeName(value)} stands where an integer should`);
}

function method(
  parameters: readonly string[],
  run: (self: never, ...values: Value[]) => Value,
): Signature {
  return { parameters, run };
}

function view(items: readonly Value[]): Iteration {
  return new Iteration(items, 'always');
}

function names(...lists: string[]): ReadonlySet<string> {
  return new Set(lists.flatMap((list) => list.split(' ')));
}

/** A place in UTF-16 as one in code points; -1 stays. */
function place(self: string, at: number): number {
  return at < 0 ? at : lengthOf(self.slice(0, at));
}

function optionalText(value: Value): string | undefined {
  return value === undefined || value === null ? undefined : text(value);
}

function optionalCount(value: Value): number {
  return value === undefined ? -1 : integer(value);
}

function separatorOf(value: Value): string | undefined {
  const separator = optionalText(value);
  if (separator === '') throw new TemplateError('a split at the empty string');
  return separator;
}

/** `startswith` and `endswith` take a string or a tuple of them. */
function choicesOf(value: Value): string[] {
  return Array.isArray(value) ? value.map(text) : [text(value)];
}
