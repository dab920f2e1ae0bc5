/** Which worker holds which block in which tier, as KV events tell. Simple: a map of maps. */
import { assert } from '../../base/assert.ts';
import { type BlockHash, type BlockHashes, TIERS, type Tier } from '../../model/block.ts';
import type { WorkerId } from '../../model/ids.ts';

export class ExactIndex {
  /** Per block and worker, one bit per tier. */
  readonly #holders = new Map<BlockHash, Map<WorkerId, number>>();
  readonly #counts = new Map<WorkerId, number>();

  get blockCount(): number {
    return this.#holders.size;
  }

  /** Distinct blocks the worker holds. */
  count(worker: WorkerId): number {
    return this.#counts.get(worker) ?? 0;
  }

  stored(worker: WorkerId, hashes: BlockHashes, tier: Tier): void {
    const bit = 1 << TIERS.indexOf(tier);
    for (const hash of hashes) {
      let holders = this.#holders.get(hash);
      if (holders === undefined) this.#holders.set(hash, (holders = new Map()));
      const before = holders.get(worker) ?? 0;
      holders.set(worker, before | bit);
      if (before === 0) this.#counts.set(worker, this.count(worker) + 1);
    }
  }

  removed(worker: WorkerId, hashes: BlockHashes, tier: Tier): void {
    const bit = 1 << TIERS.indexOf(tier);
    for (const hash of hashes) {
      const holders = this.#holders.get(hash);
      const before = holders?.get(worker);
      if (holders === undefined || before === undefined) continue;
      if ((before & ~bit) !== 0) holders.set(worker, before & ~bit);
      else this.#drop(worker, hash, holders);
    }
  }

  cleared(worker: WorkerId): void {
    for (const [hash, holders] of this.#holders) {
      if (holders.has(worker)) this.#drop(worker, hash, holders);
    }
    this.#counts.delete(worker);
  }

  /** Leading blocks each worker holds, in any tier; workers that hold none are left out. */
  depths(hashes: BlockHashes): Map<WorkerId, number> {
    const depths = new Map<WorkerId, number>();
    let active: WorkerId[] | undefined;
    for (let i = 0; i < hashes.length; i++) {
      const holders = this.#holders.get(hashes[i]);
      if (holders === undefined) break;
      active = active === undefined ? [...holders.keys()] : active.filter((w) => holders.has(w));
      if (active.length === 0) break;
      for (const worker of active) depths.set(worker, i + 1);
    }
    return depths;
  }

  check(): void {
    const counts = new Map<WorkerId, number>();
    for (const holders of this.#holders.values()) {
      assert(holders.size > 0, 'a block without holders is forgotten');
      for (const worker of holders.keys()) counts.set(worker, (counts.get(worker) ?? 0) + 1);
    }
    assert(counts.size === this.#counts.size, 'each worker is counted');
    for (const [worker, count] of counts)
      assert(this.count(worker) === count, 'blocks are counted');
  }

  #drop(worker: WorkerId, hash: BlockHash, holders: Map<WorkerId, number>): void {
    holders.delete(worker);
    if (holders.size === 0) this.#holders.delete(hash);
    const left = this.count(worker) - 1;
    if (left === 0) this.#counts.delete(worker);
    else this.#counts.set(worker, left);
  }
}
