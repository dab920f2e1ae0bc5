/**
 * A context that grows: which stretches of text it is made of, and the blocks they fill. Nobody needs the
 * text; a stretch is a number, and the same stretches in the same order are the same blocks.
 */
import type { BlockScope } from '../trace-builder.ts';

/** Stretches have fewer tokens: a block's name is its stretch and where in it the block ends. */
const STRETCH_TOKENS_MAX = 2 ** 24;

export interface Stretch {
  id: number;
  tokens: number;
}

export class Context {
  readonly #scope: BlockScope;
  readonly #blockTokens: number;
  readonly #stretches: Stretch[] = [];
  /** Of each full block, first to last. */
  readonly #nodes: number[] = [];
  tokens = 0;

  constructor(scope: BlockScope, blockTokens: number) {
    this.#scope = scope;
    this.#blockTokens = blockTokens;
  }

  /** Last full block; 0, the root, while there is none. */
  get leaf(): number {
    return this.#nodes.at(-1) ?? 0;
  }

  append(stretch: Stretch): void {
    const begin = this.tokens;
    this.#stretches.push(stretch);
    this.tokens += stretch.tokens;
    // A block that ends in this stretch may begin in an earlier one; its parent says in which.
    for (let end = (this.#nodes.length + 1) * this.#blockTokens; end <= this.tokens; ) {
      this.#nodes.push(
        this.#scope.child(this.leaf, stretch.id * STRETCH_TOKENS_MAX + (end - begin)),
      );
      end += this.#blockTokens;
    }
  }

  /** Another context with the first `tokens` of this one. */
  head(tokens: number): Context {
    const head = new Context(this.#scope, this.#blockTokens);
    for (const stretch of this.#stretches) {
      const left = tokens - head.tokens;
      if (left <= 0) break;
      head.append({ id: stretch.id, tokens: Math.min(left, stretch.tokens) });
    }
    return head;
  }
}
