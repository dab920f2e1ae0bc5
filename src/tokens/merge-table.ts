/**
 * The merge rules of a byte-level BPE, over symbols. A symbol is a token id, or a number above all
 * ids for a text that merges pass through but the vocabulary lacks.
 *
 * Merging takes the lowest rank first, the leftmost of equal ones: what llama.cpp's queue does.
 * Ranks are looked up in an open-addressed table of (left, right, rank, product) rows.
 */
import { NumberHeap } from '../base/number-heap.ts';
import { BYTE_CHARACTERS } from '../model/byte-alphabet.ts';

const ROW = 4;
const FREE = -1;
/** Up to this many symbols, scanning for the lowest rank beats keeping a queue. */
const SCANNED_SYMBOLS_MAX = 40;
/** A queue key is rank · 2^30 + position: exact below 2^53, and in llama.cpp's order. */
const POSITIONS_MAX = 2 ** 30;

export class MergeTable {
  readonly #rows: Int32Array;
  readonly #mask: number;
  readonly #symbolOfByte = new Int32Array(256);
  /** Symbol of each text that is a token or part of a merge. */
  readonly #symbols = new Map<string, number>();
  readonly #texts: string[];
  #work = new Int32Array(SCANNED_SYMBOLS_MAX * 2);

  constructor(tokens: readonly string[], merges: readonly string[]) {
    this.#texts = [...tokens];
    for (let id = 0; id < tokens.length; id++) this.#symbols.set(tokens[id], id);
    for (let byte = 0; byte < 256; byte++) {
      this.#symbolOfByte[byte] = this.#symbol(BYTE_CHARACTERS[byte]);
    }
    const slots = 2 ** Math.ceil(Math.log2(merges.length * 2 + 2));
    this.#mask = slots - 1;
    this.#rows = new Int32Array(slots * ROW).fill(FREE);
    for (let rank = 0; rank < merges.length; rank++) this.#add(merges[rank], rank);
  }

  /** Number of symbols; those from the vocabulary's size on are no tokens. */
  get symbolCount(): number {
    return this.#texts.length;
  }

  text(symbol: number): string {
    return this.#texts[symbol];
  }

  symbolOfByte(byte: number): number {
    return this.#symbolOfByte[byte];
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
      // A rank names one pair: another rank means that this pair has since been merged away.
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

  /** `left right`, cut at the first space that is not the first character, as llama.cpp cuts. */
  #add(merge: string, rank: number): void {
    const space = merge.indexOf(' ', 1);
    if (space < 0) return;
    const leftText = merge.slice(0, space);
    const rightText = merge.slice(space + 1);
    const left = this.#symbol(leftText);
    const right = this.#symbol(rightText);
    let slot = spread(left, right) & this.#mask;
    while (this.#rows[slot * ROW] !== FREE) {
      const row = slot * ROW;
      if (this.#rows[row] === left && this.#rows[row + 1] === right) return; // the first one counts
      slot = (slot + 1) & this.#mask;
    }
    this.#rows.set([left, right, rank, this.#symbol(leftText + rightText)], slot * ROW);
  }

  #symbol(text: string): number {
    const known = this.#symbols.get(text);
    if (known !== undefined) return known;
    const symbol = this.#texts.push(text) - 1;
    this.#symbols.set(text, symbol);
    return symbol;
  }
}

function spread(left: number, right: number): number {
  const mixed = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}
