/**
 * 64-bit keys → records of a few 32-bit words, all in one ArrayBuffer (which could be shared between
 * threads one day). Ten times faster than a Map of bigints, a third of its memory, and no step of its
 * growth takes long: slots lie in pages, and a page that is full is split in two by the next bit of
 * the hash (extendible hashing), while records never move.
 *
 *   directory          page of slots                       page of records, in columns
 *   first bits of ──►  [tag, address] × 1024               low low low … high high … value value …
 *   the tag            linear probing from the tag's       address = index of the record's low word;
 *                      last bits, backward-shift delete    its other words follow at `column` steps
 *
 * The buffer doubles while that copies little, then it is reserved whole, once: the system gives memory
 * to those pages only that are touched. Keys should be spread by whoever makes them; they are mixed
 * here so that small integers do as well. Address 0 stands for "no record" (a union would cost an
 * allocation at each of millions of look-ups).
 */
import { assert } from './assert.ts';
import { ADDRESS, mix, PAGE_SLOTS, PAGE_WORDS, place, SLOT_MASK, unplace } from './slot-page.ts';

/** A page with more is split. */
const PAGE_FULL = (PAGE_SLOTS * 7) / 8;
/** The least a page holds on average, just after all were split: what a table of given bytes must expect. */
const PAGE_SPARSE = PAGE_FULL / 2;
/** Words above which copying the buffer would be felt: then its whole limit is reserved. */
const COPIED_WORDS_MAX = 1 << 20;
const KEY_WORDS = 2;
const PAGE_BITS = Math.log2(PAGE_WORDS);
/** Pages of records are taken several at once, so that their records follow each other: a sixteenth. */
const RECORD_PAGES_SHIFT = 4;
const RECORD_PAGES_MAX = 64;
export class HashTable {
  /** Read it anew after an insert: it is replaced when it grows. */
  memory: Int32Array;
  /** Word n of a record is at address + n · column; 0 and 1 are its key, values begin at 2. */
  readonly column: number;
  readonly #recordWords: number;
  readonly #pagesPerRecord: number;
  readonly #pagesMax: number;
  readonly #directoryMax: number;
  /** Bits of the tag that choose an entry of the directory. */
  #directoryBits = 0;
  #pageCount: number;
  #size = 0;
  #freeRecord = 0;
  /** The next record that was never used, and how many follow it in its pages. */
  #freshRecord = 0;
  #freshCount = 0;
  /** The last page of records; its last word leads to the first, and so on around. */
  #lastRecordPage = 0;
  #firstRecordPage = 0;
  #fetched = 0;
  readonly #split = new Int32Array(PAGE_WORDS);

