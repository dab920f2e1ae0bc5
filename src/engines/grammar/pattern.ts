/**
 * Regular expressions (ECMA-262 with the `u` flag, as JSON Schema's `pattern`) as expressions over
 * characters. What looks around or back is refused: a grammar cannot.
 */
import {
  anyOf,
  CODE_POINT_MAX,
  complement,
  EMPTY,
  type Expression,
  either,
  type Range,
  repeat,
  sequence,
  union,
} from './expression.ts';

export class PatternError extends Error {}

export interface Pattern {
  expression: Expression;
  /** Characters of the shortest and longest text that matches; undefined: no longest. */
  lengthMin: number;
  lengthMax: number | undefined;
}

const REPEAT_MAX = 100_000;

type Written = (ranges: readonly Range[]) => Expression;

const ALL: readonly Range[] = [[0, CODE_POINT_MAX]];
const LINE_ENDS: readonly Range[] = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const CLASSES: Record<string, readonly Range[]> = {
  d: [[0x30, 0x39]],
  w: union([
    [0x30, 0x39],
    [0x41, 0x5a],
    [0x61, 0x7a],
    [0x5f, 0x5f],
  ]),
  s: union([
    [0x09, 0x0d],
    [0x20, 0x20],
    [0xa0, 0xa0],
    [0x1680, 0x1680],
    [0x2000, 0x200a],
    [0x2028, 0x2029],
    [0x202f, 0x202f],
    [0x205f, 0x205f],
    [0x3000, 0x3000],
    [0xfeff, 0xfeff],
  ]),
};
const CONTROLS: Record<string, number> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };

/**
 * `written` says how one character of a set is spelled. Without anchors the pattern may stand
 * anywhere in the text, as the specification has it.
 */
export function readPattern(source: string, written: Written): Pattern {
  const reader = new PatternReader(source, written);
  const found = reader.alternatives(true);
  reader.end();
  return found;
}

class PatternReader {
  readonly #source: string[];
  readonly #written: Written;
  #at = 0;

  constructor(source: string, written: Written) {
    this.#source = Array.from(source);
    this.#written = written;
  }

