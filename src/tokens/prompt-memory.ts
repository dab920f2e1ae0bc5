/**
 * What prompts were encoded to, so that the next turn of a thread costs only its new part.
 *
 * Tokenizing never looks across a special token: the ids of a text up to one, and from it on, are the
 * ids of the whole (measured on public vocabularies, and a property test here). So a prompt that begins
 * like one we remember shares its ids up to the last special token that lies wholly, and with room for
 * the longest special token to begin before it, in what both have in common.
 */
import type { BlockHash, BlockHashes } from '../model/block.ts';

export interface Remembered {
  root: BlockHash;
  text: string;
  ids: Uint32Array;
  /** Where special tokens begin: index in the text (UTF-16 units) and in the ids, ascending. */
  cuts: Cuts;
  hashes: BlockHashes;
}

export interface Cuts {
  text: Uint32Array;
  ids: Uint32Array;
}

/** The part of a remembered prompt that a new one begins with. */
export interface Shared {
  of: Remembered;
  /** Both begin with a special token here. */
  textEnd: number;
  idsEnd: number;
  /** Cuts before the end. */
  cuts: number;
}

/** Fewer shared ids are not worth the trouble. */
const SHARED_IDS_MIN = 64;

export class PromptMemory {
  readonly #byThread = new Map<string, Remembered>();
  /** The thread that was last remembered under a root: another one there begins like it. */
  readonly #latest = new Map<BlockHash, string>();
  readonly #bytesMax: number;
  #bytes = 0;

  /** `bytesMax` bounds texts, ids, hashes and cuts together; the thread unused for longest goes first. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#byThread.size;
  }

  /** `specialMax`: length of the longest special token. */
  find(thread: string, root: BlockHash, text: string, specialMax: number): Shared | undefined {
    const own = this.#byThread.get(keyOf(root, thread));
    const shared = own && sharedWith(own, text, specialMax);
    if (shared !== undefined) return shared;
    const latest = this.#latest.get(root);
    const other = latest === undefined ? undefined : this.#byThread.get(latest);
    return other === undefined || other === own ? undefined : sharedWith(other, text, specialMax);
  }

  remember(thread: string, prompt: Remembered): void {
    const key = keyOf(prompt.root, thread);
    this.#forget(key);
    if (bytesOf(prompt) > this.#bytesMax) return;
    this.#byThread.set(key, prompt);
    this.#latest.set(prompt.root, key);
    this.#bytes += bytesOf(prompt);
    for (const oldest of this.#byThread.keys()) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    const prompt = this.#byThread.get(key);
    if (prompt === undefined) return;
    this.#byThread.delete(key);
    this.#bytes -= bytesOf(prompt);
    if (this.#latest.get(prompt.root) === key) this.#latest.delete(prompt.root);
  }
}

function keyOf(root: BlockHash, thread: string): string {
  return `${root} ${thread}`;
}

/** A string counts two bytes a unit, though V8 may need only one; the rest is exact but for headers. */
function bytesOf({ text, ids, cuts, hashes }: Remembered): number {
  const arrays = ids.byteLength + cuts.text.byteLength + cuts.ids.byteLength + hashes.byteLength;
  return 2 * text.length + arrays;
}

function sharedWith(of: Remembered, text: string, specialMax: number): Shared | undefined {
  const common = commonLength(of.text, text);
  // A special token of the new text that begins before the cut is seen whole within what is common.
  const cuts = upperBound(of.cuts.text, common - specialMax) - 1;
  if (cuts < 0 || of.cuts.ids[cuts] < SHARED_IDS_MIN) return undefined;
  return { of, textEnd: of.cuts.text[cuts], idsEnd: of.cuts.ids[cuts], cuts };
}

/** UTF-16 units that both begin with: halves that are equal are never looked at again. */
export function commonLength(a: string, b: string): number {
  let low = 0;
  let high = Math.min(a.length, b.length);
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (a.slice(low, middle) === b.slice(low, middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** How many of the ascending values are at most `limit`. */
function upperBound(values: Uint32Array, limit: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
