/**
 * Python's values in JavaScript, as templates see them.
 *
 *   None null · Undefined undefined · bool boolean · int number or bigint · str string · list array
 *   float: number, if it is no integer, else `Float` · tuple `Tuple` · dict Map or plain object
 *   Markup, namespaces and functions: classes below
 */
import { characters, compareText, lengthOf } from './python-text.ts';
import { TemplateError } from './template-error.ts';

export type Value = unknown;

/** A float that JavaScript would take for an integer: 2.0, 1e20, -0.0. */
export class Float {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

export function toFloat(value: number): number | Float {
  return Number.isInteger(value) ? new Float(value) : value;
}

/** An array that prints in parentheses. */
export class Tuple extends Array<Value> {}

/** A generator or a dict's view: to be looped over, a generator only once. */
export class Iteration {
  readonly #items: readonly Value[];
  readonly #lasts: 'once' | 'always';
  #left: 'all' | 'some' | 'none' = 'all';

  constructor(items: readonly Value[], lasts: 'once' | 'always') {
    this.#items = items;
    this.#lasts = lasts;
  }

  get isGenerator(): boolean {
    return this.#lasts === 'once';
  }

  take(): readonly Value[] {
    if (this.#left === 'some') throw new TemplateError('a generator is read on after a search');
    if (this.#left === 'none') return [];
    if (this.#lasts === 'once') this.#left = 'none';
    return this.#items;
  }

  /** Python stops a search in a generator where it finds the item. */
  contains(item: Value): boolean {
    const found = this.take().some((member) => equal(member, item));
    if (this.#lasts === 'once' && found) this.#left = 'some';
    return found;
  }
}

/** What `safe` makes of a string: adding a plain string to it escapes that string. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** `namespace(…)`: attributes that inner scopes may set. */
export class Namespace {
  readonly #attributes = new Map<string, Value>();

  get(name: string): Value {
    return this.#attributes.get(name);
  }

  set(name: string, value: Value): void {
    if (name.startsWith('_')) throw new TemplateError('a namespace attribute begins with _');
    this.#attributes.set(name, value);
  }
}

/** A function, macro or method that is called with what the call gives. */
export class Callable {
  readonly call: (positional: Value[], named: Map<string, Value>) => Value;

  constructor(call: (positional: Value[], named: Map<string, Value>) => Value) {
    this.call = call;
  }
}

export type Dict = Map<Value, Value> | Record<string, Value>;

export function isDict(value: Value): value is Dict {
  if (typeof value !== 'object' || value === null) return false;
  if (value instanceof Map) return true;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

export function isText(value: Value): value is string | Markup {
  return typeof value === 'string' || value instanceof Markup;
}

export function isNumber(value: Value): value is number | bigint | boolean | Float {
  const type = typeof value;
  return type === 'number' || type === 'boolean' || type === 'bigint' || value instanceof Float;
}

/** The value of `key`; undefined where there is none. */
export function lookUp(dict: Dict, key: Value): Value {
  if (dict instanceof Map) return dict.get(key);
  return typeof key === 'string' && Object.hasOwn(dict, key) ? dict[key] : undefined;
}

export function hasKey(dict: Dict, key: Value): boolean {
  if (dict instanceof Map) return dict.has(key);
  return typeof key === 'string' && Object.hasOwn(dict, key);
}

export function entriesOf(dict: Dict): [Value, Value][] {
  return dict instanceof Map ? [...dict] : Object.entries(dict);
}

export function isTrue(value: Value): boolean {
  if (typeof value !== 'object' || value === null) return Boolean(value);
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Markup) return value.text !== '';
  if (value instanceof Float) return value.value !== 0;
  if (value instanceof Iteration) return value.isGenerator || value.take().length > 0;
  return !isDict(value) || sizeOf(value) > 0;
}

/** `len`. */
export function sizeOf(value: Value): number {
  if (typeof value === 'string') return lengthOf(value);
  if (value instanceof Markup) return lengthOf(value.text);
  if (Array.isArray(value)) return value.length;
  if (value instanceof Map) return value.size;
  if (isDict(value)) return Object.keys(value).length;
  if (value === undefined) return 0;
  if (value instanceof Iteration && !value.isGenerator) return value.take().length;
  throw new TemplateError(`${typeName(value)} has no length`);
}

/** What a loop over the value meets. */
export function itemsOf(value: Value): readonly Value[] {
  if (Array.isArray(value)) return value;
  if (typeof value === 'string') return characters(value);
  if (value instanceof Map) return [...value.keys()];
  if (isDict(value)) return Object.keys(value);
  if (value === undefined) return [];
  if (value instanceof Iteration) return value.take();
  if (value instanceof Markup) return characters(value.text).map((text) => new Markup(text));
  throw new TemplateError(`${typeName(value)} cannot be looped over`);
}

export function equal(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (typeof a === 'string' && typeof b === 'string') return false;
  if (isText(a) && isText(b)) return textOf(a) === textOf(b);
  if (isNumber(a) && isNumber(b)) return numberOf(a) === numberOf(b);
  if (Array.isArray(a) && Array.isArray(b)) {
    if (a instanceof Tuple !== b instanceof Tuple || a.length !== b.length) return false;
    return a.every((item, i) => equal(item, b[i]));
  }
  if (!isDict(a) || !isDict(b) || sizeOf(a) !== sizeOf(b)) return false;
  return entriesOf(a).every(([key, value]) => hasKey(b, key) && equal(value, lookUp(b, key)));
}

/** Negative, zero or positive as `a` sorts before, with or after `b`. */
export function compare(a: Value, b: Value): number {
  if (isNumber(a) && isNumber(b)) {
    const left = numberOf(a);
    const right = numberOf(b);
    return left < right ? -1 : left > right ? 1 : 0;
  }
  if (isText(a) && isText(b)) return compareText(textOf(a), textOf(b));
  if (Array.isArray(a) && Array.isArray(b) && a instanceof Tuple === b instanceof Tuple) {
    for (let i = 0; i < a.length && i < b.length; i++) {
      if (!equal(a[i], b[i])) return compare(a[i], b[i]);
    }
    return a.length - b.length;
  }
  throw new TemplateError(`${typeName(a)} and ${typeName(b)} have no order`);
}

/** `item in container`. */
export function contains(container: Value, item: Value): boolean {
  if (isText(container)) {
    if (!isText(item)) throw new TemplateError(`${typeName(item)} cannot be part of a string`);
    return textOf(container).includes(textOf(item));
  }
  if (isDict(container)) {
    if (isDict(item) || Array.isArray(item)) throw new TemplateError('a list or dict is no key');
    return hasKey(container, item instanceof Markup ? item.text : item);
  }
  if (container instanceof Iteration) return container.contains(item);
  return itemsOf(container).some((member) => equal(member, item));
}

export function textOf(value: string | Markup): string {
  return typeof value === 'string' ? value : value.text;
}

/** A number to compute with; an integer beyond 2^53 is refused rather than rounded. */
export function numberOf(value: number | bigint | boolean | Float): number {
  if (typeof value === 'number') return value;
  if (value instanceof Float) return value.value;
  const number = Number(value);
  if (typeof value === 'bigint') throw new TemplateError('an integer is too large to compute with');
  return number;
}

export function typeName(value: Value): string {
  if (value === undefined) return 'an undefined value';
  if (value === null) return 'None';
  if (isText(value)) return 'a string';
  if (typeof value === 'boolean') return 'a boolean';
  if (isNumber(value)) return 'a number';
  if (Array.isArray(value)) return 'a list';
  if (isDict(value)) return 'a dict';
  if (value instanceof Iteration) return 'a generator or view';
  return value instanceof Namespace ? 'a namespace' : 'a function';
}
