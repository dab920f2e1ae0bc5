/**
 * Prompts → ids and block hashes, computing only what the thread's last prompt did not hold.
 *
 *   text ─ what is remembered ─► tail ─ here, or in a thread if long ─► ids ─► hashes of new blocks
 */
import type { BlockHash, BlockHashes } from '../model/block.ts';
import type { EncodedPrompt, PromptEncoder, Tokens } from '../ports.ts';
import { type Cuts, PromptMemory, type Remembered, type Shared } from './prompt-memory.ts';

export interface PromptEncoderSettings {
  /** Remembered prompts take at most this. */
  bytesMax: number;
  /** Longer tails are encoded in the thread, where there is one: at worst 1 µs a unit is spent here. */
  hereMax: number;
}

/** Encodes a text somewhere else than on this event loop. */
export type Elsewhere = (text: string) => Promise<Uint32Array>;

export class IncrementalEncoder implements PromptEncoder {
  readonly #tokens: Tokens;
  readonly #elsewhere: Elsewhere | undefined;
  readonly #settings: PromptEncoderSettings;
  readonly #memory: PromptMemory;
  readonly #specialMax: number;
  /** By id: nearly all are not, which a table says soonest. */
  readonly #isSpecial: Uint8Array;
  /** Ids that were encoded, and ids that were remembered instead. */
  readonly totals = { encoded: 0, remembered: 0, seamsRefused: 0 };

  constructor(given: {
    tokens: Tokens;
    elsewhere: Elsewhere | undefined;
    settings: PromptEncoderSettings;
  }) {
    this.#tokens = given.tokens;
    this.#elsewhere = given.elsewhere;
    this.#settings = given.settings;
    this.#memory = new PromptMemory(given.settings.bytesMax);
    const { specials, vocabularySize } = given.tokens;
    this.#specialMax = [...specials.values()].reduce((max, text) => Math.max(max, text.length), 0);
    this.#isSpecial = new Uint8Array(vocabularySize);
    for (const id of specials.keys()) this.#isSpecial[id] = 1;
  }

  async encode(
    text: string,
    { thread, root }: { thread: string; root: BlockHash },
  ): Promise<EncodedPrompt> {
    const shared = this.#memory.find(thread, root, text, this.#specialMax);
    const prompt =
      (shared && (await this.#continue(text, root, shared))) ??
      this.#built(text, root, await this.#ids(text), undefined);
    this.#memory.remember(thread, prompt);
    return { ids: prompt.ids, hashes: prompt.hashes };
  }

  /** Undefined where the seam does not hold: both sides begin with the same special token. */
  async #continue(text: string, root: BlockHash, shared: Shared): Promise<Remembered | undefined> {
    const tail = await this.#ids(text.slice(shared.textEnd));
    if (tail[0] === shared.of.ids[shared.idsEnd]) return this.#built(text, root, tail, shared);
    this.totals.seamsRefused++;
    return undefined;
  }

  #built(text: string, root: BlockHash, tail: Uint32Array, shared: Shared | undefined): Remembered {
    const textEnd = shared?.textEnd ?? 0;
    const idsEnd = shared?.idsEnd ?? 0;
    const ids = new Uint32Array(idsEnd + tail.length);
    if (shared !== undefined) ids.set(shared.of.ids.subarray(0, idsEnd));
    ids.set(tail, idsEnd);
    this.totals.encoded += tail.length;
    this.totals.remembered += idsEnd;
    const found = this.#cuts(text, textEnd, ids, idsEnd);
    const cuts = shared === undefined ? found : joined(shared, found);
    return { root, text, ids, cuts, hashes: this.#hashes(root, ids, shared) };
  }

  #hashes(root: BlockHash, ids: Uint32Array, shared: Shared | undefined): BlockHashes {
    const { hasher } = this.#tokens;
    if (shared === undefined) return hasher.blocks(root, ids);
    const kept = Math.floor(shared.idsEnd / hasher.blockTokens);
    if (kept === 0) return hasher.blocks(root, ids);
    const known = shared.of.hashes.subarray(0, kept);
    const more = hasher.blocks(known[kept - 1], ids.subarray(kept * hasher.blockTokens));
    const hashes = new BigUint64Array(kept + more.length);
    hashes.set(known);
    hashes.set(more, kept);
    return hashes;
  }

  /** Special tokens come in the same order in the text and in its ids, and nothing else makes theirs. */
  #cuts(text: string, textStart: number, ids: Uint32Array, idsStart: number): Cuts {
    const { specials } = this.#tokens;
    const inText: number[] = [];
    const inIds: number[] = [];
    let at = textStart;
    for (let i = idsStart; i < ids.length; i++) {
      if (this.#isSpecial[ids[i]] !== 1) continue;
      const special = specials.get(ids[i]) as string;
      const begin = text.indexOf(special, at);
      if (begin < 0) break;
      inText.push(begin);
      inIds.push(i);
      at = begin + special.length;
    }
    return { text: Uint32Array.from(inText), ids: Uint32Array.from(inIds) };
  }

  #ids(text: string): Uint32Array | Promise<Uint32Array> {
    const isLong = text.length > this.#settings.hereMax;
    return isLong && this.#elsewhere !== undefined
      ? this.#elsewhere(text)
      : this.#tokens.encode(text);
  }
}

function joined({ of, cuts }: Shared, found: Cuts): Cuts {
  const join = (known: Uint32Array, more: Uint32Array) => {
    const all = new Uint32Array(cuts + more.length);
    all.set(known.subarray(0, cuts));
    all.set(more, cuts);
    return all;
  };
  return { text: join(of.cuts.text, found.text), ids: join(of.cuts.ids, found.ids) };
}
