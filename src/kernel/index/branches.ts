/** Of blocks that several follow: how many of those each worker holds, by its nearest tier. */
import { must } from '../../base/assert.ts';
import { NOT_HELD, nearestOf, workerOf } from './worker-sets.ts';

/** What a branch takes for each worker and tier in which blocks after it are held, roughly. */
const ENTRY_BYTES = 40;

export class Branches {
  /** Per block: `worker * 4 + nearest tier` → how many of the blocks after it are held so. */
  readonly #counts = new Map<number, Map<number, number>>();
  #entries = 0;

  get bytes(): number {
    return this.#entries * ENTRY_BYTES;
  }

  add(branch: number): void {
    this.#counts.set(branch, new Map());
  }

  /** Whose blocks after it nobody holds any more. */
  delete(branch: number): void {
    this.#counts.delete(branch);
  }

  /** A block that has these holders comes after it. */
  countAll(branch: number, members: Int32Array): void {
    for (const member of members) {
      this.count(branch, workerOf(member), { tier: nearestOf(member), change: 1 });
    }
  }

  count(branch: number, worker: number, { tier, change }: { tier: number; change: 1 | -1 }): void {
    if (tier === NOT_HELD) return;
    const counts = this.#of(branch);
    const key = worker * 4 + tier;
    const count = (counts.get(key) ?? 0) + change;
    this.#entries -= counts.size;
    if (count === 0) counts.delete(key);
    else counts.set(key, count);
    this.#entries += counts.size;
  }

  /** How many of the blocks after it the worker holds in a tier nearer than `tier`. */
  nearer(branch: number, worker: number, tier: number): number {
    const counts = this.#of(branch);
    let count = 0;
    for (let nearest = 0; nearest < tier; nearest++) count += counts.get(worker * 4 + nearest) ?? 0;
    return count;
  }

  #of(branch: number): Map<number, number> {
    return must(this.#counts.get(branch), 'a branch is counted');
  }
}
