/** Which worker holds which block in which tier, as KV events tell. Simple: a map of maps. */
import { assert } from '../../base/assert.ts';
import { type BlockHash, type BlockHashes, TIERS, type Tier } from '../../model/block.ts';
import type { WorkerId } from '../../model/ids.ts';

export class ExactIndex {
  /** Per block and worker, one bit per tier. */
  readonly #holders = new Map<BlockHash, Map<WorkerId, number>>();
  readonly #blocks = new Map<WorkerId, Set<BlockHash>>();

  get blockCount(): number {
    return this.#holders.size;
  }

  /** Distinct blocks the worker holds. */
  count(worker: WorkerId): number {
    return this.#blocks.get(worker)?.size ?? 0;
  }

  stored(worker: WorkerId, hashes: BlockHashes, tier: Tier): void {
    const bit = 1 << TIERS.indexOf(tier);
    let blocks = this.#blocks.get(worker);
    if (blocks === undefined) this.#blocks.set(worker, (blocks = new Set()));
    for (const hash of hashes) {
      let holders = this.#holders.get(hash);
      if (holders === undefined) this.#holders.set(hash, (holders = new Map()));
      holders.set(worker, (holders.get(worker) ?? 0) | bit);
      blocks.add(hash);
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
    for (const hash of this.#blocks.get(worker) ?? []) {
      const holders = this.#holders.get(hash);
      holders?.delete(worker);
      if (holders?.size === 0) this.#holders.delete(hash);
    }
    this.#blocks.delete(worker);
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
    let held = 0;
    for (const [hash, holders] of this.#holders) {
      assert(holders.size > 0, 'a block without holders is forgotten');
      held += holders.size;
      for (const worker of holders.keys()) {
        assert(this.#blocks.get(worker)?.has(hash) === true, 'a holder knows its block');
      }
    }
    for (const blocks of this.#blocks.values()) held -= blocks.size;
    assert(held === 0, 'each worker holds what it is said to hold');
  }

  #drop(worker: WorkerId, hash: BlockHash, holders: Map<WorkerId, number>): void {
    holders.delete(worker);
    if (holders.size === 0) this.#holders.delete(hash);
    this.#blocks.get(worker)?.delete(hash);
  }
}
