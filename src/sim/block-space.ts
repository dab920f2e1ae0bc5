/**
 * The blocks of a simulation as small integers, so that caches are typed arrays over them, and each
 * with a 64-bit hash for the kernel. A session that is replayed once more is another session: it opens
 * a range of its own, with hashes nobody has seen. A range that is closed and of which nothing lies in
 * any cache is opened again, so that a long simulation takes no more memory than a short one.
 */
import { assert } from '../base/assert.ts';

interface Range {
  base: number;
  count: number;
  /** Blocks of it in caches: one in two caches counts twice. */
  resident: number;
  isOpen: boolean;
}

const CAPACITY_MIN = 1 << 16;

export class BlockSpace {
  #capacity = CAPACITY_MIN;
  #size = 0;
  /** Low and high half of each block's hash. */
  #words = new Uint32Array(2 * CAPACITY_MIN);
  #rangeOf = new Int32Array(CAPACITY_MIN);
  readonly #ranges: Range[] = [];
  /** Closed ranges that lie nowhere, by their length. */
  readonly #free = new Map<number, number[]>();
  #opened = 0;

  /** Blocks are smaller than this; it only grows. */
  get capacity(): number {
    return this.#capacity;
  }

  /** All that were ever opened are smaller than this. */
  get size(): number {
    return this.#size;
  }

  /** `count` blocks in a row with new hashes: the first of them. */
  open(count: number): number {
    let index = this.#free.get(count)?.pop();
    if (index === undefined) {
      index = this.#ranges.length;
      this.#ranges.push({ base: this.#size, count, resident: 0, isOpen: true });
      this.#size += count;
      this.#grow();
    }
    const range = this.#ranges[index];
    range.isOpen = true;
    const serial = ++this.#opened;
    for (let i = 0; i < count; i++) {
      const block = range.base + i;
      this.#rangeOf[block] = index;
      this.#words[2 * block] = mix(serial, 2 * i + 1);
      this.#words[2 * block + 1] = mix(2 * i, serial);
    }
    return range.base;
  }

  /** Nobody asks for these blocks any more. */
  close(base: number): void {
    const index = this.#rangeOf[base];
    const range = this.#ranges[index];
    assert(range.base === base && range.isOpen, 'a range is closed once, by its first block');
    range.isOpen = false;
    this.#reclaim(index);
  }

  /** A cache took the block, or lost it. */
  resident(block: number, change: 1 | -1): void {
    const index = this.#rangeOf[block];
    const range = this.#ranges[index];
    range.resident += change;
    if (range.resident === 0 && !range.isOpen) this.#reclaim(index);
  }

  hashes(blocks: Int32Array): BigUint64Array<ArrayBuffer> {
    const hashes = new BigUint64Array(blocks.length);
    // By halves: an element of a BigUint64Array is a BigInt, which is allocated.
    const words = new Uint32Array(hashes.buffer);
    for (let i = 0; i < blocks.length; i++) {
      words[2 * i] = this.#words[2 * blocks[i]];
      words[2 * i + 1] = this.#words[2 * blocks[i] + 1];
    }
    return hashes;
  }

  hash(block: number): bigint {
    return this.hashes(Int32Array.of(block))[0];
  }

  #reclaim(index: number): void {
    const range = this.#ranges[index];
    if (range.resident > 0) return;
    const free = this.#free.get(range.count);
    if (free === undefined) this.#free.set(range.count, [index]);
    else free.push(index);
  }

  #grow(): void {
    if (this.#size <= this.#capacity) return;
    while (this.#capacity < this.#size) this.#capacity *= 2;
    const words = new Uint32Array(2 * this.#capacity);
    words.set(this.#words);
    this.#words = words;
    const rangeOf = new Int32Array(this.#capacity);
    rangeOf.set(this.#rangeOf);
    this.#rangeOf = rangeOf;
  }
}

/** Two small numbers to 32 bits that look like chance (the finalizer of MurmurHash3). */
function mix(a: number, b: number): number {
  let x = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca77);
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
