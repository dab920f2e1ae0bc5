/** Strings as Python has them: counted, cut and iterated by code points, with its whitespace. */

import { TemplateError } from './template-error.ts';

/** What `str.isspace` knows, as the inside of a character class. */
export const SPACES =
  '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

/** What `str.splitlines` knows besides CR LF. */
const LINE_ENDS = '\\n-\\r\\x1c-\\x1e\\x85\\u2028\\u2029';

const LEADING = new RegExp(`^[${SPACES}]+`);
/** Anchored by a lookbehind, so that a text full of spaces is not searched from each of them. */
const TRAILING = new RegExp(`(?<![${SPACES}])[${SPACES}]+$`);
const BETWEEN = new RegExp(`[${SPACES}]+`);
const LINE_BREAKS = new RegExp(`\\r\\n|[${LINE_ENDS}]`);
const SURROGATE = /[\ud800-\udfff]/;

export function characters(text: string): string[] {
  return SURROGATE.test(text) ? Array.from(text) : text.split('');
}

export function lengthOf(text: string): number {
  return SURROGATE.test(text) ? Array.from(text).length : text.length;
}

/** The character at `index`, which may count from the end; undefined outside. */
export function characterAt(text: string, index: number): string | undefined {
  if (!SURROGATE.test(text)) return text.at(index);
  return Array.from(text).at(index);
}

/** `str.strip`, `lstrip` and `rstrip`: `chars` is a set of characters, by default whitespace. */
export function strip(text: string, sides: 'both' | 'left' | 'right', chars?: string): string {
  if (chars === undefined) {
    const rest = sides === 'right' ? text : text.replace(LEADING, '');
    return sides === 'left' ? rest : rest.replace(TRAILING, '');
  }
  const set = new Set(characters(chars));
  let start = 0;
  let end = text.length;
  if (sides !== 'right') {
    while (start < end) {
      const width = widthAt(text, start);
      if (!set.has(text.slice(start, start + width))) break;
      start += width;
    }
  }
  if (sides !== 'left') {
    while (end > start) {
      const width = end - start > 1 && isPair(text, end - 2) ? 2 : 1;
      if (!set.has(text.slice(end - width, end))) break;
      end -= width;
    }
  }
  return text.slice(start, end);
}

/** `str.split`: at whitespace if no separator is given; at most `max` times if not negative. */
export function split(text: string, separator: string | undefined, max: number): string[] {
  if (separator === undefined) return splitAtSpace(text, max);
  const parts = text.split(separator);
  if (max < 0 || parts.length <= max + 1) return parts;
  return [...parts.slice(0, max), parts.slice(max).join(separator)];
}

/** `str.splitlines`: at all that Python takes for line breaks, without an empty last line. */
export function splitLines(text: string): string[] {
  const lines = text.split(LINE_BREAKS);
  if (lines[lines.length - 1] === '') lines.pop();
  return lines;
}

/** `str.rsplit` at a separator. */
export function splitFromRight(text: string, separator: string, max: number): string[] {
  if (separator === '') throw new TemplateError('a split at the empty string');
  const parts: string[] = [];
  let end = text.length;
  while (max < 0 || parts.length < max) {
    // Searched from the right, as separators may overlap themselves.
    const at = end < separator.length ? -1 : text.lastIndexOf(separator, end - separator.length);
    if (at < 0) break;
    parts.push(text.slice(at + separator.length, end));
    end = at;
  }
  return [...parts, text.slice(0, end)].reverse();
}

/**
 * Letters whose title case is not their upper case, which JavaScript does not know, and two whose
 * lower case depends on where they stand or is two.
 */
const ODD_CASE = /[\u01c4-\u01cc\u01f1-\u01f3\u10d0-\u10ff\u03a3\u0130]/;

/** `str.capitalize`. */
export function capitalized(text: string): string {
  const [first = ''] = text;
  const upper = first.toUpperCase();
  if (ODD_CASE.test(text) || upper.length !== first.length) {
    throw new TemplateError('the title case of these letters is not supported');
  }
  return upper + text.slice(first.length).toLowerCase();
}

/** `str.title`: each run of letters that have case begins with a capital. */
export function titled(text: string): string {
  return text.replace(/\p{Cased}+/gu, capitalized);
}

/** Order of Python strings, by code points: UTF-16 order differs above U+D7FF. */
export function compareText(a: string, b: string): number {
  if (!SURROGATE.test(a) && !SURROGATE.test(b)) return a < b ? -1 : a > b ? 1 : 0;
  const left = Array.from(a);
  const right = Array.from(b);
  for (let i = 0; i < left.length && i < right.length; i++) {
    const difference = (left[i].codePointAt(0) ?? 0) - (right[i].codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

function splitAtSpace(text: string, max: number): string[] {
  const parts: string[] = [];
  let rest = text.replace(LEADING, '');
  while (rest !== '') {
    const gap = max >= 0 && parts.length >= max ? undefined : BETWEEN.exec(rest);
    if (gap === undefined || gap === null) {
      parts.push(rest);
      break;
    }
    parts.push(rest.slice(0, gap.index));
    rest = rest.slice(gap.index + gap[0].length);
  }
  return parts;
}

function widthAt(text: string, at: number): number {
  return isPair(text, at) ? 2 : 1;
}

function isPair(text: string, at: number): boolean {
  return (text.charCodeAt(at) & 0xfc00) === 0xd800 && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00;
}
