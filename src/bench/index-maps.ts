/** What the index is measured beside: a map of maps, walked block by block. */
import { type BlockHash, type BlockHashes, TIERS, type Tier } from '../model/block.ts';
import type { WorkerId } from '../model/ids.ts';

export class MapOfMaps {
  /** Per block and worker, one bit per tier. */
  readonly #holders = new Map<BlockHash, Map<WorkerId, number>>();
  #depths = new Map<WorkerId, number>();

  stored(worker: WorkerId, hashes: BlockHashes, tier: Tier): void {
    const bit = 1 << TIERS.indexOf(tier);
    for (const hash of hashes) {
      let holders = this.#holders.get(hash);
      if (holders === undefined) this.#holders.set(hash, (holders = new Map()));
      holders.set(worker, (holders.get(worker) ?? 0) | bit);
    }
  }

  removed(worker: WorkerId, hashes: BlockHashes, tier: Tier): void {
    const bit = 1 << TIERS.indexOf(tier);
    for (const hash of hashes) {
      const holders = this.#holders.get(hash);
      if (holders === undefined) continue;
      const left = (holders.get(worker) ?? 0) & ~bit;
      if (left !== 0) holders.set(worker, left);
      else holders.delete(worker);
      if (holders.size === 0) this.#holders.delete(hash);
    }
  }

  look(hashes: BlockHashes): void {
    this.#depths = new Map();
    let active: WorkerId[] | undefined;
    for (let i = 0; i < hashes.length; i++) {
      const holders = this.#holders.get(hashes[i]);
      if (holders === undefined) break;
      active = active === undefined ? [...holders.keys()] : active.filter((w) => holders.has(w));
      if (active.length === 0) break;
      for (const worker of active) this.#depths.set(worker, i + 1);
    }
  }

  /** Leading blocks of the prompt last looked up, in any tier. */
  depth(worker: WorkerId): number {
    return this.#depths.get(worker) ?? 0;
  }
}
