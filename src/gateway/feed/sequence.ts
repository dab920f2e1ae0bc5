/**
 * Numbers of an engine's batches. Live ones may come twice, late or never, and an engine that was
 * started anew begins at 0 again: a number of old that bears other bytes than the batch we had is
 * another engine's.
 */

/** What a batch is, by its number and its bytes. */
export type Place =
  /** The one that is due. */
  | 'next'
  /** Earlier ones are missing. */
  | 'early'
  /** It was taken, or given up, before. */
  | 'old'
  /** Old, and too long ago to say whose it is. */
  | 'ancient'
  /** Of an engine that was started anew. */
  | 'foreign';

/** How far back a batch may come twice or late. */
const MEMORY = 4096;
const LOST = 0;

export class FeedSequence {
  #next = 0;
  /** Fingerprint of batch `n` at `n % MEMORY`. */
  readonly #seen = new Uint32Array(MEMORY);

  get next(): number {
    return this.#next;
  }

  restart(): void {
    this.#next = 0;
    this.#seen.fill(LOST);
  }

  place(number: number, payload: Uint8Array): Place {
    if (number === this.#next) return 'next';
    if (number > this.#next) return 'early';
    if (number < this.#next - MEMORY) return 'ancient';
    const seen = this.#seen[number % MEMORY];
    if (seen === LOST) return number === 0 ? 'ancient' : 'old';
    return seen === fingerprint(payload) ? 'old' : 'foreign';
  }

  /** The next one; undefined: something else came in its place. */
  taken(payload: Uint8Array | undefined): void {
    this.#seen[this.#next % MEMORY] = payload === undefined ? LOST : fingerprint(payload);
    this.#next++;
  }

  /** All before `number` are given up; returns how many. */
  skipTo(number: number): number {
    const missing = number - this.#next;
    for (let i = Math.max(this.#next, number - MEMORY); i < number; i++) {
      this.#seen[i % MEMORY] = LOST;
    }
    this.#next = number;
    return missing;
  }
}

/** Its length and first bytes, which hold the time it was made: no two batches share them. */
function fingerprint(payload: Uint8Array): number {
  let hash = 0x811c9dc5 ^ payload.length;
  const bytes = Math.min(payload.length, 64);
  for (let i = 0; i < bytes; i++) hash = Math.imul(hash ^ payload[i], 0x01000193);
  return hash >>> 0 || 1;
}
