/** Python literals as JSON: what models write as arguments of calls in Python's syntax. */
import type { Scan } from '../../base/json-scan.ts';

const DEPTH_MAX = 500;

/** Finds the bracket that closes a call whose opening one was read; strings are looked through. */
export class PythonScan implements Scan {
  state: 'more' | 'whole' | 'wrong' = 'more';
  #depth = 1;
  #quote = '';
  #isEscaped = false;

  scan(text: string, from: number): number {
    for (let at = from; at < text.length; at++) {
      this.#look(text[at]);
      if (this.state !== 'more') return at + 1;
    }
    return text.length;
  }

  #look(character: string): void {
    if (this.#quote !== '') {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (character === '\\') this.#isEscaped = true;
      else if (character === this.#quote) this.#quote = '';
    } else if (character === '"' || character === "'") this.#quote = character;
    else if ('([{'.includes(character)) this.#depth++;
    else if (')]}'.includes(character)) this.#depth--;
    if (this.#depth === 0) this.state = 'whole';
    else if (this.#depth > DEPTH_MAX) this.state = 'wrong';
  }
}

/** `a=1, b='x')`, the closing bracket included, as a JSON object. Undefined where it is not that. */
export function keywordArguments(text: string): string | undefined {
  return read(text, (literals) => {
    const members: string[] = [];
    while (!literals.skip(')')) {
      if (members.length > 0) literals.expect(',');
      if (members.length > 0 && literals.skip(')')) break;
      const key = literals.take(NAME);
      literals.expect('=');
      members.push(`${JSON.stringify(key)}: ${literals.value(0)}`);
    }
    return `{${members.join(', ')}}`;
  });
}

/** One literal as JSON; undefined where `text` is not one. */
export function literalJson(text: string): string | undefined {
  return read(text, (literals) => literals.value(0));
}

function read(text: string, how: (literals: Literals) => string): string | undefined {
  const literals = new Literals(text);
  try {
    const json = how(literals);
    literals.end();
    return json;
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown;
    return undefined; // no literal: the caller makes text of it
  }
}

const NAME = /[A-Za-z_]\w*/y;
const BLANK = /\s*/y;
const NUMBER = /[-+]?(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][-+]?\d+)?/y;
/** Line breaks stand in any string: some templates write them so. */
const STRING =
  /'''((?:[^\\]|\\[\s\S])*?)'''|"""((?:[^\\]|\\[\s\S])*?)"""|'([^'\\]*(?:\\[\s\S][^'\\]*)*)'|"([^"\\]*(?:\\[\s\S][^"\\]*)*)"/y;
const WORDS: ReadonlyMap<string, string> = new Map([
  ...([
    ['True', 'true'],
    ['False', 'false'],
    ['None', 'null'],
  ] as const),
  ...(['true', 'false', 'null'] as const).map((word) => [word, word] as const),
]);
const ESCAPE =
  /\\(?:(\n)|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|([\s\S]))/g;
const ESCAPED: ReadonlyMap<string, string> = new Map([
  ...([
    ['n', '\n'],
    ['t', '\t'],
    ['r', '\r'],
    ['b', '\b'],
    ['f', '\f'],
    ['v', '\v'],
    ['a', '\x07'],
  ] as const),
  ...(['\\', "'", '"'] as const).map((character) => [character, character] as const),
]);
const CODE_POINT_MAX = 0x10ffff;

class Literals {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** The literal that comes next, as JSON. */
  value(depth: number): string {
    if (depth > DEPTH_MAX) throw this.#wrong();
    if (this.skip('[')) return `[${this.#items(']', depth).join(', ')}]`;
    if (this.skip('(')) return `[${this.#items(')', depth).join(', ')}]`;
    if (this.skip('{')) return this.#dict(depth);
    const character = this.#text[this.#at];
    if (character === '"' || character === "'") return JSON.stringify(this.#string());
    const word = /[A-Za-z]/.test(character ?? '') ? WORDS.get(this.take(NAME)) : this.#number();
    if (word === undefined) throw this.#wrong();
    return word;
  }

  end(): void {
    this.#blanks();
    if (this.#at < this.#text.length) throw this.#wrong();
  }

  /** Whether `mark` comes next, after blanks; then it is read. */
  skip(mark: string): boolean {
    this.#blanks();
    if (this.#text[this.#at] !== mark) return false;
    this.#at++;
    return true;
  }

  expect(mark: string): void {
    if (!this.skip(mark)) throw this.#wrong();
  }

  take(pattern: RegExp): string {
    this.#blanks();
    const found = this.#match(pattern);
    if (found === undefined) throw this.#wrong();
    return found[0];
  }

  #items(end: string, depth: number): string[] {
    const items: string[] = [];
    while (!this.skip(end)) {
      if (items.length > 0) this.expect(',');
      if (items.length > 0 && this.skip(end)) break;
      items.push(this.value(depth + 1));
    }
    return items;
  }

  #dict(depth: number): string {
    const members: string[] = [];
    while (!this.skip('}')) {
      if (members.length > 0) this.expect(',');
      if (members.length > 0 && this.skip('}')) break;
      const key = this.value(depth + 1);
      this.expect(':');
      const name = key.startsWith('"') ? key : JSON.stringify(key);
      members.push(`${name}: ${this.value(depth + 1)}`);
    }
    return `{${members.join(', ')}}`;
  }

  #number(): string {
    const digits = this.#match(NUMBER)?.[0].replaceAll('_', '').replace(/^\+/, '');
    if (digits === undefined) throw this.#wrong();
    if (/^-?(?:0|[1-9]\d*)$/.test(digits)) return digits; // exact at any size
    const number = Number(digits);
    if (!Number.isFinite(number) || /^-?0\d/.test(digits)) throw this.#wrong();
    return Number.isInteger(number) ? `${number}.0`.replace(/^(.*e.*)\.0$/, '$1') : `${number}`;
  }

  /** Neighbours are one, as in Python. */
  #string(): string {
    let text = '';
    for (;;) {
      this.#blanks();
      const found = this.#match(STRING);
      if (found === undefined) break;
      text += unescaped(found[1] ?? found[2] ?? found[3] ?? found[4]);
    }
    if (!/["']/.test(this.#text[this.#at] ?? '')) return text;
    throw this.#wrong();
  }

  #blanks(): void {
    this.#match(BLANK);
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) return undefined;
    this.#at += found[0].length;
    return found;
  }

  #wrong(): SyntaxError {
    return new SyntaxError(`no literal at character ${this.#at}`);
  }
}

/** Unknown escapes stay as they are, as in Python. */
function unescaped(text: string): string {
  return text.replace(ESCAPE, (whole, line, x, u, long, octal, character) => {
    if (line !== undefined) return '';
    if (octal !== undefined) return String.fromCodePoint(Number.parseInt(octal, 8));
    const hex = x ?? u ?? long;
    if (hex === undefined) return ESCAPED.get(character) ?? whole;
    const codePoint = Number.parseInt(hex, 16);
    return codePoint > CODE_POINT_MAX ? whole : String.fromCodePoint(codePoint);
  });
}
