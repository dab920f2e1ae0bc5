/**
 * What workers without events probably hold: what we sent there lately, bounded by the worker's
 * capacity and by time.
 */
import { assert } from '../../base/assert.ts';
import type { BlockHash, BlockHashes } from '../../model/block.ts';
import type { WorkerId } from '../../model/ids.ts';

export class PredictedIndex {
  /** Per worker: block → when the belief ends. Least recently used first. */
  readonly #believed = new Map<WorkerId, Map<BlockHash, number>>();
  readonly #limits: { blocksMax: number; beliefUs: number };

  constructor(limits: { blocksMax: number; beliefUs: number }) {
    this.#limits = limits;
  }

  count(worker: WorkerId): number {
    return this.#believed.get(worker)?.size ?? 0;
  }

  placed(nowUs: number, worker: WorkerId, hashes: BlockHashes, capacityBlocks: number): void {
    let blocks = this.#believed.get(worker);
    if (blocks === undefined) this.#believed.set(worker, (blocks = new Map()));
    // Deepest first, so that a prefix is always believed for longer than what follows it.
    for (let i = hashes.length - 1; i >= 0; i--) {
      blocks.delete(hashes[i]);
      blocks.set(hashes[i], nowUs + this.#limits.beliefUs);
    }
    const limit = Math.min(capacityBlocks, this.#limits.blocksMax);
    for (const hash of blocks.keys()) {
      if (blocks.size <= limit) break;
      blocks.delete(hash);
    }
  }

  cleared(worker: WorkerId): void {
    this.#believed.delete(worker);
  }

  depth(nowUs: number, worker: WorkerId, hashes: BlockHashes): number {
    const blocks = this.#believed.get(worker);
    if (blocks === undefined) return 0;
    let depth = 0;
    while (depth < hashes.length && (blocks.get(hashes[depth]) ?? 0) > nowUs) depth++;
    return depth;
  }

  check(): void {
    for (const blocks of this.#believed.values()) {
      assert(blocks.size <= this.#limits.blocksMax, 'beliefs are bounded');
    }
  }
}
