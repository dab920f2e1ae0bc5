/**
 * JSON as Python's `json` module has it. Reading keeps what JavaScript loses: 2.0 is not 2,
 * integers are exact at any size, keys that look like numbers keep their place. Writing is
 * `json.dumps(…, ensure_ascii=False)`, which is what transformers makes of the `tojson` filter.
 */
import { printFloat, printNumber } from './printing.ts';
import { compareText } from './python-text.ts';
import { TemplateError } from './template-error.ts';
import {
  type Dict,
  entriesOf,
  Float,
  isDict,
  isText,
  textOf,
  toFloat,
  typeName,
  type Value,
} from './values.ts';

/** Where JavaScript's own parser may lose something: such numbers, or keys like numbers. */
const DELICATE = /\d[.eE]|\d{16}|"\d+"\s*:/;
const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?/y;
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/y;
const BLANK = /[ \t\n\r]*/y;
const WORDS: [string, Value][] = [
  ...([
    ['null', null],
    ['true', true],
    ['false', false],
  ] as [string, Value][]),
  ...([
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
  ] as [string, Value][]),
  ['-Infinity', Number.NEGATIVE_INFINITY],
];
/** Deeper nesting is no argument list; Python's parser gives up near here as well. */
const DEPTH_MAX = 900;

/** Throws a SyntaxError where Python's `json.loads` would raise. */
export function readJson(text: string): Value {
  if (!DELICATE.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      // Python takes NaN and Infinity as well: the reader below decides.
    }
  }
  const reader = new JsonReader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

class JsonReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): Value {
    if (depth > DEPTH_MAX) throw this.#wrong();
    this.#take(BLANK);
    const first = this.#text[this.#at];
    if (first === '{') return this.#object(depth);
    if (first === '[') return this.#list(depth);
    if (first === '"') return this.#string();
    for (const [word, value] of WORDS) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    return this.#number();
  }

  end(): void {
    this.#take(BLANK);
    if (this.#at < this.#text.length) throw this.#wrong();
  }

  #object(depth: number): Map<string, Value> {
    const dict = new Map<string, Value>();
    this.#expect('{');
    if (this.#skip('}')) return dict;
    do {
      this.#take(BLANK);
      const key = this.#string();
      this.#take(BLANK);
      this.#expect(':');
      dict.set(key, this.value(depth + 1));
    } while (this.#skip(','));
    this.#expect('}');
    return dict;
  }

  #list(depth: number): Value[] {
    const items: Value[] = [];
    this.#expect('[');
    if (this.#skip(']')) return items;
    do items.push(this.value(depth + 1));
    while (this.#skip(','));
    this.#expect(']');
    return items;
  }

  #string(): string {
    const quoted = this.#take(STRING);
    if (quoted === '') throw this.#wrong();
    return JSON.parse(quoted);
  }

  #number(): Value {
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(this.#text);
    if (match === null) throw this.#wrong();
    this.#at += match[0].length;
    const number = Number(match[0]);
    if (match[1] !== undefined || match[2] !== undefined) {
      return toFloat(number);
    }
    return Number.isSafeInteger(number) ? number + 0 : BigInt(match[0]);
  }

  /** Whether `mark` comes next, after blanks; then it is read. */
  #skip(mark: string): boolean {
    this.#take(BLANK);
    if (this.#text[this.#at] !== mark) return false;
    this.#at++;
    return true;
  }

  #expect(mark: string): void {
    if (!this.#skip(mark)) throw this.#wrong();
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return '';
    this.#at += match[0].length;
    return match[0];
  }

  #wrong(): SyntaxError {
    return new SyntaxError(`no JSON at character ${this.#at}`);
  }
}

export interface JsonStyle {
  /** Spaces per level; undefined: all on one line. */
  indent: number | undefined;
  asciiOnly: boolean;
  sortKeys: boolean;
  /** Between items, and between key and value. */
  separators: readonly [string, string];
}

export const ONE_LINE: JsonStyle = {
  indent: undefined,
  asciiOnly: false,
  sortKeys: false,
  separators: [', ', ': '],
};

export function writeJson(value: Value, style: JsonStyle, depth = 0): string {
  if (typeof value === 'string') return writeString(value, style);
  if (value === null) return 'null';
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (typeof value === 'number' && !Number.isFinite(value)) return writeSpecial(value);
  if (typeof value === 'number' || typeof value === 'bigint') return printNumber(value);
  if (Array.isArray(value)) {
    const items = value.map((item) => writeJson(item, style, depth + 1));
    return enclose('[]', items, style, depth);
  }
  if (isDict(value)) return writeDict(value, style, depth);
  if (value instanceof Float) return printFloat(value.value);
  if (isText(value)) return writeString(textOf(value), style);
  throw new TemplateError(`${typeName(value)} cannot be written as JSON`);
}

function writeDict(dict: Dict, style: JsonStyle, depth: number): string {
  const entries = entriesOf(dict);
  if (style.sortKeys) entries.sort(([a], [b]) => compareText(keyText(a), keyText(b)));
  const items = entries.map(
    ([key, item]) =>
      writeString(keyText(key), style) + style.separators[1] + writeJson(item, style, depth + 1),
  );
  return enclose('{}', items, style, depth);
}

function keyText(key: Value): string {
  if (isText(key)) return textOf(key);
  if (Array.isArray(key) || isDict(key)) throw new TemplateError('a JSON key cannot be a list');
  return writeJson(key, ONE_LINE);
}

function enclose(brackets: string, items: string[], style: JsonStyle, depth: number): string {
  if (items.length === 0) return brackets;
  if (style.indent === undefined) {
    return brackets[0] + items.join(style.separators[0]) + brackets[1];
  }
  const outer = `\n${' '.repeat(style.indent * depth)}`;
  const inner = `\n${' '.repeat(style.indent * (depth + 1))}`;
  return brackets[0] + inner + items.join(style.separators[0] + inner) + outer + brackets[1];
}

function writeString(text: string, style: JsonStyle): string {
  const quoted = JSON.stringify(text);
  if (!style.asciiOnly) return quoted;
  return quoted.replace(
    /[\x7f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function writeSpecial(number: number): string {
  if (Number.isNaN(number)) return 'NaN';
  return number > 0 ? 'Infinity' : '-Infinity';
}
