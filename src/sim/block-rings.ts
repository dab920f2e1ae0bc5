/**
 * Idle blocks of a cache in the order in which they leave: rings through typed arrays, one for each tier
 * and standing. The head's `newer` leaves next.
 */

/** Within a tier all of `first` leave before `common`, and those before `last`. */
export type Standing = 'first' | 'common' | 'last';

const STANDINGS: readonly Standing[] = ['first', 'common', 'last'];
const COMMON = 1;
/** The rings' heads come before the nodes of blocks. */
const TIERS = { device: 0, host: STANDINGS.length } as const;
const HEADS = 2 * STANDINGS.length;

export class BlockRings {
  #newer: Int32Array;
  #older: Int32Array;
  /** Of each block, which of its tier's rings it is in, or will be. */
  #standing: Uint8Array;

  constructor(capacity: number) {
    this.#newer = new Int32Array(capacity + HEADS);
    this.#older = new Int32Array(capacity + HEADS);
    this.#standing = new Uint8Array(capacity).fill(COMMON);
    for (let head = 0; head < HEADS; head++) this.#newer[head] = this.#older[head] = head;
  }

  /** To be called for what is in no ring. */
  stands(block: number, standing: Standing): void {
    this.#standing[block] = STANDINGS.indexOf(standing);
  }

  /** As the last to leave of its tier and standing. */
  link(block: number, tier: keyof typeof TIERS): void {
    const head = TIERS[tier] + this.#standing[block];
    const node = block + HEADS;
    const last = this.#older[head];
    this.#newer[last] = node;
    this.#older[node] = last;
    this.#newer[node] = head;
    this.#older[head] = node;
  }

  unlink(block: number): void {
    const node = block + HEADS;
    this.#newer[this.#older[node]] = this.#newer[node];
    this.#older[this.#newer[node]] = this.#older[node];
  }

  /** Which of a tier leaves next; undefined: nothing is idle there. */
  next(tier: keyof typeof TIERS): number | undefined {
    for (let standing = 0; standing < STANDINGS.length; standing++) {
      const block = this.#newer[TIERS[tier] + standing] - HEADS;
      if (block >= 0) return block;
    }
    return undefined;
  }

  /** The first of each ring of a tier. */
  heads(tier: keyof typeof TIERS): number[] {
    const heads: number[] = [];
    for (let standing = 0; standing < STANDINGS.length; standing++) {
      const block = this.#newer[TIERS[tier] + standing] - HEADS;
      if (block >= 0) heads.push(block);
    }
    return heads;
  }

  /** For tests: counts. */
  length(tier: keyof typeof TIERS): number {
    let length = 0;
    for (let standing = 0; standing < STANDINGS.length; standing++) {
      const head = TIERS[tier] + standing;
      for (let node = this.#newer[head]; node !== head; node = this.#newer[node]) length++;
    }
    return length;
  }

  grow(capacity: number): void {
    const newer = new Int32Array(capacity + HEADS);
    newer.set(this.#newer);
    this.#newer = newer;
    const older = new Int32Array(capacity + HEADS);
    older.set(this.#older);
    this.#older = older;
    const standing = new Uint8Array(capacity).fill(COMMON);
    standing.set(this.#standing);
    this.#standing = standing;
  }
}
