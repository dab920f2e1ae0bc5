/**
 * Merges symbols by the rules of a BPE; merge-rules.ts says what a symbol is.
 *
 * Merging takes the lowest rank first, the leftmost of equal ones: what llama.cpp's queue does.
 * Ranks are looked up in an open-addressed table of (left, right, rank, product) rows.
 */
import { NumberHeap } from '../base/number-heap.ts';
import { BYTE_CHARACTERS } from '../model/byte-alphabet.ts';
import type { TextRules } from '../model/vocabulary.ts';
import type { MergeRules } from './merge-rules.ts';

const BYTE_TOKEN = /^<0x[0-9A-F]{2}>$/;
const ROW = 4;
const FREE = -1;
/** Up to this many symbols, scanning for the lowest rank beats keeping a queue. */
const SCANNED_SYMBOLS_MAX = 40;
/** A queue key is rank · 2^30 + position: exact below 2^53, and in llama.cpp's order. */
const POSITIONS_MAX = 2 ** 30;

export class MergeTable {
  readonly #rows: Int32Array;
  readonly #mask: number;
  readonly #symbolOfByte = new Int32Array(256).fill(FREE);
  /** By code point, where tokens are written as text. */
  readonly #symbolOfCharacter = new Map<number, number>();
  readonly #tokens: readonly string[];
  readonly #extra: readonly string[];
  #work = new Int32Array(SCANNED_SYMBOLS_MAX * 2);

  constructor(tokens: readonly string[], rules: MergeRules, alphabet: TextRules['alphabet']) {
    this.#tokens = tokens;
    this.#extra = rules.extra;
    if (alphabet === 'bytes') this.#nameBytes();
    else this.#nameCharacters();
    const { triples } = rules;
    const slots = 2 ** Math.ceil(Math.log2((triples.length / 3) * 2 + 2));
    this.#mask = slots - 1;
    this.#rows = new Int32Array(slots * ROW).fill(FREE);
    for (let i = 0, index = 0; i < triples.length; i += 3, index++) {
      this.#add(triples[i], triples[i + 1], rules.ranks[index] ?? index, triples[i + 2]);
    }
  }

  /** Number of symbols; those from the vocabulary's size on are no tokens. */
  get symbolCount(): number {
    return this.#tokens.length + this.#extra.length;
  }

  text(symbol: number): string {
    const tokenCount = this.#tokens.length;
    return symbol < tokenCount ? this.#tokens[symbol] : this.#extra[symbol - tokenCount];
  }

  symbolOfByte(byte: number): number {
    return this.#symbolOfByte[byte];
  }

  /** Whether every text can be spelled: there is a symbol for each byte that UTF-8 uses. */
  get spellsAll(): boolean {
    return this.#symbolOfByte.every((symbol, byte) => symbol !== FREE || !inUtf8(byte));
  }

  /**
   * Ids that llama.cpp writes for a symbol that is no token: looked up byte by byte of its text. In
   * the byte alphabet that is the UTF-8 form of the alphabet's characters, of which only ASCII is found.
   */
  spelledOut(symbol: number): readonly number[] {
    const isText = this.#symbolOfCharacter.size > 0;
    const bytes = [...Buffer.from(this.text(symbol))].filter((byte) => isText || byte < 0x80);
    const ids = bytes.map((byte) =>
      isText ? this.#symbolOfByte[byte] : this.#tokens.indexOf(String.fromCharCode(byte)),
    );
    return ids.filter((id) => id >= 0 && id < this.#tokens.length);
  }

  /** Undefined where the character is no token. */
  symbolOfCharacter(codePoint: number): number | undefined {
    return this.#symbolOfCharacter.get(codePoint);
  }

  /** Merges `symbols[0, count)` in place as far as it goes; returns how many are left. */
  merge(symbols: Int32Array, count: number): number {
    return count <= SCANNED_SYMBOLS_MAX
      ? this.#mergeScanning(symbols, count)
      : this.#mergeQueued(symbols, count);
  }

  #mergeScanning(symbols: Int32Array, count: number): number {
    const rows = this.#rows;
    const found = this.#work; // row of the pair that begins at each position
    for (let i = 0; i + 1 < count; i++) found[i] = this.#row(symbols[i], symbols[i + 1]);
    let left = count;
    for (;;) {
      let best = FREE;
      let lowest = 0x7fffffff;
      for (let i = 0; i + 1 < left; i++) {
        if (found[i] !== FREE && rows[found[i] + 2] < lowest) {
          lowest = rows[found[i] + 2];
          best = i;
        }
      }
      if (best === FREE) return left;
      symbols[best] = rows[found[best] + 3];
      symbols.copyWithin(best + 1, best + 2, left);
      found.copyWithin(best + 1, best + 2, left - 1);
      left--;
      if (best > 0) found[best - 1] = this.#row(symbols[best - 1], symbols[best]);
      found[best] = best + 1 < left ? this.#row(symbols[best], symbols[best + 1]) : FREE;
    }
  }

