/** Functions that templates call with positional and named arguments. */
import { TemplateError } from './template-error.ts';
import type { Value } from './values.ts';

/** What a filter, test or method takes besides its subject, and does. */
export interface Signature {
  parameters: readonly string[];
  /** What stands for arguments that are not given, where that differs from an undefined value. */
  defaults?: readonly Value[];
  /** A value is undefined where no argument was given and there is no default. */
  run: (subject: never, ...values: Value[]) => Value;
}

/** Puts arguments where the parameters stand. */
export function bind<T>(
  parameters: readonly string[],
  positional: readonly T[],
  named: Iterable<readonly [string, T]>,
): (T | undefined)[] {
  if (positional.length > parameters.length) {
    throw new TemplateError(`more than ${parameters.length} arguments are given`);
  }
  const values: (T | undefined)[] = [...positional];
  for (const [name, value] of named) {
    const at = parameters.indexOf(name);
    if (at < positional.length) throw new TemplateError(`the argument ${name} does not fit`);
    values[at] = value;
  }
  return values;
}
