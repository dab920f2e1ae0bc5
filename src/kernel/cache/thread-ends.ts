/**
 * How far each thread's KV reaches: the last block that is known of its last request. A block that is
 * forgotten hands its threads to the one before it, so that what is left of a thread is always found.
 */
import { assert, must } from '../../base/assert.ts';
import { Lru } from '../../base/lru.ts';
import type { Block } from './tree.ts';

/** Threads remembered; the one unused for longest is forgotten. */
const THREADS_MAX = 10_000;

export class ThreadEnds {
  readonly #ends = new Lru<string, Block>(THREADS_MAX);
  readonly #threads = new Map<Block, Set<string>>();

  get(thread: string): Block | undefined {
    return this.#ends.get(thread);
  }

  set(thread: string, end: Block): void {
    const before = this.#ends.peek(thread);
    if (before === end) return;
    if (before !== undefined) this.#leave(thread, before);
    const oldest = this.#ends.set(thread, end);
    if (oldest !== undefined) this.#leave(oldest.key, oldest.value);
    const threads = this.#threads.get(end);
    if (threads === undefined) this.#threads.set(end, new Set([thread]));
    else threads.add(thread);
  }

  /** The block is not known any more. */
  forget(block: Block): void {
    for (const thread of this.#threads.get(block) ?? []) {
      if (block.parent === undefined) {
        this.#leave(thread, block);
        this.#ends.delete(thread);
      } else {
        this.set(thread, block.parent);
      }
    }
  }

  check(): void {
    let count = 0;
    for (const [block, threads] of this.#threads) {
      assert(!block.forgotten, 'a thread ends with a block that is known');
      for (const thread of threads)
        assert(this.#ends.peek(thread) === block, 'a thread has one end');
      count += threads.size;
    }
    assert(count === this.#ends.size, 'each thread ends somewhere');
  }

  #leave(thread: string, end: Block): void {
    const threads = must(this.#threads.get(end), 'an end knows its threads');
    threads.delete(thread);
    if (threads.size === 0) this.#threads.delete(end);
  }
}
