/**
 * How far a template may go. A template comes with a model file, from anybody: it must not take the
 * process with it. Far beyond what conversations need.
 */
import { TemplateError } from './template-error.ts';

/** Rounds of loops and calls of macros in one rendering: 2,800 messages, each seen from each. */
export const ROUNDS_MAX = 8_000_000;
/** UTF-16 units of one text. */
export const TEXT_MAX = 2 ** 26;
/** Items of one list. */
export const LIST_MAX = 1_000_000;
/** Blanks at the start of a line. */
export const INDENT_MAX = 10_000;
/** Numbers of one `range`, as Jinja's sandbox has it. */
export const RANGE_MAX = 100_000;

/** Throws a TemplateError where `length` would be more than `max`. */
export function limit(length: number, max: number, what: string): void {
  if (!(length <= max)) throw new TemplateError(`${what} grows beyond ${max}`);
}
