/**
 * Finds the tokens that are cut out of a text before it is pre-tokenized: at each place, from left to
 * right, the longest that begins there.
 *
 * llama.cpp takes them longest first, each everywhere, over what the longer ones left
 * (`tokenizer_st_partition`). Where no two of them can overlap by an end and a beginning, that is
 * the same; `overlap` finds the vocabularies where two can. `tokenizers` searches as is done here, and
 * then lets a token take along white space or refuses it inside a word (its `find_matches`).
 */
import type { AddedToken } from '../model/vocabulary.ts';

export class SpecialTokens {
  readonly #root: Node = { token: undefined, next: new Map() };
  /** By UTF-16 unit: whether one may begin with it. */
  readonly #begins = new Uint8Array(0x10000);
  readonly #count: number;

  constructor(tokens: readonly AddedToken[]) {
    this.#count = tokens.length;
    for (const token of tokens) {
      let node = this.#root;
      for (let i = 0; i < token.text.length; i++) {
        const unit = token.text.charCodeAt(i);
        const known = node.next.get(unit);
        const next = known ?? { token: undefined, next: new Map() };
        if (known === undefined) node.next.set(unit, next);
        node = next;
      }
      node.token ??= token;
      this.#begins[token.text.charCodeAt(0)] = 1;
    }
  }

  /** The first of them in `text[from, end)`, whose last match ended at `from`. */
  find(text: string, from: number, end: number): Found | undefined {
    if (this.#count === 0) return undefined;
    for (let at = from; at < end; at++) {
      if (this.#begins[text.charCodeAt(at)] === 0) continue;
      const token = this.#longest(text, at, end);
      if (token === undefined) continue;
      const stop = at + token.text.length;
      if (token.wholeWord && (endsInWord(text, from, at) || beginsInWord(text, stop, end))) {
        at = stop - 1;
        continue;
      }
      const start = token.stripsLeft ? spacesBefore(text, from, at) : at;
      return { id: token.id, start, end: token.stripsRight ? spacesAfter(text, stop, end) : stop };
    }
    return undefined;
  }

  #longest(text: string, at: number, end: number): AddedToken | undefined {
    let longest: AddedToken | undefined;
    let node: Node | undefined = this.#root;
    for (let i = at; i < end; i++) {
      node = node.next.get(text.charCodeAt(i));
      if (node === undefined) break;
      if (node.token !== undefined) longest = node.token;
    }
    return longest;
  }
}

export interface Found {
  id: number;
  start: number;
  end: number;
}

interface Node {
  token: AddedToken | undefined;
  next: Map<number, Node>;
}

/** White_Space, which has no member beyond U+FFFF. */
const SPACE = /[\p{White_Space}]/u;
/** `\w` of Rust's regular expressions. */
const WORD_END = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const WORD_BEGIN = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;

function endsInWord(text: string, start: number, at: number): boolean {
  return WORD_END.test(text.slice(Math.max(start, at - 2), at));
}

function beginsInWord(text: string, at: number, end: number): boolean {
  return WORD_BEGIN.test(text.slice(at, Math.min(end, at + 2)));
}

function spacesBefore(text: string, start: number, at: number): number {
  let from = at;
  while (from > start && SPACE.test(text[from - 1])) from--;
  return from;
}

function spacesAfter(text: string, at: number, end: number): number {
  let to = at;
  while (to < end && SPACE.test(text[to])) to++;
  return to;
}

/**
 * Two different texts of which one can end with how the other begins, if there are such. Two runs of
 * one character do not count: the longest first is then the same as from left to right.
 */
export function overlap(texts: readonly string[]): { ends: string; begins: string } | undefined {
  const beginnings = new Map<string, Owners>();
  for (const text of texts) {
    for (let length = 1; length < text.length; length++) {
      const beginning = text.slice(0, length);
      const owners = beginnings.get(beginning) ?? { runs: [], others: [] };
      beginnings.set(beginning, owners);
      const alike = isRun(text) ? owners.runs : owners.others;
      if (alike.length < 2) alike.push(text); // one is not the text itself
    }
  }
  for (const ends of texts) {
    for (let start = 1; start < ends.length; start++) {
      const owners = beginnings.get(ends.slice(start));
      const others = owners?.others.find((owner) => owner !== ends);
      const begins = others ?? (isRun(ends) ? undefined : owners?.runs[0]);
      if (begins !== undefined) return { ends, begins };
    }
  }
  return undefined;
}

interface Owners {
  runs: string[];
  others: string[];
}

function isRun(text: string): boolean {
  for (let i = 1; i < text.length; i++) if (text[i] !== text[0]) return false;
  return true;
}
