/**
 * Reads the regular expressions of tokenizer files: the part of Oniguruma's syntax that they use.
 *
 *   a \n \p{L} \s . [^\r\n\p{L}] [\p{L}&&[^\p{Han}]]   one code point
 *   x|y  (?:x)  (?i:x)  (?=x)  (?!x)
 *   x?  x*  x+  x{1,3}   greedy; with ? lazy; the first three with + possessive
 *
 * What is not in this list, or means another thing elsewhere, throws a `PatternError` that names it.
 */
import {
  CASELESS,
  LETTER,
  LOWER,
  MARK,
  NUMBER,
  PUNCTUATION,
  SPACE,
  SYMBOL,
  UPPER,
} from './character-class.ts';
import { isHan } from './han.ts';

export type PatternNode =
  | { kind: 'set'; has: CharacterSet }
  | { kind: 'sequence'; items: PatternNode[] }
  | { kind: 'choice'; options: PatternNode[] }
  | { kind: 'repeat'; body: PatternNode; min: number; max: number; mode: RepeatMode }
  | { kind: 'look'; body: PatternNode; negative: boolean };

export type RepeatMode = 'greedy' | 'lazy' | 'possessive';
export type CharacterSet = (codePoint: number) => boolean;

/** `message` completes "its pre-tokenizer …". */
export class PatternError extends Error {
  override name = 'PatternError';
}

/** `classes`: of each code point. */
export function parsePattern(source: string, classes: Uint8Array): PatternNode {
  return new Parser(source, classes).pattern();
}

/** Code points that a match has at least and at most. */
export function widthOf(node: PatternNode): { least: number; most: number } {
  switch (node.kind) {
    case 'set':
      return { least: 1, most: 1 };
    case 'look':
      return { least: 0, most: 0 };
    case 'sequence': {
      const widths = node.items.map(widthOf);
      return {
        least: widths.reduce((sum, { least }) => sum + least, 0),
        most: widths.reduce((sum, { most }) => sum + most, 0),
      };
    }
    case 'choice': {
      const widths = node.options.map(widthOf);
      return {
        least: Math.min(...widths.map(({ least }) => least)),
        most: Math.max(...widths.map(({ most }) => most)),
      };
    }
    case 'repeat': {
      const { least, most } = widthOf(node.body);
      return { least: least * node.min, most: most === 0 ? 0 : most * node.max };
    }
  }
}

const PROPERTIES: ReadonlyMap<string, number> = new Map([
  ['L', LETTER],
  ['Letter', LETTER],
  ['Ll', LOWER],
  ['M', MARK],
  ['Mark', MARK],
  ['N', NUMBER],
  ['Number', NUMBER],
  ['P', PUNCTUATION],
  ['S', SYMBOL],
]);

const OTHERS: ReadonlyMap<string, CharacterSet> = new Map([['Han', isHan]]);

/** Categories that share a bit of the class table, and may only be asked for together. */
const SHARED: readonly { names: readonly string[]; mask: number }[] = [
  { names: ['Lu', 'Lt'], mask: UPPER },
  { names: ['Lm', 'Lo'], mask: CASELESS },
];

const CONTROLS: Readonly<Record<string, number>> = {
  n: 10,
  r: 13,
  t: 9,
  v: 11,
  f: 12,
  e: 27,
  a: 7,
};

class Parser {
  readonly #source: string;
  readonly #units: string[];
  readonly #classes: Uint8Array;
  #at = 0;
  #folds = false;

  constructor(source: string, classes: Uint8Array) {
    this.#source = source;
    this.#classes = classes;
    this.#units = Array.from(source);
  }

