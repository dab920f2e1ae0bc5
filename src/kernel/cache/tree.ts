/**
 * The prefix tree of one engine's KV blocks. Hashes are chained, so a flat map from hash to block is
 * already a tree; what it adds is who depends on whom and who may leave.
 *
 *     root ─ A ─ B ─ C          C, B, A   locked by a running sequence: none may leave
 *                 └─ D ─ E      E, D      idle: oldest first, and a child is always older than
 *                                         its parent, so the oldest idle block is a leaf
 *
 * Locks cover a chain from its first block, and unlocking returns a chain deepest first: that keeps
 * the order above without ever sorting.
 */
import { assert, must } from '../../base/assert.ts';
import type { BlockHash, BlockHashes } from '../../model/block.ts';
import type { Handle } from '../../model/step.ts';

export interface Block {
  readonly hash: BlockHash;
  readonly parent: Block | undefined;
  /** Its place in its chain: 0 for the first block of a prompt. */
  readonly index: number;
  /** The ids it covers. */
  readonly tokens: Uint32Array;
  /** Cache salt of its chain. */
  readonly salt: string;
  children: number;
  locks: number;
  /** Slots that hold a copy of its KV. */
  slots: number[];
  /** Its place in the host store. */
  host: Handle | undefined;
}

export class BlockTree {
  readonly #blocks = new Map<BlockHash, Block>();
  /** Unlocked blocks, the one to leave first in front. */
  readonly #idle = new Map<BlockHash, Block>();

  get size(): number {
    return this.#blocks.size;
  }

  get idleCount(): number {
    return this.#idle.size;
  }

  get(hash: BlockHash): Block | undefined {
    return this.#blocks.get(hash);
  }

  /** The longest chain of known blocks that leads `hashes`, at most `limit` long. */
  match(hashes: BlockHashes, limit: number): Block[] {
    const chain: Block[] = [];
    while (chain.length < limit && chain.length < hashes.length) {
      const block = this.#blocks.get(hashes[chain.length]);
      if (block === undefined) break;
      chain.push(block);
    }
    return chain;
  }

  /** A new block, locked once, under a parent that is locked. */
  add(given: {
    hash: BlockHash;
    parent: Block | undefined;
    tokens: Uint32Array;
    salt: string;
  }): Block {
    assert(!this.#blocks.has(given.hash), 'a block is added once');
    assert(
      given.parent === undefined || given.parent.locks > 0,
      'a parent stays while its child comes',
    );
    const index = given.parent === undefined ? 0 : given.parent.index + 1;
    const block: Block = { ...given, index, children: 0, locks: 1, slots: [], host: undefined };
    if (block.parent !== undefined) block.parent.children++;
    this.#blocks.set(block.hash, block);
    return block;
  }

  lock(chain: readonly Block[]): void {
    for (const block of chain) {
      if (block.locks++ === 0) this.#idle.delete(block.hash);
    }
  }

  unlock(chain: readonly Block[]): void {
    for (let i = chain.length - 1; i >= 0; i--) {
      const block = chain[i];
      assert(block.locks > 0, 'a lock is returned once');
      if (--block.locks === 0) this.#idle.set(block.hash, block);
    }
  }

  /** The block to leave first; undefined when all are in use. */
  oldest(): Block | undefined {
    return this.#idle.values().next().value;
  }

  remove(block: Block): void {
    assert(block.locks === 0 && block.children === 0, 'only an unused leaf leaves');
    if (block.parent !== undefined) block.parent.children--;
    this.#idle.delete(block.hash);
    this.#blocks.delete(block.hash);
  }

  blocks(): IterableIterator<Block> {
    return this.#blocks.values();
  }

  check(): void {
    const children = new Map<BlockHash, number>();
    for (const block of this.#blocks.values()) {
      assert((block.locks === 0) === this.#idle.has(block.hash), 'a block is idle or locked');
      if (block.parent === undefined) continue;
      const parent = must(this.#blocks.get(block.parent.hash), 'a parent outlives its child');
      assert(parent.locks >= block.locks, 'a lock covers the whole chain');
      children.set(parent.hash, (children.get(parent.hash) ?? 0) + 1);
    }
    for (const block of this.#blocks.values()) {
      assert(block.children === (children.get(block.hash) ?? 0), 'children are counted');
    }
    const seen = new Set<BlockHash>();
    for (const block of this.#idle.values()) {
      assert(block.parent === undefined || !seen.has(block.parent.hash), 'children leave first');
      seen.add(block.hash);
    }
  }
}
