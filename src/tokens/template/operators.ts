/** Python's operators on template values. What Python raises for, they throw. */
import type { BinaryOperator, CompareOperator } from './ast.ts';
import { LIST_MAX, limit, TEXT_MAX } from './limits.ts';
import { DICT_METHODS, LIST_METHODS, type Methods, STRING_METHODS } from './methods.ts';
import { characterAt, characters } from './python-text.ts';
import { bind } from './signature.ts';
import { TemplateError } from './template-error.ts';
import {
  Callable,
  compare,
  contains,
  equal,
  hasKey,
  Iteration,
  isDict,
  isNumber,
  isText,
  lookUp,
  Markup,
  Namespace,
  numberOf,
  Tuple,
  textOf,
  toFloat,
  typeName,
  type Value,
} from './values.ts';

export const BINARY: Record<BinaryOperator, (a: Value, b: Value) => Value> = {
  '+': add,
  '-': (a, b) => arithmetic(a, b, (x, y) => x - y),
  '*': multiply,
  '/': divide,
  '//': (a, b) => arithmetic(integral(a), nonZero(integral(b)), (x, y) => Math.floor(x / y)),
  '%': (a, b) => arithmetic(integral(a), nonZero(integral(b)), modulo),
};

export const COMPARE: Record<CompareOperator, (a: Value, b: Value) => boolean> = {
  '==': equal,
  '!=': (a, b) => !equal(a, b),
  '<': (a, b) => compare(a, b) < 0,
  '<=': (a, b) => compare(a, b) <= 0,
  '>': (a, b) => compare(a, b) > 0,
  '>=': (a, b) => compare(a, b) >= 0,
  in: (a, b) => contains(b, a),
  'not in': (a, b) => !contains(b, a),
};

function add(a: Value, b: Value): Value {
  if (typeof a === 'string' && typeof b === 'string') {
    limit(a.length + b.length, TEXT_MAX, 'a text');
    return a + b;
  }
  if (isText(a) && isText(b)) {
    limit(textOf(a).length + textOf(b).length, TEXT_MAX, 'a text');
    return new Markup(escaped(a) + escaped(b));
  }
  if (Array.isArray(a) && Array.isArray(b) && a instanceof Tuple === b instanceof Tuple) {
    limit(a.length + b.length, LIST_MAX, 'a list');
    return a.concat(b);
  }
  return arithmetic(a, b, (x, y) => x + y);
}

function multiply(a: Value, b: Value): Value {
  const [sequence, times] = isInteger(a) ? [b, a] : [a, b];
  const count = isInteger(times) ? Math.max(0, Number(times)) : 0;
  if (isInteger(times) && typeof sequence === 'string') {
    limit(sequence.length * count, TEXT_MAX, 'a text');
    return sequence.repeat(sequence === '' ? 0 : count);
  }
  if (isInteger(times) && Array.isArray(sequence)) {
    limit(Math.max(sequence.length, 1) * count, LIST_MAX, 'a list');
    const items = Array.from({ length: count }, () => [...sequence]).flat();
    return sequence instanceof Tuple ? Tuple.from(items) : items;
  }
  return arithmetic(a, b, (x, y) => x * y);
}

/** An integer of integers, a float where one of them is a float. */
function arithmetic(a: Value, b: Value, compute: (x: number, y: number) => number): Value {
  if (!isNumber(a) || !isNumber(b)) {
    throw new TemplateError(`${typeName(a)} and ${typeName(b)} do not fit in a computation`);
  }
  const result = compute(numberOf(a), numberOf(b));
  if (!isInteger(a) || !isInteger(b)) return toFloat(result);
  if (!Number.isSafeInteger(result)) throw new TemplateError('a result beyond 2^53');
  return result + 0;
}

function divide(a: Value, b: Value): Value {
  if (isNumber(a) && isNumber(b)) return toFloat(numberOf(a) / numberOf(nonZero(b)));
  return arithmetic(a, b, () => 0);
}

function modulo(x: number, y: number): number {
  return x - y * Math.floor(x / y);
}

export function negate(value: Value): Value {
  return arithmetic(0, value, (x, y) => x - y);
}

function nonZero<T extends Value>(value: T): T {
  if (isNumber(value) && numberOf(value) === 0) throw new TemplateError('a division by zero');
  return value;
}

/** Floats have rules of their own for `//` and `%`, which no template needs. */
function integral(value: Value): Value {
  if (isNumber(value) && !isInteger(value)) throw new TemplateError('a float in // or %');
  return value;
}

function isInteger(value: Value): value is number | boolean {
  return typeof value === 'boolean' || (typeof value === 'number' && Number.isInteger(value));
}

