/**
 * Ids of pieces met before: a fixed block of memory, one slot per hash, the newcomer replaces.
 * Words repeat so much that this spares nearly all merging, and a client cannot make it grow.
 *
 *   slot = | length + ids·256 | 16 code points | 7 ids |        24 words of 4 bytes
 */
const TEXT_MAX = 16;
const IDS_MAX = 7;
const SLOT = 1 + TEXT_MAX + IDS_MAX;

export class PieceCache {
  readonly #slots: Uint32Array;
  readonly #mask: number;

  /** `slots`: a power of two, 96 bytes each. */
  constructor(slots: number) {
    this.#slots = new Uint32Array(slots * SLOT);
    this.#mask = slots - 1;
  }

  /** Copies the ids of `codePoints[start, end)` to `ids[at…]`; returns how many, 0 if unknown. */
  read(codePoints: Uint32Array, start: number, end: number, ids: Uint32Array, at: number): number {
    const length = end - start;
    if (length > TEXT_MAX) return 0;
    const slots = this.#slots;
    const slot = this.#slot(codePoints, start, end);
    const head = slots[slot];
    if ((head & 0xff) !== length) return 0;
    for (let i = 0; i < length; i++) {
      if (slots[slot + 1 + i] !== codePoints[start + i]) return 0;
    }
    const count = head >> 8;
    const from = slot + 1 + TEXT_MAX;
    for (let i = 0; i < count; i++) ids[at + i] = slots[from + i];
    return count;
  }

  /** Remembers `ids[at, at + count)` for the piece; long ones are not worth a slot. */
  write(
    codePoints: Uint32Array,
    start: number,
    end: number,
    ids: Uint32Array,
    at: number,
    count: number,
  ): void {
    const length = end - start;
    if (length > TEXT_MAX || count > IDS_MAX || count === 0) return;
    const slot = this.#slot(codePoints, start, end);
    this.#slots[slot] = length | (count << 8);
    for (let i = 0; i < length; i++) this.#slots[slot + 1 + i] = codePoints[start + i];
    const to = slot + 1 + TEXT_MAX;
    for (let i = 0; i < count; i++) this.#slots[to + i] = ids[at + i];
  }

  #slot(codePoints: Uint32Array, start: number, end: number): number {
    let hash = 0x811c9dc5; // FNV-1a over code points, with a final mix
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ codePoints[i], 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
    return ((hash ^ (hash >>> 13)) & this.#mask) * SLOT;
  }
}
