/**
 * What may leave a tier first. Each tier is a forest of chains, and only its leaves may leave; they
 * are kept in order of age, and of the oldest few the one of least worth goes.
 *
 * Entries are checked when they are looked at: an item that was used again, or is no leaf any more,
 * is passed over, and entries that went stale are swept out before they outnumber the others.
 */
import { Heap } from '../../base/heap.ts';

/**
 * How many of the oldest leaves compete. Where there are few, the older half: compared with all, what
 * was used a moment ago and is asked for next went before long chains that nobody came back to.
 */
const LOOK = 8;
const SWEEP_AT_LEAST = 1024;

export interface LeafRules<T> {
  /** Counts up with each use; a child's is lower than its parent's. */
  stampOf(item: T): number;
  isLeaf(item: T): boolean;
}

export class Leaves<T> {
  readonly #rules: LeafRules<T>;
  #heap = new Heap<T>();
  #sweepAt = SWEEP_AT_LEAST;

  constructor(rules: LeafRules<T>) {
    this.#rules = rules;
  }

  /** To be called whenever the item may have become a leaf, or its stamp has changed. */
  offer(item: T): void {
    if (!this.#rules.isLeaf(item)) return;
    this.#heap.push(this.#rules.stampOf(item), item);
    if (this.#heap.size < this.#sweepAt) return;
    const live = this.#take(Number.POSITIVE_INFINITY);
    for (const leaf of live) this.#heap.push(this.#rules.stampOf(leaf), leaf);
    this.#sweepAt = Math.max(SWEEP_AT_LEAST, 2 * live.length);
  }

  /**
   * The leaf of least worth among the oldest; among equals the older one. What is worth
   * `Number.MAX_VALUE` or more should stay: where all of those should, the next that may go goes.
   * Nothing is changed.
   */
  choose(worth: (item: T) => number): T | undefined {
    const oldest = this.#take(2 * LOOK);
    const competing = Math.ceil(oldest.length / 2);
    let best: T | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const [i, leaf] of oldest.entries()) {
      this.#heap.push(this.#rules.stampOf(leaf), leaf);
      if (i >= competing && least < Number.MAX_VALUE) continue;
      const value = worth(leaf);
      if (best !== undefined && value >= least) continue;
      best = leaf;
      least = value;
    }
    return best;
  }

  /** The oldest leaf. */
  oldest(): T | undefined {
    const [leaf] = this.#take(1);
    if (leaf !== undefined) this.#heap.push(this.#rules.stampOf(leaf), leaf);
    return leaf;
  }

  /** For checks: all that would be found. */
  all(): Set<T> {
    const live = this.#take(Number.POSITIVE_INFINITY);
    for (const leaf of live) this.#heap.push(this.#rules.stampOf(leaf), leaf);
    return new Set(live);
  }

  /** Takes out up to `count` distinct leaves, oldest first, and drops what went stale. */
  #take(count: number): T[] {
    const taken = new Set<T>();
    while (taken.size < count) {
      const entry = this.#heap.pop();
      if (entry === undefined) break;
      const { key, value } = entry;
      if (key === this.#rules.stampOf(value) && this.#rules.isLeaf(value)) taken.add(value);
    }
    return [...taken];
  }
}
