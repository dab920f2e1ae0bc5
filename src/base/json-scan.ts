/** Follows a text that grows, looking at each character once, to the end of what it looks for. */
export interface Scan {
  /** `wrong` as soon as nothing valid can come of it. */
  readonly state: 'more' | 'whole' | 'wrong';
  /** Goes on at `text[from]`; the index of the first character that is not of it, or not yet. */
  scan(text: string, from: number): number;
}

/** Deeper nesting is no argument of a tool. */
const DEPTH_MAX = 500;
const TOKEN_MAX = 400;
/** Up to what ends a string, or is wrong in it. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids them in strings
const STRING_RUN = /[^"\\\u0000-\u001f]*/y;
const BLANK = ' \t\n\r';
const ESCAPES = '"\\/bfnrtu';
const HEX = /[0-9a-fA-F]/;
const WORDS = ['true', 'false', 'null'];
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?$/;
const NUMBER_BEGUN = /^-?(?:(?:0|[1-9]\d*)(?:\.\d*)?(?:(?<=\d)[eE][-+]?\d*)?)?$/;

type Wanted = 'value' | 'valueOrEnd' | 'key' | 'keyOrEnd' | 'colon' | 'commaOrEnd';

/** One JSON value, strictly as RFC 8259 has it: what was taken is a beginning of valid JSON. */
export class JsonScan implements Scan {
  state: 'more' | 'whole' | 'wrong' = 'more';
  #wanted: Wanted = 'value';
  /** Brackets that are open. */
  #open: ('{' | '[')[] = [];
  #inString = false;
  /** Characters that must still follow a backslash: 1 the escape itself, 2–5 the digits of `\u`. */
  #escaped = 0;
  /** A number or word, as far as it was read. */
  #token = '';

  scan(text: string, from: number): number {
    let at = from;
    while (this.state === 'more' && at < text.length) {
      const next = this.#inString ? this.#string(text, at) : this.#other(text, at);
      if (next === undefined) this.state = 'wrong';
      else at = next;
    }
    return at;
  }

  /** The index behind what fits; undefined where nothing does. */
  #string(text: string, at: number): number | undefined {
    if (this.#escaped > 0) return this.#escape(text[at]) ? at + 1 : undefined;
    STRING_RUN.lastIndex = at;
    const end = at + (STRING_RUN.exec(text) as RegExpExecArray)[0].length;
    if (end === text.length) return end;
    if (text[end] === '\\') {
      this.#escaped = 1;
      return end + 1;
    }
    if (text[end] !== '"') return end > at ? end : undefined;
    this.#inString = false;
    if (this.#wanted === 'colon') return end + 1;
    this.#valueEnded();
    return end + 1;
  }

  #escape(character: string): boolean {
    if (this.#escaped > 1) {
      this.#escaped--;
      if (this.#escaped === 1) this.#escaped = 0;
      return HEX.test(character);
    }
    this.#escaped = character === 'u' ? 5 : 0;
    return ESCAPES.includes(character);
  }

  #other(text: string, at: number): number | undefined {
    const character = text[at];
    if (this.#token !== '') {
      if (/[\w.+-]/.test(character)) return this.#grow(character) ? at + 1 : undefined;
      if (!NUMBER.test(this.#token) && !WORDS.includes(this.#token)) return undefined;
      this.#token = '';
      this.#valueEnded();
      return at;
    }
    if (BLANK.includes(character)) return at + 1;
    return this.#mark(character) ? at + 1 : undefined;
  }

  #grow(character: string): boolean {
    this.#token += character;
    if (this.#token.length > TOKEN_MAX) return false;
    return NUMBER_BEGUN.test(this.#token) || WORDS.some((word) => word.startsWith(this.#token));
  }

  #mark(character: string): boolean {
    switch (this.#wanted) {
      case 'colon':
        this.#wanted = 'value';
        return character === ':';
      case 'key':
      case 'keyOrEnd':
        if (character === '}' && this.#wanted === 'keyOrEnd') return this.#close();
        this.#inString = true;
        this.#wanted = 'colon';
        return character === '"';
      case 'commaOrEnd': {
        const inObject = this.#open.at(-1) === '{';
        if (character === (inObject ? '}' : ']')) return this.#close();
        this.#wanted = inObject ? 'key' : 'value';
        return character === ',';
      }
      case 'valueOrEnd':
        return character === ']' ? this.#close() : this.#value(character);
      case 'value':
        return this.#value(character);
    }
  }

  #value(character: string): boolean {
    if (character === '"') {
      this.#inString = true;
      this.#wanted = 'value';
      return true;
    }
    if (character !== '{' && character !== '[') return this.#grow(character);
    this.#open.push(character);
    this.#wanted = character === '{' ? 'keyOrEnd' : 'valueOrEnd';
    return this.#open.length <= DEPTH_MAX;
  }

  #close(): true {
    this.#open.pop();
    this.#valueEnded();
    return true;
  }

  #valueEnded(): void {
    if (this.#open.length === 0) this.state = 'whole';
    this.#wanted = 'commaOrEnd';
  }
}