  /** For long pieces: n log n, where scanning would let one long word stall the gateway. */
  #mergeQueued(symbols: Int32Array, count: number): number {
    const next = new Int32Array(count).map((_, i) => i + 1);
    const previous = new Int32Array(count).map((_, i) => i - 1);
    const queue = new NumberHeap(2 * count);
    const offer = (at: number) => {
      if (at < 0 || next[at] >= count) return;
      const row = this.#row(symbols[at], symbols[next[at]]);
      if (row !== FREE) queue.push(this.#rows[row + 2] * POSITIONS_MAX + at);
    };
    for (let i = 0; i < count; i++) offer(i);
    for (let key = queue.pop(); key !== undefined; key = queue.pop()) {
      const at = key % POSITIONS_MAX;
      if (symbols[at] === FREE || next[at] >= count) continue;
      const gone = next[at];
      const row = this.#row(symbols[at], symbols[gone]);
      // Another rank: this pair has since been merged away. The same: a key of this pair's own is
      // equal to this one, so that it is its turn.
      if (row === FREE || this.#rows[row + 2] !== (key - at) / POSITIONS_MAX) continue;
      symbols[at] = this.#rows[row + 3];
      symbols[gone] = FREE;
      next[at] = next[gone];
      if (next[at] < count) previous[next[at]] = at;
      offer(previous[at]);
      offer(at);
    }
    let left = 0;
    for (let i = 0; i < count; i++) if (symbols[i] !== FREE) symbols[left++] = symbols[i];
    return left;
  }

  /** Row of a pair, or FREE: called per pair of bytes, too often for a tagged answer. */
  #row(left: number, right: number): number {
    const rows = this.#rows;
    let slot = spread(left, right) & this.#mask;
    for (;;) {
      const row = slot * ROW;
      if (rows[row] === left && rows[row + 1] === right) return row;
      if (rows[row] === FREE) return FREE;
      slot = (slot + 1) & this.#mask;
    }
  }

  #add(left: number, right: number, rank: number, product: number): void {
    const rows = this.#rows;
    let slot = spread(left, right) & this.#mask;
    while (rows[slot * ROW] !== FREE) {
      const row = slot * ROW;
      if (rows[row] === left && rows[row + 1] === right) return; // the first one counts
      slot = (slot + 1) & this.#mask;
    }
    const row = slot * ROW;
    rows[row] = left;
    rows[row + 1] = right;
    rows[row + 2] = rank;
    rows[row + 3] = product;
  }

  #nameBytes(): void {
    const bytes = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));
    for (let symbol = this.symbolCount - 1; symbol >= 0; symbol--) {
      const text = this.text(symbol);
      const byte = text.length === 1 ? bytes.get(text) : undefined;
      if (byte !== undefined) this.#symbolOfByte[byte] = symbol;
    }
  }

  #nameCharacters(): void {
    for (let symbol = this.symbolCount - 1; symbol >= 0; symbol--) {
      const text = this.text(symbol);
      if (text.length === 6 && BYTE_TOKEN.test(text)) {
        this.#symbolOfByte[Number.parseInt(text.slice(3, 5), 16)] = symbol;
      }
      const first = text.codePointAt(0);
      if (first !== undefined && text.length === (first < 0x10000 ? 1 : 2)) {
        this.#symbolOfCharacter.set(first, symbol);
      }
    }
  }
}

function inUtf8(byte: number): boolean {
  return byte < 0xc0 || (byte > 0xc1 && byte < 0xf5);
}

function spread(left: number, right: number): number {
  const mixed = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}
