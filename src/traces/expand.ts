/**
 * Token ids for a trace that has none, so that it can be replayed live: each block of the tree becomes the
 * same seeded ids wherever it occurs. Where a thread's next prompt goes on from this one, the tail of this prompt
 * that fills no block, and the answer, are what the next prompt has there:
 *
 *     turn t      ■■■■ ■■■■ ■■|▒▒▒▒▒▒          ■ prompt   ▒ answer
 *     turn t + 1  ■■■■ ■■■■ ■■▒▒ ▒▒▒▒ ■■■■ ■|
 *
 * so prompt t + 1 = prompt t + answer t + what is new, token by token, and an engine that is made to answer so finds
 * it all in its cache.
 */
import { Prng } from '../base/prng.ts';
import { depthMax, pathOf, type Trace } from './trace.ts';

export interface ExpandedTurn {
  prompt: Uint32Array;
  output: Uint32Array;
}

export class Expansion {
  readonly #trace: Trace;
  readonly #vocabulary: Uint32Array;
  readonly #seed: number;
  readonly #path: Uint32Array;

  /** Ids are drawn from `vocabulary`: plain words, so that nothing stops or steers an engine. */
  constructor(trace: Trace, given: { seed: number; vocabulary: Uint32Array }) {
    this.#trace = trace;
    this.#vocabulary = given.vocabulary;
    this.#seed = given.seed;
    this.#path = new Uint32Array(depthMax(trace));
  }

  turn(turn: number): ExpandedTurn {
    const { promptTokens, outputTokens } = this.#trace;
    const text = this.#text(turn, promptTokens[turn] + outputTokens[turn]);
    return { prompt: text.slice(0, promptTokens[turn]), output: text.slice(promptTokens[turn]) };
  }

  /** The first `length` tokens of prompt and answer together, as this thread goes on with them. */
  #text(turn: number, length: number): Uint32Array {
    const text = new Uint32Array(length);
    let last = turn;
    let filled = this.#fill(text, { turn, from: 0 });
    // Each later prompt says a little more of what this one leaves open, until one goes another way.
    while (filled < length && this.#isContinued(last)) {
      last++;
      filled = this.#fill(text, { turn: last, from: filled });
    }
    // Named by the turn with which this way ends, so that all turns on it have the same tail.
    const tail = this.#words(`tail ${last}`);
    for (let i = this.#blockEnd(last); i < length; i++) {
      const word = tail();
      if (i >= filled) text[i] = word;
    }
    return text;
  }

  /** Tokens from `from` to where the turn's blocks end; returns how many of the text are known then. */
  #fill(text: Uint32Array, { turn, from }: { turn: number; from: number }): number {
    const { tree, leaf, blockTokens } = this.#trace;
    const path = this.#path;
    pathOf(tree, leaf[turn], path);
    const end = Math.min(this.#blockEnd(turn), text.length);
    for (let block = Math.floor(from / blockTokens); block * blockTokens < end; block++) {
      const words = this.#words(`block ${path[block]}`);
      for (let i = block * blockTokens; i < Math.min(end, (block + 1) * blockTokens); i++) {
        const word = words();
        if (i >= from) text[i] = word;
      }
    }
    return Math.max(from, end);
  }

  /** Where the turn's blocks end; a last block that is not full ends with the prompt. */
  #blockEnd(turn: number): number {
    const { tree, leaf, blockTokens, promptTokens } = this.#trace;
    return Math.min(tree.depth[leaf[turn]] * blockTokens, promptTokens[turn]);
  }

  /** Whether the next turn is of the same thread and goes on from this one's prompt. */
  #isContinued(turn: number): boolean {
    const { tree, leaf, turnThread, turnCount, promptTokens } = this.#trace;
    const next = turn + 1;
    if (next >= turnCount || turnThread[next] !== turnThread[turn]) return false;
    if (promptTokens[next] < promptTokens[turn]) return false;
    let node = leaf[next];
    while (tree.depth[node] > tree.depth[leaf[turn]]) node = tree.parent[node];
    return node === leaf[turn];
  }

  #words(name: string): () => number {
    const rng = new Prng(this.#seed).fork(name);
    const vocabulary = this.#vocabulary;
    return () => vocabulary[rng.below(vocabulary.length)];
  }
}