  /** `valueWords`: 32-bit words of a record besides its key. `bytesMax`: of the buffer. */
  constructor(shape: { valueWords: number; bytesMax: number }) {
    this.#recordWords = KEY_WORDS + shape.valueWords;
    this.column = Math.floor((PAGE_WORDS - 1) / this.#recordWords);
    this.#pagesPerRecord = 1 / this.column;
    this.#pagesMax = Math.floor(shape.bytesMax / (4 * PAGE_WORDS));
    this.#directoryMax = 2 ** Math.ceil(Math.log2(Math.max(2, this.#pagesMax)));
    // In front: the directory (page addresses), then for each page how full it is and its own bits.
    const front = Math.ceil((this.#directoryMax + this.#pagesMax) / PAGE_WORDS);
    assert(this.#pagesMax >= front + 2, 'a table has room for its directory and two pages');
    this.#pageCount = front;
    this.memory = new Int32Array(Math.min(this.#pagesMax, front + 4) * PAGE_WORDS);
    this.memory[0] = this.#addPage();
  }

  get size(): number {
    return this.#size;
  }

  /** Of pages in use; the rest of the buffer was never touched. */
  get bytes(): number {
    return this.#pageCount * PAGE_WORDS * 4;
  }

  /** So many always fit. */
  get sizeMax(): number {
    const pages =
      this.#pagesMax -
      Math.ceil((this.#directoryMax + this.#pagesMax) / PAGE_WORDS) -
      2 -
      Math.min(RECORD_PAGES_MAX, this.#pagesMax >> RECORD_PAGES_SHIFT);
    return Math.max(1, Math.floor(pages / (1 / this.column + 1 / PAGE_SPARSE)));
  }

  /** Address of the key's record; 0: there is none. */
  find(low: number, high: number): number {
    const memory = this.memory;
    const tag = mix(low, high);
    const page = memory[(tag >>> 1) >>> (31 - this.#directoryBits)];
    for (let slot = tag & SLOT_MASK; ; slot = (slot + 1) & SLOT_MASK) {
      const address = memory[page + 2 * slot + 1] & ADDRESS;
      if (address === 0) return 0;
      if (memory[page + 2 * slot] === tag && this.isKey(address, low, high)) return address;
    }
  }

  /**
   * Like `find`, without a look at the record where the tag tells enough: right for every key that is
   * in the table; one that is not is taken for another once in 2^32 / size times.
   */
  peek(low: number, high: number): number {
    const memory = this.memory;
    const tag = mix(low, high);
    const page = memory[(tag >>> 1) >>> (31 - this.#directoryBits)];
    for (let slot = tag & SLOT_MASK; ; slot = (slot + 1) & SLOT_MASK) {
      const word = memory[page + 2 * slot + 1];
      if (word === 0) return 0;
      if (memory[page + 2 * slot] !== tag) continue;
      if (word > 0) return word;
      if (this.isKey(word & ADDRESS, low, high)) return word & ADDRESS;
    }
  }

  /**
   * `peek` for `count` keys: key k is that at `places[k]` of `words`, and its address goes to `found[k]`.
   * Memory is slow to answer and far better at answering many at once, so all slots are asked for
   * before any is read, then the first values of their records, which the caller will want next.
   */
  peekAll(
    { words, places, found }: { words: Int32Array; places: Int32Array; found: Int32Array },
    count: number,
  ): void {
    const memory = this.memory;
    const shift = 31 - this.#directoryBits;
    const value = KEY_WORDS * this.column;
    for (let k = 0; k < count; k++) {
      const tag = mix(words[2 * places[k]], words[2 * places[k] + 1]);
      const page = memory[(tag >>> 1) >>> shift];
      found[k] = memory[page + 2 * (tag & SLOT_MASK) + 1] & ADDRESS;
    }
    let fetched = 0;
    for (let k = 0; k < count; k++) fetched ^= memory[found[k] + value];
    for (let k = 0; k < count; k++) {
      found[k] = this.peek(words[2 * places[k]], words[2 * places[k] + 1]);
    }
    // A use for what was fetched, lest it be optimised away.
    this.#fetched = fetched;
  }

  /** Brings near the slots of the keys from word `from` up to `to`, all at once as `peekAll` does. */
  fetch(words: Int32Array, from: number, to: number): void {
    const memory = this.memory;
    const shift = 31 - this.#directoryBits;
    let fetched = 0;
    for (let i = from; i < to; i += 2) {
      const tag = mix(words[i], words[i + 1]);
      fetched ^= memory[memory[(tag >>> 1) >>> shift] + 2 * (tag & SLOT_MASK) + 1];
    }
    this.#fetched = fetched;
  }

  isKey(address: number, low: number, high: number): boolean {
    return this.memory[address] === low && this.memory[address + this.column] === high;
  }

  /** Address of a new record, its values 0, for a key that has none; 0: the table is full. */
  insert(low: number, high: number): number {
    const tag = mix(low, high);
    let page = this.#pageOf(tag);
    if (this.#count(page) < PAGE_FULL) {
      const { memory } = this;
      let at = page + 2 * (tag & SLOT_MASK);
      while (memory[at + 1] !== 0 && memory[at] !== tag) at = page + ((at + 2) & (PAGE_WORDS - 1));
      if (memory[at + 1] === 0) return this.#fill(at, page, { tag, low, high });
    }
    while (this.#count(page) >= PAGE_FULL && this.#splitPage(page, tag)) page = this.#pageOf(tag);
    // A page that cannot be split is filled further; one slot stays empty, to end a search.
    if (this.#count(page) >= PAGE_SLOTS - 1) return 0;
    const address = this.#keep(page, low, high);
    if (address !== 0) place(this.memory, page, { tag, address });
    return address;
  }

  delete(address: number): void {
    const memory = this.memory;
    const { column } = this;
    const tag = mix(memory[address], memory[address + column]);
    const page = this.#pageOf(tag);
    unplace(memory, page, { tag, address });
    memory[this.#infoOf(page)] -= 32;
    for (let word = 1; word < this.#recordWords; word++) memory[address + word * column] = 0;
    memory[address] = this.#freeRecord;
    this.#freeRecord = address;
    this.#size--;
  }

  /**
   * The record place after `address` (0: the first), around and around, in the order of memory: for
   * those who sweep. Also places whose record was deleted; their values are 0.
   */
  after(address: number): number {
    if (this.#firstRecordPage === 0) return 0;
    if (address === 0) return this.#firstRecordPage;
    const page = address - (address % PAGE_WORDS);
    if (address + 1 < page + this.column) return address + 1;
    return this.memory[page + PAGE_WORDS - 1];
  }

  /**
   * Records in the order of memory, as numbers: those of neighbouring pages follow each other, and what
   * is inserted together mostly has consecutive ones.
   */
  ordinal(address: number): number {
    return (address >>> PAGE_BITS) * this.column + (address & (PAGE_WORDS - 1));
  }

  /** Of an ordinal below `ordinalEnd`; it need not be that of a record. */
  at(ordinal: number): number {
    // A product instead of a quotient, for speed; half an ordinal is far more than its rounding error.
    const page = ((ordinal + 0.5) * this.#pagesPerRecord) | 0;
    return page * PAGE_WORDS + ordinal - page * this.column;
  }

  /** The address after and before one, by ordinal. */
  next(address: number): number {
    const isLast = (address & (PAGE_WORDS - 1)) === this.column - 1;
    return isLast ? address - this.column + 1 + PAGE_WORDS : address + 1;
  }

  previous(address: number): number {
    const isFirst = (address & (PAGE_WORDS - 1)) === 0;
    return isFirst ? address - PAGE_WORDS + this.column - 1 : address - 1;
  }

  /** Addresses are below. */
  get end(): number {
    return this.#pageCount * PAGE_WORDS;
  }

  get ordinalEnd(): number {
    return this.#pageCount * this.column;
  }

  /** Record places, deleted ones included: after so many calls of `after` one was everywhere. */
  get places(): number {
    return this.#recordPages * this.column;
  }

  #recordPages = 0;

  check(): void {
    const { memory } = this;
    let found = 0;
    const pages = new Set<number>();
    for (let i = 0; i < 2 ** this.#directoryBits; i++) pages.add(memory[i]);
    for (const page of pages) {
      let count = 0;
      for (let slot = 0; slot < PAGE_SLOTS; slot++) {
        const address = memory[page + 2 * slot + 1] & ADDRESS;
        if (address === 0) continue;
        count++;
        const high = memory[address + this.column];
        assert(this.find(memory[address], high) === address, 'a record is found');
        assert(this.peek(memory[address], high) === address, 'and by its tag');
      }
      assert(count === this.#count(page), 'a page knows how full it is');
      found += count;
    }
    assert(found === this.#size, 'each record has one slot');
    let free = 0;
    for (let at = this.#freeRecord; at !== 0; at = memory[at]) free++;
    assert(free + found + this.#freshCount === this.places, 'a record is held or free');
    assert(Number.isInteger(this.#fetched), 'what was fetched is words');
  }

  #pageOf(tag: number): number {
    return this.memory[(tag >>> 1) >>> (31 - this.#directoryBits)];
  }

  #fill(slot: number, page: number, key: { tag: number; low: number; high: number }): number {
    const address = this.#keep(page, key.low, key.high);
    if (address === 0) return 0;
    this.memory[slot] = key.tag;
    this.memory[slot + 1] = address;
    return address;
  }

  /** A record of the key, counted for the page that will lead to it. */
  #keep(page: number, low: number, high: number): number {
    const address = this.#newRecord();
    if (address === 0) return 0;
    const { memory } = this;
    memory[address] = low;
    memory[address + this.column] = high;
    memory[this.#infoOf(page)] += 32;
    this.#size++;
    return address;
  }

  /** Where it is noted how full a page is (× 32) and how many bits of the tag its records share. */
  #infoOf(page: number): number {
    return this.#directoryMax + (page >>> PAGE_BITS);
  }

  #count(page: number): number {
    return this.memory[this.#infoOf(page)] >>> 5;
  }

  /** Of the page with the tag. False: there is no memory for another, or no bit left to split by. */
  #splitPage(page: number, tag: number): boolean {
    const bits = this.memory[this.#infoOf(page)] & 31;
    if (bits === this.#directoryBits && !this.#doubleDirectory()) return false;
    const other = this.#addPage();
    if (other === 0) return false;
    const memory = this.memory;
    const old = this.#split;
    old.set(memory.subarray(page, page + PAGE_WORDS));
    memory.fill(0, page, page + PAGE_WORDS);
    let moved = 0;
    for (let at = 0; at < PAGE_WORDS; at += 2) {
      if (old[at + 1] === 0) continue;
      const goes = (old[at] >>> (31 - bits)) & 1;
      moved += goes;
      // By a product: half of the tags go either way, and a branch would be guessed wrong that often.
      place(memory, page + goes * (other - page), { tag: old[at], address: old[at + 1] });
    }
    memory[this.#infoOf(page)] = (this.#count(page) - moved) * 32 + bits + 1;
    memory[this.#infoOf(other)] = moved * 32 + bits + 1;
    // The entries that led to the page begin with its bits; the second half of them leads to the other.
    const span = 2 ** (this.#directoryBits - bits);
    const entry = (tag >>> 1) >>> (31 - this.#directoryBits);
    const first = entry - (entry % span);
    memory.fill(other, first + span / 2, first + span);
    return true;
  }

  #doubleDirectory(): boolean {
    const entries = 2 ** this.#directoryBits;
    if (2 * entries > this.#directoryMax) return false;
    const memory = this.memory;
    for (let i = entries - 1; i >= 0; i--) memory[2 * i] = memory[2 * i + 1] = memory[i];
    this.#directoryBits++;
    return true;
  }

  #newRecord(): number {
    const address = this.#freeRecord;
    if (address !== 0) {
      this.#freeRecord = this.memory[address];
      return address;
    }
    if (this.#freshCount === 0) this.#addRecords();
    if (this.#freshCount === 0) return 0;
    const fresh = this.#freshRecord;
    this.#freshCount--;
    this.#freshRecord = this.next(fresh);
    return fresh;
  }

  #addRecords(): void {
    const wanted = Math.min(RECORD_PAGES_MAX, this.#recordPages >> RECORD_PAGES_SHIFT);
    const first = this.#pageCount * PAGE_WORDS;
    for (let count = 0; count < Math.max(1, wanted); count++) {
      const page = this.#addPage();
      if (page === 0) break;
      const memory = this.memory;
      if (this.#lastRecordPage === 0) this.#firstRecordPage = page;
      else memory[this.#lastRecordPage + PAGE_WORDS - 1] = page;
      memory[page + PAGE_WORDS - 1] = this.#firstRecordPage;
      this.#lastRecordPage = page;
      this.#recordPages++;
      this.#freshCount += this.column;
    }
    this.#freshRecord = first;
  }

  /** Address of a page of zeros; 0: there is no memory left. */
  #addPage(): number {
    if (this.#pageCount === this.#pagesMax) return 0;
    const page = this.#pageCount * PAGE_WORDS;
    if (page + PAGE_WORDS > this.memory.length) {
      const limit = this.#pagesMax * PAGE_WORDS;
      const wanted = 2 * this.memory.length;
      const grown = new Int32Array(wanted > COPIED_WORDS_MAX ? limit : Math.min(wanted, limit));
      grown.set(this.memory);
      this.memory = grown;
    }
    this.#pageCount++;
    return page;
  }
}
