/**
 * What a worker would hold that was sent certain prompts: a model of a prefix cache that forgets its
 * least recently used prompt from the end backwards, as engines do with blocks. Prompts are kept whole
 * and compared by halving, so one prompt of thousands of blocks costs a few comparisons, not thousands
 * of table entries.
 *
 *   held    a b c d e f       5 prompts, oldest first; distinct blocks = nodes of the tree they make
 *           a b c x y
 *           a b q …
 */
import { assert } from '../../base/assert.ts';
import type { BlockHashes } from '../../model/block.ts';

/**
 * A prompt's block hashes, cut to 32 bits each: a block is equal only where all before it are, and one
 * wrong equality in four thousand million harms no model.
 */
export type PromptChain = Uint32Array;

export function chainOf(hashes: BlockHashes): PromptChain {
  const words = new Uint32Array(hashes.buffer, hashes.byteOffset, hashes.length * 2);
  const chain = new Uint32Array(hashes.length);
  for (let i = 0; i < chain.length; i++) chain[i] = words[2 * i];
  return chain;
}

interface Held {
  chain: PromptChain;
  /** Its leading blocks that are still there. */
  blocks: number;
}

export interface PromptCacheLimits {
  /** Distinct blocks: what the worker has room for. */
  blocksMax: number;
  /** A look-up compares with so many prompts. */
  promptsMax: number;
  /** Memory, in 32-bit words: hashes of all prompts, each in full. */
  wordsMax: number;
}

export class PromptCache {
  #limits: PromptCacheLimits;
  /** Oldest first. */
  readonly #held: Held[] = [];
  #blocks = 0;
  /** Of all chains together, blocks that prompts share counted in each. */
  #words = 0;

  constructor(limits: PromptCacheLimits) {
    this.#limits = limits;
  }

  /** What no longer fits is forgotten at the next prompt. */
  resize(limits: PromptCacheLimits): void {
    this.#limits = limits;
  }

  /** Distinct blocks held. */
  get blocks(): number {
    return this.#blocks;
  }

  /** Leading blocks of the prompt that are held. */
  depth(chain: PromptChain): number {
    return this.#shared(chain, chain.length, undefined);
  }

  /** The prompt was computed here: all its blocks are the most recent now. */
  hold(chain: PromptChain): void {
    if (chain.length === 0) return;
    this.#blocks += chain.length - this.depth(chain);
    // What the new prompt continues is one with it.
    for (let i = this.#held.length - 1; i >= 0; i--) {
      const { blocks, chain: old } = this.#held[i];
      if (blocks > chain.length || old[blocks - 1] !== chain[blocks - 1]) continue;
      this.#words -= old.length;
      this.#held.splice(i, 1);
    }
    this.#held.push({ chain, blocks: chain.length });
    this.#words += chain.length;
    const { blocksMax, promptsMax, wordsMax } = this.#limits;
    while (this.#held.length > promptsMax || this.#words > wordsMax) {
      this.#forget(this.#held[0].blocks);
    }
    while (this.#blocks > blocksMax) this.#forget(this.#blocks - blocksMax);
  }

  check(): void {
    const nodes = new Set<number>();
    for (const { chain, blocks } of this.#held) {
      assert(blocks > 0 && blocks <= chain.length, 'a prompt that is held has blocks');
      for (let i = 0; i < blocks; i++) nodes.add(chain[i]);
    }
    assert(nodes.size === this.#blocks, 'distinct blocks are counted once');
    const words = this.#held.reduce((sum, { chain }) => sum + chain.length, 0);
    assert(words === this.#words, 'every chain is counted');
  }

  /** Takes up to `wanted` blocks from the oldest prompt's end that no other prompt shares. */
  #forget(wanted: number): void {
    const [oldest] = this.#held;
    const own = oldest.blocks - this.#shared(oldest.chain, oldest.blocks, oldest);
    const gone = Math.min(own, wanted);
    this.#blocks -= gone;
    oldest.blocks -= gone;
    if (gone < own) return;
    this.#words -= oldest.chain.length;
    this.#held.shift();
  }

  /** Leading blocks of `chain` that some prompt holds, one excepted. */
  #shared(chain: PromptChain, length: number, except: Held | undefined): number {
    let best = 0;
    for (const held of this.#held) {
      if (held !== except) best = common(chain, held.chain, best, Math.min(length, held.blocks));
    }
    return best;
  }
}

/** Blocks both share from the start: at least `low`, at most `high`. */
function common(a: PromptChain, b: PromptChain, low: number, high: number): number {
  // Most have no more in common than was found before: one look tells.
  if (high <= low || a[low] !== b[low]) return low;
  let shared = low + 1;
  let most = high;
  while (shared < most) {
    const middle = (shared + most + 1) >> 1;
    if (a[middle - 1] === b[middle - 1]) shared = middle;
    else most = middle - 1;
  }
  return shared;
}