  end(): void {
    if (this.#at < this.#source.length) throw new PatternError('has a ) too many');
  }

  /** `outer`: not inside a group, where texts may go on before and after. */
  alternatives(outer: boolean): Pattern {
    const found = [this.#terms(outer)];
    while (this.#take('|')) found.push(this.#terms(outer));
    if (found.length === 1) return found[0];
    return {
      expression: either(...found.map(({ expression }) => expression)),
      lengthMin: Math.min(...found.map(({ lengthMin }) => lengthMin)),
      lengthMax: found.some(({ lengthMax }) => lengthMax === undefined)
        ? undefined
        : Math.max(...found.map(({ lengthMax }) => lengthMax ?? 0)),
    };
  }

  #terms(outer: boolean): Pattern {
    const begins = outer && this.#take('^');
    let found: Pattern = outer && !begins ? this.#anything() : NO_TEXT;
    for (;;) {
      const next = this.#source[this.#at];
      if (next === undefined || next === '|' || next === ')') {
        return outer ? followedBy(found, this.#anything()) : found;
      }
      if (next === '$') {
        this.#at++;
        const after = this.#source[this.#at];
        if (outer && (after === undefined || after === '|')) return found;
        throw new PatternError('has a $ that is not at its end');
      }
      found = followedBy(found, this.#quantified(this.#atom()));
    }
  }

  #anything(): Pattern {
    return {
      expression: repeat(this.#written(ALL), 0, undefined),
      lengthMin: 0,
      lengthMax: undefined,
    };
  }

  #atom(): Pattern {
    const next = this.#source[this.#at++];
    switch (next) {
      case '(':
        return this.#group();
      case '[':
        return this.#character(this.#class());
      case '.':
        return this.#character(complement(LINE_ENDS));
      case '\\':
        return this.#character(this.#escape());
      case '^':
        throw new PatternError('has a ^ that is not at its beginning');
      case '*':
      case '+':
      case '?':
      case '{':
        throw new PatternError(`repeats nothing at ${next}`);
      default:
        return this.#character([single(next)]);
    }
  }

  #character(ranges: readonly Range[]): Pattern {
    return { expression: this.#written(ranges), lengthMin: 1, lengthMax: 1 };
  }

  #group(): Pattern {
    if (this.#take('?')) {
      const isNamed =
        this.#source[this.#at] === '<' && !/[=!]/.test(this.#source[this.#at + 1] ?? '=');
      if (isNamed) {
        while (this.#at < this.#source.length && this.#source[this.#at] !== '>') this.#at++;
        this.#at++;
      } else if (!this.#take(':')) throw new PatternError('looks around');
    }
    const inner = this.alternatives(false);
    if (!this.#take(')')) throw new PatternError('has a ( that is not closed');
    return inner;
  }

  #quantified(of: Pattern): Pattern {
    const bounds = this.#bounds();
    if (bounds === undefined) return of;
    this.#take('?'); // lazy or not, the same texts match
    const { min, max } = bounds;
    const lengthMax =
      max === 0
        ? 0
        : of.lengthMax === 0
          ? 0
          : max === undefined
            ? undefined
            : times(of.lengthMax, max);
    return {
      expression: repeat(of.expression, min, max),
      lengthMin: of.lengthMin * min,
      lengthMax,
    };
  }

  #bounds(): { min: number; max: number | undefined } | undefined {
    if (this.#take('*')) return { min: 0, max: undefined };
    if (this.#take('+')) return { min: 1, max: undefined };
    if (this.#take('?')) return { min: 0, max: 1 };
    if (this.#source[this.#at] !== '{') return undefined;
    const written = /^\{(\d+)(,(\d*))?\}/.exec(
      this.#source.slice(this.#at, this.#at + 20).join(''),
    );
    if (written === null) throw new PatternError('has a { that bounds nothing');
    this.#at += written[0].length;
    const min = Number(written[1]);
    const max = written[2] === undefined ? min : written[3] === '' ? undefined : Number(written[3]);
    if (max !== undefined && max < min) throw new PatternError('repeats from more to less');
    if (Math.max(min, max ?? 0) > REPEAT_MAX) throw new PatternError('repeats something too often');
    return { min, max };
  }

  #class(): Range[] {
    const negated = this.#take('^');
    const ranges: Range[] = [];
    for (;;) {
      const next = this.#source[this.#at];
      if (next === undefined) throw new PatternError('has a [ that is not closed');
      if (next === ']') break;
      const from = this.#member();
      const isRange =
        this.#source[this.#at] === '-' && this.#source[this.#at + 1] !== ']' && from.length === 1;
      if (!isRange || from[0][0] !== from[0][1]) {
        ranges.push(...from);
        continue;
      }
      this.#at++;
      const to = this.#member();
      if (to.length !== 1 || to[0][0] !== to[0][1] || to[0][0] < from[0][0]) {
        throw new PatternError('has a range that is none');
      }
      ranges.push([from[0][0], to[0][0]]);
    }
    this.#at++;
    return negated ? complement(ranges) : union(ranges);
  }

  #member(): readonly Range[] {
    const next = this.#source[this.#at++];
    if (next === undefined) throw new PatternError('has a [ that is not closed');
    if (next !== '\\') return [single(next)];
    if (this.#take('b')) return [[8, 8]];
    return this.#escape();
  }

  #escape(): readonly Range[] {
    const next = this.#source[this.#at++];
    if (next === undefined) throw new PatternError('ends in a backslash');
    const known = CLASSES[next.toLowerCase()];
    if (known !== undefined) return next === next.toLowerCase() ? known : complement(known);
    if (next in CONTROLS) return [[CONTROLS[next], CONTROLS[next]]];
    if (next === 'x') return this.#coded(/^[0-9a-fA-F]{2}/);
    if (next === 'u') return this.#coded(/^(?:[0-9a-fA-F]{4}|\{[0-9a-fA-F]{1,6}\})/);
    if (/[a-zA-Z1-9]/.test(next))
      throw new PatternError(`uses \\${next}, which a grammar cannot say`);
    return [single(next)];
  }

  #coded(form: RegExp): Range[] {
    const written = form.exec(this.#source.slice(this.#at, this.#at + 8).join(''));
    if (written === null) throw new PatternError('has a character code that is none');
    this.#at += written[0].length;
    const code = Number.parseInt(written[0].replace(/[{}]/g, ''), 16);
    if (code > CODE_POINT_MAX) throw new PatternError('has a character code that is none');
    return [[code, code]];
  }

  #take(character: string): boolean {
    if (this.#source[this.#at] !== character) return false;
    this.#at++;
    return true;
  }
}

const NO_TEXT: Pattern = { expression: EMPTY, lengthMin: 0, lengthMax: 0 };

function followedBy(a: Pattern, b: Pattern): Pattern {
  return {
    expression: sequence(a.expression, b.expression),
    lengthMin: a.lengthMin + b.lengthMin,
    lengthMax:
      a.lengthMax === undefined || b.lengthMax === undefined
        ? undefined
        : a.lengthMax + b.lengthMax,
  };
}

function times(a: number | undefined, b: number): number | undefined {
  return a === undefined ? undefined : a * b;
}

function single(character: string): Range {
  const code = character.codePointAt(0) ?? 0;
  return [code, code];
}

/** Characters as they are, outside of JSON. */
export function asWritten(ranges: readonly Range[]): Expression {
  const all = complement([...complement(ranges), [0, 0], [0xd800, 0xdfff]]);
  return all.length === 0 ? anyOf('') : { kind: 'class', ranges: all };
}