function escaped(value: string | Markup): string {
  if (value instanceof Markup) return value.text;
  const entities: Record<string, string> = {
    ...{ '&': '&amp;', '<': '&lt;', '>': '&gt;', "'": '&#39;', '"': '&#34;' },
  };
  return value.replace(/[&<>'"]/g, (character) => entities[character]);
}

/** `object.name`: a method or attribute first, then an item. */
export function attributeOf(object: Value, name: string): Value {
  if (object instanceof Namespace) return object.get(name);
  if (object instanceof LoopState) return object.attribute(name);
  const methods = methodsOf(object);
  if (methods?.hidden.has(name)) return undefined;
  const method = methodOf(object, name);
  if (method !== undefined) return method;
  if (isDict(object)) return lookUp(object, name);
  return absent(object, name);
}

/** `object[key]`: an item first, then a method or attribute. */
export function itemOf(object: Value, key: Value): Value {
  const name = key instanceof Markup ? key.text : key;
  if (isDict(object)) {
    const value = lookUp(object, name);
    if (value !== undefined || hasKey(object, name)) return value;
  }
  if (typeof name === 'string') {
    if (object instanceof Namespace) return object.get(name);
    if (object instanceof LoopState) return object.attribute(name);
    return methodOf(object, name) ?? absent(object, name);
  }
  if (typeof name === 'number' || typeof name === 'boolean') {
    if (Array.isArray(object)) return object.at(Number(name));
    if (isText(object)) return characterAt(textOf(object), Number(name));
  }
  return absent(object);
}

/** `object[start:stop:step]`. */
export function sliceOf(object: Value, bounds: readonly Value[]): Value {
  const items = isText(object) ? characters(textOf(object)) : object;
  if (!Array.isArray(items)) {
    absent(object);
    throw new TemplateError(`${typeName(object)} cannot be sliced`);
  }
  const step = bound(bounds[2]) ?? 1;
  if (step === 0) throw new TemplateError('a slice with step zero');
  const [first, last] = step > 0 ? [0, items.length] : [items.length - 1, -1];
  const place = (value: number | undefined, otherwise: number): number => {
    if (value === undefined) return otherwise;
    const from = value < 0 ? value + items.length : value;
    return step > 0 ? clamp(from, 0, items.length) : clamp(from, -1, items.length - 1);
  };
  const start = place(bound(bounds[0]), first);
  const stop = place(bound(bounds[1]), last);
  const cut: Value[] = [];
  for (let i = start; step > 0 ? i < stop : i > stop; i += step) cut.push(items[i]);
  if (!isText(object)) return object instanceof Tuple ? Tuple.from(cut) : cut;
  return object instanceof Markup ? new Markup(cut.join('')) : cut.join('');
}

function bound(value: Value): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isInteger(value)) throw new TemplateError('a slice whose bounds are no integers');
  return Number(value);
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

/** The method of that name which Python's type has, bound to the object. */
function methodOf(object: Value, name: string): Callable | undefined {
  const methods = methodsOf(object);
  if (methods === undefined) return undefined;
  const known = Object.hasOwn(methods.supported, name) ? methods.supported[name] : undefined;
  if (known !== undefined && !(object instanceof Markup)) {
    return new Callable((positional, named) =>
      known.run(object as never, ...bind(known.parameters, positional, named)),
    );
  }
  const free = Object.hasOwn(methods.free ?? {}, name) ? methods.free?.[name] : undefined;
  if (free !== undefined && !(object instanceof Markup)) {
    return new Callable((positional, named) => free(object as never, positional, named));
  }
  if (known === undefined && free === undefined && !methods.others.has(name)) return undefined;
  return new Callable(() => {
    throw new TemplateError(`the method ${name} of ${typeName(object)} is not supported`);
  });
}

function methodsOf(object: Value): Methods | undefined {
  if (isText(object)) return STRING_METHODS;
  if (Array.isArray(object)) return LIST_METHODS;
  return isDict(object) ? DICT_METHODS : undefined;
}

/** What Python's generators and views have of their own. */
const OF_ITERATIONS = /^(send|throw|close|mapping|isdisjoint|gi_\w+|__\w+)$/;

/** What is not there is undefined, except where Jinja raises or something is not supported here. */
function absent(object: Value, name = ''): undefined {
  if (object === undefined) throw new TemplateError('something undefined is looked into');
  const hasMore = object instanceof Iteration && OF_ITERATIONS.test(name);
  if (object instanceof Callable || hasMore) {
    throw new TemplateError(`${typeName(object)} is looked into`);
  }
  return undefined;
}

/** `loop`: where a loop is. */
export class LoopState {
  readonly #items: readonly Value[];
  index0 = 0;

  constructor(items: readonly Value[]) {
    this.#items = items;
  }

  attribute(name: string): Value {
    const { index0 } = this;
    const { length } = this.#items;
    switch (name) {
      case 'index0':
        return index0;
      case 'index':
        return index0 + 1;
      case 'revindex0':
        return length - index0 - 1;
      case 'revindex':
        return length - index0;
      case 'first':
        return index0 === 0;
      case 'last':
        return index0 === length - 1;
      case 'length':
        return length;
      case 'depth': // of recursive loops, which are refused
        return 1;
      case 'depth0':
        return 0;
      case 'previtem':
        return index0 === 0 ? undefined : this.#items[index0 - 1];
      case 'nextitem':
        return this.#items[index0 + 1];
      default:
        throw new TemplateError(`loop.${name} is not supported`);
    }
  }
}
