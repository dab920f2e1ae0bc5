/**
 * A backtracking matcher over code points, compiled to closures: what a `Split` of a tokenizer file
 * cuts by. Not the host's regular expressions, whose character classes move on with every release
 * and which know neither possessive repeats nor, on the oldest Node.js we run on, `(?i:…)`.
 *
 * Each closure matches its part at a place and hands on to the next; the result is where the whole
 * match ends. FAIL is a number because this is asked once per character.
 */
import {
  type CharacterSet,
  PatternError,
  type PatternNode,
  parsePattern,
  widthOf,
} from './pattern-syntax.ts';

const FAIL = -1;
const ASCII = 0x80;

type Step = (at: number) => number;

export class Pattern {
  readonly #text: Text = { codePoints: new Uint32Array(0), end: 0 };
  readonly #start: Step;

  /** `classes`: of each code point. Throws `PatternError`. */
  constructor(source: string, classes: Uint8Array) {
    const node = parsePattern(source, classes);
    if (widthOf(node).least === 0) {
      throw new PatternError(
        `cuts by ${JSON.stringify(source.slice(0, 80))}, which matches nothing`,
      );
    }
    this.#start = compile(node, this.#text, (at) => at);
  }

  /** End of the match that begins at `at`, if one does; `end` is the end of the text. */
  matchEnd(codePoints: Uint32Array, at: number, end: number): number | undefined {
    this.#text.codePoints = codePoints;
    this.#text.end = end;
    const matched = this.#start(at);
    return matched === FAIL ? undefined : matched;
  }
}

/** What the closures of one pattern look at. */
interface Text {
  codePoints: Uint32Array;
  end: number;
}

function compile(node: PatternNode, text: Text, next: Step): Step {
  switch (node.kind) {
    case 'set': {
      const has = tabled(node.has);
      return (at) => (at < text.end && has(text.codePoints[at]) ? next(at + 1) : FAIL);
    }
    case 'sequence':
      return node.items.reduceRight((after, item) => compile(item, text, after), next);
    case 'choice': {
      const options = node.options.map((option) => compile(option, text, next));
      return (at) => {
        for (const option of options) {
          const matched = option(at);
          if (matched !== FAIL) return matched;
        }
        return FAIL;
      };
    }
    case 'look': {
      const seen = compile(node.body, text, (at) => at);
      return (at) => ((seen(at) !== FAIL) === node.negative ? FAIL : next(at));
    }
    case 'repeat':
      return compileRepeat(node, text, next);
  }
}

function compileRepeat(
  { body, min, max, mode }: Extract<PatternNode, { kind: 'repeat' }>,
  text: Text,
  next: Step,
): Step {
  if (body.kind === 'set') {
    const has = tabled(body.has);
    const runEnd = (from: number, most: number): number => {
      const end = Math.min(text.end, from + most);
      let at = from;
      while (at < end && has(text.codePoints[at])) at++;
      return at;
    };
    return repeated({ min, max, mode, width: 1, runEnd }, next);
  }
  if (min === 0 && max === 1 && mode !== 'possessive') {
    const taken = compile(body, text, next);
    if (mode === 'lazy') return (at) => orElse(next(at), taken, at);
    return (at) => orElse(taken(at), next, at);
  }
  const { least, most } = widthOf(body);
  if (least !== most || least === 0) {
    throw new PatternError('repeats a group whose length varies, which is not supported');
  }
  const once = compile(body, text, (at) => at);
  const runEnd = (from: number, times: number): number => {
    let at = from;
    for (let count = 0; count < times && once(at) !== FAIL; count++) at += least;
    return at;
  };
  return repeated({ min, max, mode, width: least, runEnd }, next);
}

interface Repeat {
  min: number;
  max: number;
  mode: 'greedy' | 'lazy' | 'possessive';
  /** Code points of one repetition. */
  width: number;
  /** Where the longest run of repetitions ends, of at most `most`. */
  runEnd: (from: number, most: number) => number;
}

function repeated({ min, max, mode, width, runEnd }: Repeat, next: Step): Step {
  const least = min * width;
  if (mode === 'possessive') {
    return (from) => {
      const end = runEnd(from, max);
      return end - from < least ? FAIL : next(end);
    };
  }
  if (mode === 'lazy') {
    return (from) => {
      const end = runEnd(from, max);
      for (let at = from + least; at <= end; at += width) {
        const matched = next(at);
        if (matched !== FAIL) return matched;
      }
      return FAIL;
    };
  }
  return (from) => {
    for (let at = runEnd(from, max); at >= from + least; at -= width) {
      const matched = next(at);
      if (matched !== FAIL) return matched;
    }
    return FAIL;
  };
}

function orElse(matched: number, other: Step, at: number): number {
  return matched === FAIL ? other(at) : matched;
}

/** The same set, by table where code is mostly written. */
export function tabled(has: CharacterSet): CharacterSet {
  const ascii = Uint8Array.from({ length: ASCII }, (_, code) => (has(code) ? 1 : 0));
  return (code) => (code < ASCII ? ascii[code] === 1 : has(code));
}
