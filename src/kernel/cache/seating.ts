/** Gives a chain a free slot: the one that has to copy least, and the moves that make it hold the chain. */
import { must } from '../../base/assert.ts';
import type { Move } from '../../model/step.ts';
import type { Fetcher } from './fetcher.ts';
import { isLastCopy, type Places, type TierSizes } from './places.ts';
import type { Slot } from './pool.ts';
import type { Block } from './tree.ts';

/**
 * llama.cpp computes neighbouring slots together and any other by itself (measured: four answers in
 * neighbouring slots take two thirds of the time). So many blocks are rather copied than that.
 */
const APART_BLOCKS = 64;

export class Seating {
  readonly #sizes: TierSizes;
  readonly #places: Places;
  readonly #fetcher: Fetcher;

  constructor(sizes: TierSizes, places: Places, fetcher: Fetcher) {
    this.#sizes = sizes;
    this.#places = places;
    this.#fetcher = fetcher;
  }

  /**
   * A slot must be free. Returns it with the leading blocks it holds then, which are locked for the
   * caller; what was `held` until now is let go of.
   */
  seat(
    wanted: readonly Block[],
    moves: Move[],
    held?: readonly Block[],
  ): { slot: Slot; chain: Block[] } {
    const { slot, inPlace } = this.#chooseSlot(wanted);
    let chain = this.#copies ? [...wanted] : this.#fetcher.whole(wanted.slice(0, inPlace));
    this.#places.tree.lock(chain);
    if (held !== undefined) this.#places.unlock(held);
    if (chain.length > inPlace) {
      // Where the store takes no more than lies in the slot already, what lies there is as good.
      const reach = Math.max(inPlace, this.#places.bringToHost(chain, moves));
      const reachable = this.#fetcher.whole(chain.slice(0, reach));
      this.#places.unlock(chain.slice(reachable.length));
      chain = reachable;
    }
    const rebuilt = chain.length > inPlace;
    this.#places.vacate(slot, rebuilt ? 0 : chain.length, moves);
    if (rebuilt) {
      const handles = chain.map((block) =>
        must(block.host, 'a block to rebuild lies in the host store'),
      );
      moves.push({ kind: 'copyIn', slot: slot.index, handles });
      for (const block of chain) this.#places.place(block, slot);
    } else {
      moves.push({ kind: 'cut', slot: slot.index, tokens: chain.length * this.#sizes.blockTokens });
    }
    return { slot, chain };
  }

  get #copies(): boolean {
    return this.#sizes.hostBlocks > 0;
  }

  /** The idle slot that costs the least; among equals the one unused for longest. */
  #chooseSlot(wanted: readonly Block[]): { slot: Slot; inPlace: number } {
    let best: { slot: Slot; inPlace: number; cost: number } | undefined;
    for (const slot of this.#places.pool.slots) {
      if (slot.holder !== undefined) continue;
      const inPlace = commonBlocks(slot.blocks, wanted);
      const cost = this.#copies
        ? this.#blocksToCopy(slot, inPlace, wanted) + (this.#isApart(slot) ? APART_BLOCKS : 0)
        : wanted.length - inPlace;
      if (
        best === undefined ||
        cost < best.cost ||
        (cost === best.cost && slot.lastUse < best.slot.lastUse)
      ) {
        best = { slot, inPlace, cost };
      }
    }
    return must(best, 'who chooses a slot knows that one is free');
  }

  /** Whether others run, but none in a slot next to this one. */
  #isApart({ index }: Slot): boolean {
    const { slots, busyCount } = this.#places.pool;
    const beside = [slots[index - 1], slots[index + 1]];
    return busyCount > 0 && beside.every((slot) => slot?.holder === undefined);
  }

  /** Blocks copied if this slot serves: its last copies go down, what is missing comes up. */
  #blocksToCopy(slot: Slot, inPlace: number, wanted: readonly Block[]): number {
    const rebuild = inPlace < wanted.length;
    let count = rebuild ? wanted.length : 0;
    for (let i = rebuild ? 0 : inPlace; i < slot.blocks.length; i++) {
      if (isLastCopy(slot.blocks[i])) count++;
    }
    return count;
  }
}

function commonBlocks(a: readonly Block[], b: readonly Block[]): number {
  let i = 0;
  while (i < a.length && i < b.length && a[i] === b[i]) i++;
  return i;
}
