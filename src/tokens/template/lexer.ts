/**
 * Jinja source → tokens, with whitespace control as transformers sets it: `trim_blocks` (a line
 * break after a block or comment goes), `lstrip_blocks` (blanks before them on their line go), no
 * trailing line break of the whole. Rules as in jinja2/lexer.py 3.1.6.
 */
import { SPACES, strip } from './python-text.ts';
import { refuse } from './template-error.ts';

export interface Token {
  kind: 'data' | 'begin' | 'end' | 'name' | 'string' | 'number' | 'operator' | 'eof';
  /** Of `begin` and `end`: `%` for statements, `{` for expressions. */
  text: string;
  line: number;
}

export function lex(source: string): Token[] {
  return new Lexer(source).run();
}

const OPENING = /\{[{%#]/g;
const NAME = /[A-Za-z_]\w*/y;
const INTEGER = /\d+/y;
const NUMBER = /\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
const STRING = /'([^'\\]*(?:\\[\s\S][^'\\]*)*)'|"([^"\\]*(?:\\[\s\S][^"\\]*)*)"/y;
const OPERATOR = /\/\/|\*\*|[=!<>]=|[-+/*%~[\](){}=.:|,;<>]/y;
const BLANK = new RegExp(`[${SPACES}]+`, 'y');
const ONLY_BLANKS = new RegExp(`^[${SPACES}]+$`);
const CLOSING: Record<string, RegExp> = {
  '%': new RegExp(`\\+%\\}|-%\\}[${SPACES}]*|%\\}\\n?`, 'y'),
  '{': new RegExp(`-\\}\\}[${SPACES}]*|\\}\\}`, 'y'),
};
const COMMENT_END = new RegExp(`\\+#\\}|-#\\}[${SPACES}]*|#\\}\\n?`, 'g');
const PAIRS: Record<string, string> = { ')': '(', ']': '[', '}': '{' };

class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  #line = 1;
  /** Whether what was read last ended its line. */
  #lineStarts = true;

  constructor(source: string) {
    this.#source = source.replace(/\r\n?/g, '\n').replace(/\n$/, '');
  }

  run(): Token[] {
    while (this.#at < this.#source.length) this.#data();
    this.#add('eof', '');
    return this.#tokens;
  }

  #data(): void {
    OPENING.lastIndex = this.#at;
    const opening = OPENING.exec(this.#source);
    const end = opening?.index ?? this.#source.length;
    const raw = this.#source.slice(this.#at, end);
    if (opening === null) {
      this.#add('data', raw);
      this.#at = end;
      return;
    }
    const kind = opening[0][1];
    const sign = this.#source[end + 2];
    const text = this.#stripped(raw, kind, sign);
    if (text !== '') this.#add('data', text);
    this.#advance(raw.length + 2 + (sign === '-' || sign === '+' ? 1 : 0));
    if (kind === '#') this.#comment();
    else this.#tag(kind);
  }

  /** Text before an opening, without the blanks that the opening or `lstrip_blocks` takes. */
  #stripped(text: string, kind: string, sign: string): string {
    if (sign === '-') return strip(text, 'right');
    if (sign === '+' || kind === '{') return text;
    const lineStart = text.lastIndexOf('\n') + 1;
    if (lineStart === 0 && !this.#lineStarts) return text;
    return ONLY_BLANKS.test(text.slice(lineStart)) ? text.slice(0, lineStart) : text;
  }

  #comment(): void {
    COMMENT_END.lastIndex = this.#at;
    const end = COMMENT_END.exec(this.#source);
    if (end === null) refuse(this.#line, 'a comment that does not end');
    this.#advance(end.index + end[0].length - this.#at);
    this.#lineStarts = end[0].endsWith('\n');
  }

  #tag(kind: string): void {
    this.#add('begin', kind);
    const open: string[] = [];
    for (;;) {
      if (open.length === 0) {
        const closing = this.#take(CLOSING[kind]);
        if (closing !== undefined) {
          this.#add('end', kind);
          this.#lineStarts = closing.endsWith('\n');
          return;
        }
      }
      if (this.#take(BLANK) === undefined) this.#inTag(open);
      if (this.#at >= this.#source.length) refuse(this.#line, 'a tag that does not end');
    }
  }

  #inTag(open: string[]): void {
    const line = this.#line;
    const previous = this.#tokens[this.#tokens.length - 1];
    const inPath = previous.kind === 'operator' && previous.text === '.';
    const number = this.#take(inPath ? INTEGER : NUMBER);
    if (number !== undefined) {
      if (/\w/.test(this.#source[this.#at] ?? '')) refuse(line, 'an unsupported kind of number');
      this.#add('number', number, line);
      return;
    }
    const name = this.#take(NAME);
    if (name !== undefined) {
      this.#add('name', name, line);
      return;
    }
    const string = this.#take(STRING);
    if (string !== undefined) {
      this.#add('string', unescaped(string.slice(1, -1), line), line);
      return;
    }
    const operator = this.#take(OPERATOR);
    if (operator === undefined) refuse(line, `the unknown character ${this.#source[this.#at]}`);
    if ('([{'.includes(operator)) open.push(operator);
    const opener = PAIRS[operator];
    if (opener !== undefined && open.pop() !== opener) refuse(line, `an unmatched ${operator}`);
    this.#add('operator', operator, line);
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#source);
    if (match === null) return undefined;
    this.#advance(match[0].length);
    return match[0];
  }

  #advance(length: number): void {
    for (let i = this.#at; i < this.#at + length; i++) if (this.#source[i] === '\n') this.#line++;
    this.#at += length;
  }

  #add(kind: Token['kind'], text: string, line = this.#line): void {
    this.#tokens.push({ kind, text, line });
  }
}

const ESCAPES: Record<string, string> = {
  ...{ n: '\n', t: '\t', r: '\r', '\\': '\\', "'": "'", '"': '"', '\n': '' },
  ...{ a: '\x07', b: '\b', f: '\f', v: '\v' },
};

/** Python's `unicode-escape`; an unknown escape keeps its backslash. */
function unescaped(text: string, line: number): string {
  return text.replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U(000[0-9a-fA-F]{5})|([0-7]{1,3})|([\s\S]))/g,
    (whole, hex2, hex4, hex8, octal, one) => {
      const hex = hex2 ?? hex4 ?? hex8;
      if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
      if (octal !== undefined) return String.fromCodePoint(Number.parseInt(octal, 8));
      if (/[xuUN\x80-\uffff]/.test(one)) refuse(line, `the malformed escape \\${one}`);
      return ESCAPES[one] ?? whole;
    },
  );
}
