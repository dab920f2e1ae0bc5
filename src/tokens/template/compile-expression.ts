/** Expressions → functions of the frame. Names of filters, tests and methods are checked here. */
import { unreachable } from '../../base/assert.ts';
import type { Arguments, Expression, FilterCall } from './ast.ts';
import { each, FILTERS } from './filters.ts';
import { limit, TEXT_MAX } from './limits.ts';
import {
  CALLABLE_NAMES,
  DICT_METHODS,
  METHOD_NAMES,
  type Methods,
  STRING_METHODS,
} from './methods.ts';
import { attributeOf, BINARY, COMPARE, itemOf, negate, sliceOf } from './operators.ts';
import { print } from './printing.ts';
import type { Frame, Place, Scope } from './scope.ts';
import { bind, type Signature } from './signature.ts';
import { refuse, TemplateError } from './template-error.ts';
import { TESTS } from './tests.ts';
import { Callable, isDict, isTrue, lookUp, Tuple, typeName, type Value } from './values.ts';

export type Evaluate = (frame: Frame) => Value;

/** Jinja has these, and an input could not tell that they are missing here. */
const UNSUPPORTED_NAMES: ReadonlySet<string> = new Set([
  ...['varargs', 'kwargs', 'self', 'super', 'cycler', 'joiner', 'lipsum'],
]);
/** Filters whose argument names a test, and at which place. */
const TEST_ARGUMENT: Readonly<Record<string, number>> = {
  ...{ select: 0, reject: 0, selectattr: 1, rejectattr: 1 },
};

export function compileExpression(expression: Expression, scope: Scope): Evaluate {
  const sub = (it: Expression) => compileExpression(it, scope);
  switch (expression.kind) {
    case 'constant': {
      const { value } = expression;
      return () => value;
    }
    case 'name':
      return compileName(expression.name, expression.line, scope);
    case 'list': {
      const items = expression.items.map(sub);
      return (frame) => items.map((item) => item(frame));
    }
    case 'tuple': {
      const items = expression.items.map(sub);
      return (frame) => Tuple.from(items, (item) => item(frame));
    }
    case 'dict': {
      const pairs = expression.pairs.map(({ key, value }) => [sub(key), sub(value)] as const);
      return (frame) => new Map(pairs.map(([key, value]) => [dictKey(key(frame)), value(frame)]));
    }
    case 'attribute': {
      const object = sub(expression.object);
      const { name } = expression;
      if (METHOD_NAMES.has(name)) return (frame) => attributeOf(object(frame), name);
      return (frame) => {
        const value = object(frame);
        return isDict(value) ? lookUp(value, name) : attributeOf(value, name);
      };
    }
    case 'item': {
      const object = sub(expression.object);
      const key = sub(expression.key);
      return (frame) => itemOf(object(frame), key(frame));
    }
    case 'slice': {
      const object = sub(expression.object);
      const bounds = Array.from(expression.bounds, (it) => it && sub(it));
      return (frame) =>
        sliceOf(
          object(frame),
          bounds.map((it) => it?.(frame)),
        );
    }
    case 'call':
      return compileCall(expression, scope);
    case 'filter': {
      const input = sub(expression.input);
      const apply = compileFilter(expression, scope);
      return (frame) => apply(frame, input(frame));
    }
    case 'test': {
      const input = sub(expression.input);
      const apply = compileApply('test', TESTS, expression, scope);
      return (frame) => apply(frame, input(frame));
    }
    default:
      return compileOperation(expression, sub);
  }
}

/** Of keys, `True` is 1 to Python, and 1.0 is too: all but plain texts and integers are refused. */
function dictKey(key: Value): Value {
  if (typeof key === 'string' || key === null) return key;
  if (typeof key === 'number' && Number.isInteger(key)) return key;
  throw new TemplateError(`${typeName(key)} is not supported as a key`);
}

type Operand = 'constant' | 'name' | 'list' | 'tuple' | 'dict' | 'attribute' | 'item' | 'slice';
type Operation = Exclude<Expression, { kind: Operand | 'call' | 'filter' | 'test' }>;

function compileOperation(expression: Operation, sub: (it: Expression) => Evaluate): Evaluate {
  switch (expression.kind) {
    case 'not': {
      const operand = sub(expression.operand);
      return (frame) => !isTrue(operand(frame));
    }
    case 'negative': {
      const operand = sub(expression.operand);
      return (frame) => negate(operand(frame));
    }
    case 'positive': {
      const operand = sub(expression.operand);
      return (frame) => negate(negate(operand(frame)));
    }
    case 'and': {
      const [left, right] = [sub(expression.left), sub(expression.right)];
      return (frame) => {
        const value = left(frame);
        return isTrue(value) ? right(frame) : value;
      };
    }
    case 'or': {
      const [left, right] = [sub(expression.left), sub(expression.right)];
      return (frame) => {
        const value = left(frame);
        return isTrue(value) ? value : right(frame);
      };
    }
    case 'binary': {
      const [left, right] = [sub(expression.left), sub(expression.right)];
      const compute = BINARY[expression.operator];
      return (frame) => compute(left(frame), right(frame));
    }
    case 'concat': {
      const items = expression.items.map(sub);
      return (frame) => {
        let text = '';
        for (const item of items) text += print(item(frame));
        limit(text.length, TEXT_MAX, 'a text');
        return text;
      };
    }
    case 'compare':
      return compileCompare(expression, sub);
    case 'choice': {
      const test = sub(expression.test);
      const value = sub(expression.value);
      const otherwise = expression.otherwise && sub(expression.otherwise);
      return (frame) => (isTrue(test(frame)) ? value(frame) : otherwise?.(frame));
    }
    default:
      return unreachable(expression);
  }
}

