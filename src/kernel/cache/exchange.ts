/**
 * KV that goes to another engine, or comes from one. Both pass through the host store: what is to go is
 * copied there first, what comes lands there, and only when its bytes have come it can be matched.
 */
import type { BlockHash, BlockHashes } from '../../model/block.ts';
import type { Handle } from '../../model/step.ts';
import { type Fetcher, readable } from './fetcher.ts';
import type { Places, TierSizes } from './places.ts';
import type { TransferId } from './transfers.ts';
import type { Block } from './tree.ts';

export type Opened =
  /** Blocks come from disk: to be asked again when files were read. */
  | { kind: 'loading' }
  /** Each lies in the host store, as soon as the next plan was carried out, until `close`. */
  | { kind: 'open'; blocks: readonly Block[] };

export type Added =
  /** The block is known here already. */
  | { kind: 'known' }
  /** Its bytes belong there. */
  | { kind: 'place'; handle: Handle }
  /** There is no room, or what came before is gone. */
  | { kind: 'refused' };

export class Exchange {
  readonly #sizes: TierSizes;
  readonly #places: Places;
  readonly #fetcher: Fetcher;

  constructor(sizes: TierSizes, places: Places, fetcher: Fetcher) {
    this.#sizes = sizes;
    this.#places = places;
    this.#fetcher = fetcher;
  }

  /** Brings the chain to the host store and holds it there, as far as it is known and there is room. */
  open(id: TransferId, hashes: BlockHashes): Opened {
    const { loads, tree, pending } = this.#places;
    if (loads.isWaiting(id)) return { kind: 'loading' };
    const held = loads.end(id);
    const tries = held?.tries ?? 0;
    const chain = readable(tree.match(hashes, hashes.length));
    const near = this.#fetcher.fetch(id, chain, { tries, ahead: true }, pending);
    if (near === 'waits') {
      if (held !== undefined) this.#places.unlock(held.chain);
      return { kind: 'loading' };
    }
    tree.lock(near);
    if (held !== undefined) this.#places.unlock(held.chain);
    const reach = this.#places.bringToHost(near, pending);
    this.#places.unlock(near.slice(reach));
    const blocks = near.slice(0, reach);
    this.#places.transfers.begin(id, blocks);
    return { kind: 'open', blocks };
  }

  /** Nobody waits for it any more; it was not opened. */
  abandon(id: TransferId): void {
    const held = this.#places.loads.abandon(id);
    if (held !== undefined) this.#places.unlock(held.chain);
  }

  close(id: TransferId): void {
    this.#places.unlock(this.#places.transfers.end(id));
    this.#places.trim();
  }

  /**
   * Blocks of one chain will be added, first block first, or what follows `after` that block; false where
   * that is not known here as the so-manyth of its chain.
   */
  begin(id: TransferId, after?: { hash: BlockHash; blocks: number; salt: string }): boolean {
    const { tree, transfers } = this.#places;
    const chain: Block[] = [];
    if (after !== undefined) {
      let block = tree.get(after.hash);
      if (block === undefined || block.index + 1 !== after.blocks) return false;
      if (block.salt !== after.salt) return false;
      for (; block !== undefined; block = block.parent) chain.push(block);
      chain.reverse();
      tree.lock(chain);
    }
    transfers.begin(id, chain);
    return true;
  }

  /** The next block of the chain. */
  add(id: TransferId, given: { hash: BlockHash; tokens: Uint32Array; salt: string }): Added {
    const { tree, host, transfers } = this.#places;
    const transfer = transfers.get(id);
    if (transfer.broken) return { kind: 'refused' };
    const parent = transfer.chain.at(-1);
    const known = tree.get(given.hash);
    if (known !== undefined) {
      tree.lock([known]);
      transfer.chain.push(known);
      return { kind: 'known' };
    }
    // One more block must fit the bound on distinct blocks, and have a place.
    if (tree.size >= this.#sizes.blocksMax && tree.idleCount === 0) return { kind: 'refused' };
    if (!this.#places.roomInHost()) return { kind: 'refused' };
    const block = tree.add({ ...given, parent });
    const handle = host.place(block);
    block.arriving = true;
    transfer.chain.push(block);
    transfer.arrivals.push({ block, handle });
    this.#places.trim();
    return { kind: 'place', handle };
  }

  /** The bytes of all blocks that were added have come. */
  arrived(id: TransferId): void {
    const transfer = this.#places.transfers.get(id);
    for (const { block, handle } of transfer.arrivals.splice(0)) {
      if (block.host !== handle) {
        this.#places.host.free(handle); // It was forgotten on its way.
        continue;
      }
      block.arriving = false;
      this.#places.changes.push({ kind: 'stored', block, tier: 'host' });
      this.#places.host.offer(block);
    }
  }

  /** No more blocks come. Returns how many leading ones are held here now. */
  end(id: TransferId, thread: string | undefined): number {
    const chain = this.#places.transfers.end(id);
    const last = chain.at(-1);
    if (last !== undefined && thread !== undefined) this.#places.threads.set(thread, last);
    this.#places.unlock(chain);
    if (last !== undefined) this.#places.saver?.ends(last);
    this.#places.trim();
    return chain.length;
  }
}
