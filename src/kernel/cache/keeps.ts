/**
 * Chains that somebody wants kept: until a time, or until they are released. Their blocks hold a lock
 * of their own kind (tree.ts), so they stay in some tier: one that a file has may leave host memory.
 *
 * Several keeps may share blocks; a block goes when the last of them lets go of it.
 */
import { assert } from '../../base/assert.ts';
import { type Block, type BlockTree, chainOf } from './tree.ts';

/** More are refused. */
const KEEPS_MAX = 10_000;

interface Keep {
  end: Block;
  /** Microseconds; undefined: until it is released. */
  untilUs: number | undefined;
}

export class Keeps {
  readonly #tree: BlockTree;
  /** Those begun or renewed last come last. */
  readonly #keeps = new Map<string, Keep>();
  readonly #blocks = new Set<Block>();
  /** No keep lapses before. */
  #nextUs = Number.POSITIVE_INFINITY;

  constructor(tree: BlockTree) {
    this.#tree = tree;
  }

  get blockCount(): number {
    return this.#blocks.size;
  }

  get isFull(): boolean {
    return this.#keeps.size >= KEEPS_MAX;
  }

  /** Blocks that no file has: they stay in memory whatever comes. */
  get unfiledCount(): number {
    let count = 0;
    for (const { file } of this.#blocks) if (file?.state !== 'saved') count++;
    return count;
  }

  has(key: string): boolean {
    return this.#keeps.has(key);
  }

  /** Under a key that is free. */
  add(key: string, chain: readonly Block[], untilUs: number | undefined): void {
    assert(!this.#keeps.has(key) && chain.length > 0, 'a keep is of something, and begins once');
    this.#tree.keep(chain);
    for (const block of chain) this.#blocks.add(block);
    this.#keeps.set(key, { end: chain[chain.length - 1], untilUs });
    this.#nextUs = Math.min(this.#nextUs, untilUs ?? Number.POSITIVE_INFINITY);
  }

  /** Returns what is idle now. */
  drop(key: string): Block[] {
    const keep = this.#keeps.get(key);
    if (keep === undefined) return [];
    this.#keeps.delete(key);
    return this.#unkeep(chainOf(keep.end));
  }

  /** Ends what lapsed. Returns what is idle now. */
  lapse(nowUs: number): Block[] {
    if (nowUs < this.#nextUs) return [];
    this.#nextUs = Number.POSITIVE_INFINITY;
    const idle: Block[] = [];
    for (const [key, { untilUs = Number.POSITIVE_INFINITY }] of this.#keeps) {
      if (untilUs <= nowUs) idle.push(...this.drop(key));
      else this.#nextUs = Math.min(this.#nextUs, untilUs);
    }
    return idle;
  }

  /** Ends the oldest of all. Returns what is idle now; undefined where there was none. */
  dropOldest(): Block[] | undefined {
    for (const key of this.#keeps.keys()) return this.drop(key);
    return undefined;
  }

  /** Blocks are gone, and what is kept ends before them. Returns what is idle now. */
  letGo(doomed: ReadonlySet<Block>): Block[] {
    const idle: Block[] = [];
    for (const [key, keep] of this.#keeps) {
      const chain = chainOf(keep.end);
      const first = chain.findIndex((block) => doomed.has(block));
      if (first < 0) continue;
      idle.push(...this.#unkeep(chain.slice(first)));
      if (first === 0) this.#keeps.delete(key);
      else keep.end = chain[first - 1];
    }
    return idle;
  }

  check(): void {
    const counts = new Map<Block, number>();
    for (const { end } of this.#keeps.values()) {
      for (const block of chainOf(end)) counts.set(block, (counts.get(block) ?? 0) + 1);
    }
    assert(counts.size === this.#blocks.size, 'kept blocks are counted');
    for (const block of this.#blocks) {
      assert(!block.forgotten, 'what is kept is not forgotten');
      assert(block.keeps === counts.get(block), 'each keep holds its chain');
    }
  }

  #unkeep(chain: readonly Block[]): Block[] {
    const idle = this.#tree.unkeep(chain);
    for (const block of chain) if (block.keeps === 0) this.#blocks.delete(block);
    return idle;
  }
}
