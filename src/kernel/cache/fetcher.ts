/** Brings blocks from disk to where they can be used: which files to read, and who waits for them. */
import { must } from '../../base/assert.ts';
import type { Move } from '../../model/step.ts';
import { type CacheFile, idleOf } from './disk.ts';
import type { Arrival, Waiter } from './loads.ts';
import { isNear, type Places, type TierSizes } from './places.ts';
import type { Block } from './tree.ts';

/** Somebody waits for the disk so often; then it takes what is near. */
export const LOADS_MAX = 3;

export class Fetcher {
  readonly #sizes: TierSizes;
  readonly #places: Places;

  constructor(sizes: TierSizes, places: Places) {
    this.#sizes = sizes;
    this.#places = places;
  }

  /** The leading part of a match, a multiple of `matchBlocks` long. */
  whole(chain: readonly Block[]): Block[] {
    return chain.slice(0, chain.length - (chain.length % this.#sizes.matchBlocks));
  }

  /**
   * What of the chain is near, in slots or host store. Where reading more of it from disk pays, and
   * there is room, that is begun instead, and `waiter` waits. `ahead`: nobody computes meanwhile what
   * is read, so reading always pays.
   */
  fetch(
    waiter: Waiter,
    chain: readonly Block[],
    given: { tries: number; ahead: boolean },
    moves: Move[],
  ): Block[] | 'waits' {
    const first = chain.findIndex((block) => !isNear(block));
    if (first < 0) return [...chain];
    const pays = given.ahead || this.#isWorthFetching(chain, first);
    if (given.tries >= LOADS_MAX || !pays) return this.whole(chain.slice(0, first));
    this.#places.tree.lock(chain);
    const { files, arrivals, reach } = this.#begin(chain, first);
    this.#places.unlock(chain.slice(reach));
    const held = chain.slice(0, reach);
    if (files.size === 0) {
      this.#places.unlock(held);
      return this.whole(held.slice(0, first));
    }
    for (const [file, of] of arrivals) {
      this.#places.loads.read(file.id, of);
      const start = file.blocks[0].index;
      const indexes = of.map(({ block }) => block.index - start);
      moves.push({ kind: 'load', file: file.id, indexes, handles: of.map(({ handle }) => handle) });
    }
    const ids = new Set(Array.from(files, ({ id }) => id));
    this.#places.loads.wait(waiter, { chain: held, tries: given.tries + 1 }, ids);
    return 'waits';
  }

  /** Places for what has to come, as far as there is room: the chain up to `reach`. */
  #begin(
    chain: readonly Block[],
    first: number,
  ): { files: Set<CacheFile>; arrivals: Map<CacheFile, Arrival[]>; reach: number } {
    const files = new Set<CacheFile>();
    const arrivals = new Map<CacheFile, Arrival[]>();
    let reach = first;
    for (; reach < chain.length; reach++) {
      const block = chain[reach];
      if (isNear(block)) continue;
      const file = must(block.file, 'what is not near lies on disk');
      if (block.arriving && !this.#places.loads.reads(file.id)) break; // It comes from elsewhere.
      if (!block.arriving) {
        if (file.reading && !arrivals.has(file)) {
          files.add(file); // It is being read for others, less of it: the rest comes then.
          break;
        }
        if (!this.#places.roomInHost()) break;
        const handle = this.#places.host.place(block);
        block.arriving = true;
        file.reading = true;
        arrivals.set(file, [...(arrivals.get(file) ?? []), { block, handle }]);
      }
      files.add(file);
    }
    return { files, arrivals, reach };
  }

  #isWorthFetching(chain: readonly Block[], first: number): boolean {
    const { disk } = this.#sizes;
    if (disk === undefined) return false;
    const far = chain.filter((block) => !isNear(block)).length;
    return this.#places.worth.isWorthLoading(idleOf(chain.slice(first), far * disk.blockBytes));
  }
}

/** The leading blocks that are near or can be read. */
export function readable(chain: Block[]): Block[] {
  const end = chain.findIndex((block) => !isNear(block) && block.file?.state !== 'saved');
  return end < 0 ? chain : chain.slice(0, end);
}
