/** Cuts by a pattern, as a `Split` of a tokenizer file does (tokenizers 0.23, `split` of a pattern). */
import type { Split, TextPattern } from '../model/vocabulary.ts';
import { LETTER, MARK } from './character-class.ts';
import { Pattern, tabled } from './pattern.ts';
import { parsePattern } from './pattern-syntax.ts';
import { cased, gpt2, type PieceEnd, words } from './scanners.ts';

/** `classes`: of each code point. Throws `PatternError` where the pattern is not supported. */
export function splitter({ pattern, behavior }: Split, classes: Uint8Array): PieceEnd {
  if (pattern.kind === 'regex') {
    const scanner = SCANNERS.get(pattern.source);
    // They leave no gap between matches, so that it does not matter what becomes of gaps.
    if (scanner !== undefined && behavior !== 'contiguous') return scanner(classes);
    const run = behavior === 'isolated' ? runs(pattern.source, classes) : undefined;
    if (run !== undefined) return run;
  }
  return BEHAVIORS[behavior](matcher(pattern, classes));
}

/** Whether matches of the expression follow each other without gaps, on any text. */
export function leavesNoGap(pattern: TextPattern): boolean {
  return pattern.kind === 'regex' && SCANNERS.has(pattern.source);
}

const CONTRACTIONS = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`;
const UPPERS = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const LOWERS = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
const LED = '[^\\r\\n\\p{L}\\p{N}]?';
const BLANKS = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const REST = ` ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${BLANKS}`;

export const GPT2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+`;

/** Expressions that have a scanner, as tokenizer.json files spell them. */
const SCANNERS: ReadonlyMap<string, (classes: Uint8Array) => PieceEnd> = new Map([
  [GPT2, (classes) => gpt2({ classes })],
  [
    `${CONTRACTIONS}|${LED}\\p{L}+|\\p{N}|${REST}`, // Qwen 2, 2.5, 3
    (classes) => words({ classes, word: LETTER, digits: 1, fold: 'unicode' }),
  ],
  [
    `${CONTRACTIONS}|${LED}\\p{L}+|\\p{N}{1,3}|${REST}`, // Llama 3, GLM 4
    (classes) => words({ classes, word: LETTER, digits: 3, fold: 'unicode' }),
  ],
  [
    `${CONTRACTIONS}|${LED}[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${BLANKS}`, // Qwen 3.5
    (classes) => words({ classes, word: LETTER | MARK, digits: 1, fold: 'unicode' }),
  ],
  [
    `${LED}${UPPERS}*${LOWERS}+${CONTRACTIONS}?|${LED}${UPPERS}+${LOWERS}*${CONTRACTIONS}?|` +
      `\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${BLANKS}`, // o200k
    (classes) => cased({ classes, digits: 3, fold: 'unicode' }),
  ],
]);

/** Where a match that begins at a place ends; undefined where none does. */
type Matcher = (codePoints: Uint32Array, at: number, end: number) => number | undefined;

function matcher(pattern: TextPattern, classes: Uint8Array): Matcher {
  if (pattern.kind === 'regex') {
    const regex = new Pattern(pattern.source, classes);
    return (codePoints, at, end) => regex.matchEnd(codePoints, at, end);
  }
  const wanted = Uint32Array.from(pattern.text, (it) => it.codePointAt(0) as number);
  return (codePoints, at, end) => {
    if (at + wanted.length > end) return undefined;
    for (let i = 0; i < wanted.length; i++) if (codePoints[at + i] !== wanted[i]) return undefined;
    return at + wanted.length;
  };
}

/** How matches and the gaps between them become pieces. */
const BEHAVIORS: Readonly<Record<Split['behavior'], (match: Matcher) => PieceEnd>> = {
  isolated: (match) => (codePoints, start, end) =>
    match(codePoints, start, end) ?? gapEnd(match, codePoints, start, end),
  mergedWithPrevious: (match) => (codePoints, start, end) => {
    const matched = match(codePoints, start, end);
    if (matched !== undefined) return matched;
    const gap = gapEnd(match, codePoints, start, end);
    return gap < end ? (match(codePoints, gap, end) as number) : end;
  },
  mergedWithNext: (match) => (codePoints, start, end) => {
    const matched = match(codePoints, start, end);
    if (matched === undefined) return gapEnd(match, codePoints, start, end);
    if (matched === end || match(codePoints, matched, end) !== undefined) return matched;
    return gapEnd(match, codePoints, matched, end);
  },
  contiguous: (match) => (codePoints, start, end) => {
    const first = match(codePoints, start, end);
    if (first === undefined) return gapEnd(match, codePoints, start, end);
    let at = first;
    for (let next: number | undefined = at; next !== undefined; ) {
      at = next;
      next = at < end ? match(codePoints, at, end) : undefined;
    }
    return at;
  },
};

function gapEnd(match: Matcher, codePoints: Uint32Array, start: number, end: number): number {
  let at = start + 1;
  while (at < end && match(codePoints, at, end) === undefined) at++;
  return at;
}

/** A greedy run of one set of characters needs no backtracking. */
function runs(source: string, classes: Uint8Array): PieceEnd | undefined {
  const node = parsePattern(source, classes);
  const single = node.kind === 'set' ? { body: node, min: 1, max: 1, mode: 'greedy' } : node;
  if (!('mode' in single) || single.body.kind !== 'set') return undefined;
  if (single.min !== 1 || single.mode === 'lazy') return undefined;
  const has = tabled(single.body.has);
  const { max } = single;
  return (codePoints, start, end) => {
    const inside = has(codePoints[start]);
    const most = inside ? Math.min(end, start + max) : end;
    let at = start + 1;
    while (at < most && has(codePoints[at]) === inside) at++;
    return at;
  };
}
