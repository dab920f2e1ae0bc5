/** Tests of Jinja (`x is …`) that chat templates use, as in jinja2/tests.py 3.1.6. */
import type { CompareOperator } from './ast.ts';
import { BINARY, COMPARE } from './operators.ts';
import type { Signature } from './signature.ts';
import { Callable, Float, Iteration, isDict, isNumber, isText, type Value } from './values.ts';

export const TESTS: Readonly<Record<string, Signature>> = {
  defined: test((value) => value !== undefined),
  undefined: test((value) => value === undefined),
  none: test((value) => value === null),
  true: test((value) => value === true),
  false: test((value) => value === false),
  boolean: test((value) => typeof value === 'boolean'),
  string: test(isText),
  mapping: test(isDict),
  number: test(isNumber),
  integer: test((value) => typeof value === 'bigint' || Number.isInteger(value)),
  float: test(
    (value) => value instanceof Float || (typeof value === 'number' && !Number.isInteger(value)),
  ),
  sequence: test(isSequence),
  iterable: test((value) => isSequence(value) || value instanceof Iteration),
  callable: test((value) => value === undefined || value instanceof Callable),
  in: comparison('in'),
  eq: comparison('=='),
  equalto: comparison('=='),
  '==': comparison('=='),
  ne: comparison('!='),
  ...{ gt: comparison('>'), greaterthan: comparison('>'), '>': comparison('>') },
  ...{ lt: comparison('<'), lessthan: comparison('<'), '<': comparison('<') },
  ...{ ge: comparison('>='), '>=': comparison('>='), le: comparison('<='), '<=': comparison('<=') },
  even: test((value) => BINARY['%'](value, 2) === 0),
  odd: test((value) => BINARY['%'](value, 2) === 1),
  divisibleby: { parameters: ['num'], run: (value, by) => BINARY['%'](value, by) === 0 },
  '!=': comparison('!='),
};

function test(run: (value: Value) => boolean): Signature {
  return { parameters: [], run };
}

function comparison(operator: CompareOperator): Signature {
  return { parameters: ['other'], run: (value, other) => COMPARE[operator](value, other) };
}

/** Undefined counts, here as above: Jinja's has a length and can be looped over. */
function isSequence(value: Value): boolean {
  return value === undefined || isText(value) || isDict(value) || Array.isArray(value);
}