/** `a < b < c` is `a < b and b < c`. */
function compileCompare(
  expression: Extract<Expression, { kind: 'compare' }>,
  sub: (it: Expression) => Evaluate,
): Evaluate {
  const first = sub(expression.first);
  const rest = expression.rest.map(({ operator, value }) => ({
    holds: COMPARE[operator],
    value: sub(value),
  }));
  if (rest.length === 1) {
    const [{ holds, value }] = rest;
    return (frame) => holds(first(frame), value(frame));
  }
  return (frame) => {
    let left = first(frame);
    for (const { holds, value } of rest) {
      const right = value(frame);
      if (!holds(left, right)) return false;
      left = right;
    }
    return true;
  };
}

function compileName(name: string, line: number, scope: Scope): Evaluate {
  if (UNSUPPORTED_NAMES.has(name)) refuse(line, `the unsupported name ${name}`);
  return readPlace(scope.place(name));
}

/** What a place holds, through as many frames as lie between. */
export function readPlace({ frames, slot }: Place): Evaluate {
  if (frames === 0) return (frame) => frame.slots[slot];
  return (frame) => {
    let at = frame;
    for (let i = 0; i < frames; i++) at = at.outer as Frame;
    return at.slots[slot];
  };
}

type Call = Extract<Expression, { kind: 'call' }>;

/** `more` adds named arguments: the body of a call block. */
export function compileCall(
  { callee, arguments: given, line }: Call,
  scope: Scope,
  more?: (frame: Frame) => [string, Value][],
): Evaluate {
  const positional = given.positional.map((it) => compileExpression(it, scope));
  const named = given.named.map(({ name, value }) => {
    return [name, compileExpression(value, scope)] as const;
  });
  const invoke = (frame: Frame, called: Value): Value => {
    if (!(called instanceof Callable)) {
      throw new TemplateError(`${typeName(called)} is called as a function`);
    }
    const values = positional.map((it) => it(frame));
    const byName = new Map(named.map(([name, value]): [string, Value] => [name, value(frame)]));
    for (const [name, value] of more?.(frame) ?? []) byName.set(name, value);
    return called.call(values, byName);
  };
  if (callee.kind !== 'attribute') {
    const target = compileExpression(callee, scope);
    return (frame) => invoke(frame, target(frame));
  }
  const { name } = callee;
  if (!CALLABLE_NAMES.has(name)) refuse(line, `the unsupported method ${name}`);
  const object = compileExpression(callee.object, scope);
  const isDirect = named.length === 0 && more === undefined;
  const ofString = isDirect ? direct(STRING_METHODS, name, positional.length) : undefined;
  const ofDict = isDirect ? direct(DICT_METHODS, name, positional.length) : undefined;
  return (frame) => {
    const self = object(frame);
    const method = typeof self === 'string' ? ofString : isDict(self) ? ofDict : undefined;
    if (method === undefined) return invoke(frame, attributeOf(self, name));
    if (positional.length === 1) return method(self as never, positional[0](frame));
    return method(self as never, ...positional.map((it) => it(frame)));
  };
}

/** The method where its arguments fit as they stand; most calls are such. */
function direct({ supported }: Methods, name: string, count: number): Signature['run'] | undefined {
  const known = Object.hasOwn(supported, name) ? supported[name] : undefined;
  return known !== undefined && count <= known.parameters.length ? known.run : undefined;
}

/** Applies filters one after the other to the text of a block. */
export function compileFilters(
  filters: readonly FilterCall[],
  scope: Scope,
): (frame: Frame, text: string) => Value {
  const steps = filters.map((it) => compileFilter(it, scope));
  return (frame, text) => steps.reduce((value: Value, step) => step(frame, value), text);
}

type Apply = (frame: Frame, subject: Value) => Value;

function compileFilter(filter: FilterCall, scope: Scope): Apply {
  const { name, line } = filter;
  const { positional, named } = filter.arguments;
  if (name === 'map' && positional.length > 0) {
    const [inner, ...rest] = positional;
    if (inner.kind !== 'constant') return refuse(line, 'a map by a filter that is no constant');
    const mapped = { name: String(inner.value), arguments: { positional: rest, named }, line };
    const apply = compileFilter(mapped, scope);
    return (frame, subject) => each(subject, (items) => items.map((item) => apply(frame, item)));
  }
  const test = positional[TEST_ARGUMENT[name]];
  if (test?.kind === 'constant' && !Object.hasOwn(TESTS, String(test.value))) {
    refuse(line, `the unsupported test ${test.value}`);
  }
  return compileApply('filter', FILTERS, filter, scope);
}

function compileApply(
  what: 'filter' | 'test',
  known: Readonly<Record<string, Signature>>,
  { name, arguments: given, line }: { name: string; arguments: Arguments; line: number },
  scope: Scope,
): Apply {
  if (!Object.hasOwn(known, name)) return refuse(line, `the unsupported ${what} ${name}`);
  const { parameters, defaults, run } = known[name];
  const bound = bindOrRefuse(parameters, given, `the ${what} ${name}`, line);
  const values = Array.from({ length: Math.max(bound.length, defaults?.length ?? 0) }, (_, i) => {
    const expression = bound[i];
    return expression === undefined ? () => defaults?.[i] : compileExpression(expression, scope);
  });
  return (frame, subject) => run(subject as never, ...values.map((it) => it(frame)));
}

function bindOrRefuse(
  parameters: readonly string[],
  { positional, named }: Arguments,
  what: string,
  line: number,
): (Expression | undefined)[] {
  try {
    const byName = named.map(({ name, value }) => [name, value] as const);
    return bind(parameters, positional, byName);
  } catch (thrown) {
    if (!(thrown instanceof TemplateError)) throw thrown;
    return refuse(line, `${what}, where ${thrown.message}`);
  }
}
