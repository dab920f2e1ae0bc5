/**
 * The prefix tree of one engine's KV blocks. Hashes are chained, so a flat map from hash to block is
 * already a tree; what it adds is who depends on whom, where each block lies, and who may leave.
 *
 *     root ─ A ─ B ─ C          C, B, A   locked by a running sequence: none may leave
 *                 └─ D ─ E      E, D      idle: a child's stamp is always lower than its parent's,
 *                                         so of any tier the lowest stamp is a leaf
 *
 * Locks cover a chain from its first block, and unlocking returns a chain deepest first: that keeps
 * the order above without ever sorting.
 */
import { assert, must } from '../../base/assert.ts';
import type { BlockHash, BlockHashes } from '../../model/block.ts';
import type { Handle } from '../../model/step.ts';
import type { CacheFile } from './disk.ts';
import { Leaves } from './leaves.ts';

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
  /** Who uses it or keeps it; of them, those that only keep it: see keeps.ts. */
  locks: number;
  keeps: number;
  /** Not wanted any more: first to leave. Until it is used again. */
  released: boolean;
  /** Leaves the host store as soon as a file has it. Until it is used again. */
  sinking: boolean;
  /** Order of its last use, and the turn it was in. */
  stamp: number;
  usedTurn: number;
  /** Slots that hold a copy of its KV. */
  slots: number[];
  /** Its place in the host store, and whether its bytes are still on their way there. */
  host: Handle | undefined;
  arriving: boolean;
  /** Children that have a place in the host store. */
  hostChildren: number;
  /** The file that holds it, or will when it is written. */
  file: CacheFile | undefined;
  /** Children that have a file. */
  fileChildren: number;
  forgotten: boolean;
}

export class BlockTree {
  readonly #blocks = new Map<BlockHash, Block>();
  readonly #leaves = new Leaves<Block>({
    stampOf: (block) => block.stamp,
    isLeaf: (block) => block.locks === 0 && block.children === 0 && !block.forgotten,
  });
  #idleCount = 0;
  #stamps = 0;
  /** Stamps of what was released: lower than all others, the latest lowest. */
  #releases = 0;
  #turns = 0;

  get size(): number {
    return this.#blocks.size;
  }

  get idleCount(): number {
    return this.#idleCount;
  }

  /** Counts how often a chain was let go of. */
  get turn(): number {
    return this.#turns;
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
    const { hash, parent, tokens, salt } = given;
    assert(!this.#blocks.has(hash), 'a block is added once');
    assert(parent === undefined || parent.locks > 0, 'a parent stays while its child comes');
    const block: Block = {
      hash,
      parent,
      index: parent === undefined ? 0 : parent.index + 1,
      tokens,
      salt,
      children: 0,
      locks: 1,
      keeps: 0,
      released: false,
      sinking: false,
      stamp: 0,
      usedTurn: this.#turns,
      slots: [],
      host: undefined,
      arriving: false,
      hostChildren: 0,
      file: undefined,
      fileChildren: 0,
      forgotten: false,
    };
    if (parent !== undefined) parent.children++;
    this.#blocks.set(hash, block);
    return block;
  }

  lock(chain: readonly Block[]): void {
    for (const block of chain) {
      if (block.locks++ === 0) this.#idleCount--;
      block.released = false;
      block.sinking = false;
    }
  }

  /** Whoever used the chain is done. Returns what nobody uses now, kept or not. */
  unlock(chain: readonly Block[]): Block[] {
    const unused: Block[] = [];
    this.#turns++;
    for (let i = chain.length - 1; i >= 0; i--) {
      const block = chain[i];
      assert(block.locks > block.keeps, 'a lock is returned once');
      if (--block.locks > block.keeps) continue;
      block.stamp = ++this.#stamps;
      block.usedTurn = this.#turns;
      if (block.locks === 0) this.#rest(block);
      unused.push(block);
    }
    return unused;
  }

  /** A lock that is no use: the order in which blocks leave stays as it is. */
  keep(chain: readonly Block[]): void {
    for (const block of chain) {
      if (block.locks++ === 0) this.#idleCount--;
      block.keeps++;
      block.released = false;
    }
  }

  /** Returns what is idle now. */
  unkeep(chain: readonly Block[]): Block[] {
    const idle: Block[] = [];
    for (let i = chain.length - 1; i >= 0; i--) {
      const block = chain[i];
      assert(block.keeps > 0, 'who lets go of a block has kept it');
      block.keeps--;
      if (--block.locks > 0) continue;
      this.#rest(block);
      idle.push(block);
    }
    return idle;
  }

  /** The end of the chain that is idle, and that no other chain goes through, leaves before all others. */
  release(chain: readonly Block[]): Block[] {
    let first = chain.length;
    while (first > 0) {
      const { locks, children } = chain[first - 1];
      if (locks > 0 || children > (first === chain.length ? 0 : 1)) break;
      first--;
    }
    const released = chain.slice(first);
    for (const block of released) {
      block.stamp = --this.#releases;
      block.released = true;
      this.#leaves.offer(block);
    }
    return released;
  }

  /** The idle leaf to leave first; undefined when all are in use. */
  choose(worth: (block: Block) => number): Block | undefined {
    return this.#leaves.choose(worth);
  }

  oldest(): Block | undefined {
    return this.#leaves.oldest();
  }

  remove(block: Block): void {
    assert(block.locks === 0 && block.children === 0, 'only an unused leaf leaves');
    block.forgotten = true;
    this.#idleCount--;
    this.#blocks.delete(block.hash);
    if (block.parent === undefined) return;
    block.parent.children--;
    this.#leaves.offer(block.parent);
  }

  blocks(): IterableIterator<Block> {
    return this.#blocks.values();
  }

  check(): void {
    const children = new Map<BlockHash, number>();
    let idle = 0;
    for (const block of this.#blocks.values()) {
      assert(!block.forgotten, 'what was forgotten is not found');
      if (block.locks === 0) idle++;
      assert(block.locks >= block.keeps, 'who keeps a block holds a lock');
      assert(block.locks === 0 || !block.released, 'what is used is not released');
      if (block.parent === undefined) continue;
      const parent = must(this.#blocks.get(block.parent.hash), 'a parent outlives its child');
      assert(parent === block.parent, 'a hash names one block');
      assert(parent.locks >= block.locks, 'a lock covers the whole chain');
      assert(parent.keeps >= block.keeps, 'a chain is kept from its first block on');
      assert(parent.locks > 0 || parent.stamp > block.stamp, 'children leave first');
      children.set(parent.hash, (children.get(parent.hash) ?? 0) + 1);
    }
    assert(idle === this.#idleCount, 'idle blocks are counted');
    const leaves = this.#leaves.all();
    for (const block of this.#blocks.values()) {
      assert(block.children === (children.get(block.hash) ?? 0), 'children are counted');
      const isLeaf = block.locks === 0 && block.children === 0;
      assert(isLeaf === leaves.has(block), 'every idle leaf can be found');
    }
  }

  #rest(block: Block): void {
    this.#idleCount++;
    this.#leaves.offer(block);
  }
}

/** The chain that ends with this block, first block first. */
export function chainOf(block: Block | undefined): Block[] {
  const chain: Block[] = [];
  for (let next = block; next !== undefined; next = next.parent) chain.push(next);
  return chain.reverse();
}
