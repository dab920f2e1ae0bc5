/**
 * Cuts text into the pieces that are merged separately, exactly as llama.cpp does (unicode.cpp and
 * the pre-tokenizer table of llama-vocab.cpp, release v0.5.0). There the regular expressions are
 * hand-written scanners whose lookahead ends at the fragment, and so they are here:
 *
 *   gpt-2    's|'t|'re|'ve|'m|'ll|'d | ?L+ | ?N+ | ?other+ | space+ before space | space+
 *   smollm   every number character alone; between them as gpt-2, and neither side sees the other
 *   qwen2    contractions in any case | [not CR LF L N]?L+ | N | ?other+[CR LF]* | space*[CR LF]+
 *            | space+ before space | space+
 */
import { CLASSES, LETTER, NUMBER, OTHER, SPACE } from './character-class.ts';

/** Where the piece that begins at `start` ends; `end` is the end of the text. */
export type PieceEnd = (codePoints: Uint32Array, start: number, end: number) => number;

/** Pre-tokenizers by llama.cpp's name; several names share a rule there. */
export const PRE_TOKENIZERS: ReadonlyMap<string, PieceEnd> = new Map([
  ['qwen2', qwen2],
  ['deepseek-r1-qwen', qwen2],
  ['smollm', smollm],
  ['starcoder', smollm],
  ['refact', smollm],
  ['command-r', smollm],
  ['gpt-2', gpt2],
]);

const APOSTROPHE = 0x27;
const BLANK = 0x20;
const CR = 0x0d;
const LF = 0x0a;
/** Sets the case bit: 'S' and 's' alike, and no other code point becomes a letter by it. */
const LOWER = 0x20;

function qwen2(codePoints: Uint32Array, start: number, end: number): number {
  const first = codePoints[start];
  if (first === APOSTROPHE) {
    const length = contraction(codePoints, start, end, LOWER);
    if (length > 0) return start + length;
  }
  const kind = CLASSES[first];
  if (kind === NUMBER) return start + 1;
  const hasNext = start + 1 < end;
  if (kind === LETTER || (!breaksLine(first) && hasNext && isLetter(codePoints[start + 1]))) {
    return runEnd(codePoints, start + 1, end, LETTER);
  }
  const marks = first === BLANK && hasNext ? start + 1 : start;
  if (CLASSES[codePoints[marks]] === OTHER) {
    let at = runEnd(codePoints, marks + 1, end, OTHER);
    while (at < end && breaksLine(codePoints[at])) at++;
    return at;
  }
  const spaces = runEnd(codePoints, start, end, SPACE);
  for (let at = spaces; at > start; at--) if (breaksLine(codePoints[at - 1])) return at;
  return spacesEnd(start, spaces, end);
}

function smollm(codePoints: Uint32Array, start: number, end: number): number {
  const kind = CLASSES[codePoints[start]];
  if (kind === NUMBER) return start + 1;
  if (kind === SPACE) {
    const spaces = runEnd(codePoints, start + 1, end, SPACE);
    if (spaces < end && CLASSES[codePoints[spaces]] === NUMBER) return spaces;
  }
  return gpt2(codePoints, start, end);
}

function gpt2(codePoints: Uint32Array, start: number, end: number): number {
  const first = codePoints[start];
  if (first === APOSTROPHE) {
    const length = contraction(codePoints, start, end, 0);
    if (length > 0) return start + length;
  }
  const run = first === BLANK && start + 1 < end ? start + 1 : start;
  const kind = CLASSES[codePoints[run]];
  if (kind !== SPACE) return runEnd(codePoints, run + 1, end, kind);
  return spacesEnd(start, runEnd(codePoints, run + 1, end, SPACE), end);
}

/** A run of spaces leaves its last one to what follows, if it has another and something follows. */
function spacesEnd(start: number, spaces: number, end: number): number {
  return spaces - start > 1 && spaces < end ? spaces - 1 : spaces;
}

/** Length of the English contraction at an apostrophe, or 0. `fold` is or-ed into its letters. */
function contraction(codePoints: Uint32Array, start: number, end: number, fold: number): number {
  if (start + 1 >= end) return 0;
  const one = codePoints[start + 1] | fold;
  if (one === 0x73 || one === 0x74 || one === 0x6d || one === 0x64) return 2; // s t m d
  if (start + 2 >= end) return 0;
  const two = codePoints[start + 2] | fold;
  if (two === 0x65 && (one === 0x72 || one === 0x76)) return 3; // re ve
  return one === 0x6c && two === 0x6c ? 3 : 0; // ll
}

function runEnd(codePoints: Uint32Array, from: number, end: number, kind: number): number {
  let at = from;
  while (at < end && CLASSES[codePoints[at]] === kind) at++;
  return at;
}

function isLetter(codePoint: number): boolean {
  return CLASSES[codePoint] === LETTER;
}

function breaksLine(codePoint: number): boolean {
  return codePoint === CR || codePoint === LF;
}