  pattern(): PatternNode {
    const node = this.#choice();
    if (this.#at < this.#units.length) throw this.#unknown(')');
    return node;
  }

  #choice(): PatternNode {
    const options = [this.#sequence()];
    while (this.#take('|')) options.push(this.#sequence());
    return options.length === 1 ? options[0] : { kind: 'choice', options };
  }

  #sequence(): PatternNode {
    const items: PatternNode[] = [];
    while (this.#at < this.#units.length && !this.#sees('|') && !this.#sees(')')) {
      items.push(this.#quantified(this.#atom()));
    }
    return items.length === 1 ? items[0] : { kind: 'sequence', items };
  }

  #quantified(body: PatternNode): PatternNode {
    const range = this.#range();
    if (range === undefined) return body;
    let mode: RepeatMode = 'greedy';
    if (this.#take('?')) mode = 'lazy';
    else if (this.#sees('+')) {
      if (range.counted) throw this.#unknown('}+');
      this.#at++;
      mode = 'possessive';
    }
    if (this.#sees('*') || this.#sees('+') || this.#sees('?') || this.#sees('{')) {
      throw this.#unknown('a repeat of a repeat');
    }
    return { kind: 'repeat', body, min: range.min, max: range.max, mode };
  }

  #range(): { min: number; max: number; counted: boolean } | undefined {
    if (this.#take('?')) return { min: 0, max: 1, counted: false };
    if (this.#take('*')) return { min: 0, max: Number.POSITIVE_INFINITY, counted: false };
    if (this.#take('+')) return { min: 1, max: Number.POSITIVE_INFINITY, counted: false };
    if (!this.#sees('{')) return undefined;
    const close = this.#units.indexOf('}', this.#at);
    const inside = this.#units.slice(this.#at + 1, close < 0 ? undefined : close).join('');
    const match = /^(\d+)(?:(,)(\d*))?$/.exec(inside);
    if (close < 0 || match === null) throw this.#unknown('{');
    this.#at = close + 1;
    const min = Number(match[1]);
    if (match[2] === undefined) return { min, max: min, counted: true };
    const max = match[3] === '' ? Number.POSITIVE_INFINITY : Number(match[3]);
    return { min, max, counted: true };
  }

  #atom(): PatternNode {
    if (this.#take('(')) return this.#group();
    if (this.#take('[')) return { kind: 'set', has: this.#folded(this.#set()) };
    const unit = this.#units[this.#at++];
    if (unit === '.') return { kind: 'set', has: (code) => code !== 10 };
    if (unit === '\\') return { kind: 'set', has: this.#folded(this.#escape()) };
    if ('^$*+?{'.includes(unit)) throw this.#unknown(unit);
    return { kind: 'set', has: this.#folded(only(unit.codePointAt(0) as number)) };
  }

  #group(): PatternNode {
    const outer = this.#folds;
    let look: boolean | undefined; // negative or not
    if (this.#take('?')) {
      if (this.#take('i')) this.#folds = true;
      else if (this.#take('=')) look = false;
      else if (this.#take('!')) look = true;
      if (look === undefined && !this.#take(':')) {
        throw this.#unknown(`(?${this.#units[this.#at] ?? ''}`);
      }
    }
    const body = this.#choice();
    if (!this.#take(')')) throw this.#unknown('(');
    this.#folds = outer;
    return look === undefined ? body : { kind: 'look', body, negative: look };
  }

  /** After `[`: items are united, `&&` intersects what stands on its sides. */
  #set(): CharacterSet {
    const negative = this.#take('^');
    const sides: CharacterSet[] = [];
    let items: CharacterSet[] = [];
    const names = new Set<string>();
    const finish = (): void => {
      for (const { names: together, mask } of SHARED) {
        const asked = together.filter((name) => names.has(name));
        if (asked.length === together.length) items.push(this.#classed(mask));
        else if (asked.length > 0) throw this.#unknown(`\\p{${asked[0]}} without its kin`);
      }
      sides.push(anyOf(items));
      items = [];
      names.clear();
    };
    while (!this.#take(']')) {
      if (this.#at >= this.#units.length) throw this.#unknown('[');
      if (this.#sees('&') && this.#units[this.#at + 1] === '&') {
        this.#at += 2;
        finish();
      } else items.push(this.#setItem(names));
    }
    finish();
    const all: CharacterSet = sides.length === 1 ? sides[0] : (c) => sides.every((has) => has(c));
    return negative ? (code) => !all(code) : all;
  }

  #setItem(names: Set<string>): CharacterSet {
    if (this.#take('[')) {
      if (this.#sees(':')) throw this.#unknown('[:');
      return this.#set();
    }
    if (this.#sees('\\') && /[pPsS]/.test(this.#units[this.#at + 1] ?? '')) {
      this.#at++;
      return this.#classEscape(names) as CharacterSet;
    }
    const low = this.#setCode();
    const ranges = this.#sees('-') && this.#units[this.#at + 1] !== ']';
    if (!ranges) return only(low);
    this.#at++;
    if (this.#sees('[')) throw this.#unknown('a range that ends with [');
    const high = this.#setCode();
    return (code) => code >= low && code <= high;
  }

  #setCode(): number {
    const unit = this.#units[this.#at++];
    if (unit === undefined) throw this.#unknown('[');
    return unit === '\\' ? this.#escapedCode() : (unit.codePointAt(0) as number);
  }

  /** After a backslash that is in no set. */
  #escape(): CharacterSet {
    const names = new Set<string>();
    const named = this.#classEscape(names);
    if (names.size > 0) throw this.#unknown(`\\p{${[...names][0]}} without its kin`);
    return named ?? only(this.#escapedCode());
  }

  /** `\s`, `\S`, `\p{…}`, `\P{…}`; categories that share a bit go to `names`. */
  #classEscape(names: Set<string>): CharacterSet | undefined {
    const letter = this.#units[this.#at];
    if (letter === 's' || letter === 'S') {
      this.#at++;
      const isSpace = this.#classed(SPACE);
      return letter === 's' ? isSpace : (code) => !isSpace(code);
    }
    if (letter !== 'p' && letter !== 'P') return undefined;
    const close = this.#units.indexOf('}', this.#at);
    const inside = this.#units.slice(this.#at + 2, close).join('');
    const negative = (letter === 'P') !== inside.startsWith('^');
    const name = inside.replace(/^\^/, '');
    if (this.#units[this.#at + 1] !== '{' || close < 0) throw this.#unknown(`\\${letter}`);
    this.#at = close + 1;
    const shared = SHARED.some(({ names: together }) => together.includes(name));
    if (shared && !negative) {
      names.add(name);
      return () => false;
    }
    const mask = PROPERTIES.get(name);
    const has = mask === undefined ? OTHERS.get(name) : this.#classed(mask);
    if (has === undefined) throw this.#unknown(`\\${letter}{${inside}}`);
    return negative ? (code) => !has(code) : has;
  }

  #escapedCode(): number {
    const unit = this.#units[this.#at++] ?? '';
    const control = CONTROLS[unit];
    if (control !== undefined) return control;
    if (unit === '' || /[0-9A-Za-z]/.test(unit)) throw this.#unknown(`\\${unit}`);
    return unit.codePointAt(0) as number;
  }

  /** In `(?i:…)`; Oniguruma folds `ſ` with s and the Kelvin sign with k. */
  #folded(has: CharacterSet): CharacterSet {
    if (!this.#folds) return has;
    return (code) => has(code) || variants(code).some(has);
  }

  #classed(mask: number): CharacterSet {
    const classes = this.#classes;
    return (code) => (classes[code] & mask) !== 0;
  }

  #sees(unit: string): boolean {
    return this.#units[this.#at] === unit;
  }

  #take(unit: string): boolean {
    if (!this.#sees(unit)) return false;
    this.#at++;
    return true;
  }

  #unknown(what: string): PatternError {
    const shown = JSON.stringify(this.#source.slice(0, 80));
    return new PatternError(`cuts by ${shown}, and ${JSON.stringify(what)} is not supported there`);
  }
}

function only(wanted: number): CharacterSet {
  return (code) => code === wanted;
}

function anyOf(items: readonly CharacterSet[]): CharacterSet {
  return items.length === 1 ? items[0] : (code) => items.some((has) => has(code));
}

/** Simple case folding; letters whose other case is two letters have none. */
function variants(code: number): number[] {
  const character = String.fromCodePoint(code);
  const upper = character.toUpperCase();
  return [character.toLowerCase(), upper, upper.toLowerCase()]
    .filter((it) => it.length === String.fromCodePoint(it.codePointAt(0) as number).length)
    .map((it) => it.codePointAt(0) as number);
}
