/**
 * What others decide about KV, who know more than its past: which thread waits for a tool and comes
 * back, and which never will. Each wish is carried out as far as that is possible, and says how far.
 *
 *   retain, pin   stays in some tier: until a time, until it is released. At most half of memory and
 *                 of all, so that there is always room to serve others
 *   demote        leaves the slots for the host store, or that for a file
 *   prefetch      comes from disk to the host store and on to a free slot
 *   release       is kept no more, and what no other thread shares of it goes first
 */
import type { BlockHashes } from '../../model/block.ts';
import type { KvAnswer, KvOutcome } from '../../model/kv-control.ts';
import { type Fetcher, readable } from './fetcher.ts';
import { isLastCopy, isNear, type Places, type TierSizes } from './places.ts';
import type { Slot } from './pool.ts';
import type { Seating } from './seating.ts';
import { type Block, chainOf } from './tree.ts';

/** Of the host store without help of files, and of all tiers together. */
const KEPT_SHARE_MAX = 0.5;

/** A chain as its owner names it. */
export interface Wish {
  /** Whose it is: a keep under one key replaces the one before. */
  key: string;
  /** As many blocks as were asked for; more than are known here, perhaps. */
  wanted: number;
  /** Those that are known. */
  chain: readonly Block[];
}

export class Lifetimes {
  readonly #sizes: TierSizes;
  readonly #places: Places;
  readonly #fetcher: Fetcher;
  readonly #seating: Seating;

  constructor(sizes: TierSizes, places: Places, with_: { fetcher: Fetcher; seating: Seating }) {
    this.#sizes = sizes;
    this.#places = places;
    this.#fetcher = with_.fetcher;
    this.#seating = with_.seating;
  }

  /** What is known of a thread's last request. */
  ofThread(thread: string): Wish {
    const chain = chainOf(this.#places.threads.get(thread));
    return { key: `thread ${thread}`, wanted: chain.length, chain };
  }

  ofBlocks(hashes: BlockHashes): Wish {
    const chain = this.#places.tree.match(hashes, hashes.length);
    return { key: `block ${hashes.at(-1)}`, wanted: hashes.length, chain };
  }

  /** Keeps the chain until `untilUs`; undefined: until it is released. */
  retain({ key, wanted, chain }: Wish, untilUs: number | undefined): KvOutcome {
    if (chain.length === 0) return this.#outcome('missing', 0, UNKNOWN);
    const { keeps } = this.#places;
    if (!keeps.has(key) && keeps.isFull) {
      return this.#outcome('rejected', 0, 'As much is kept as can be counted.');
    }
    this.#places.rested(keeps.drop(key));
    const kept = chain.slice(0, this.#fitting(chain));
    if (kept.length > 0) keeps.add(key, kept, untilUs);
    this.#places.trim();
    if (kept.length === 0) {
      return this.#outcome('rejected', 0, 'As much is kept as may be; release something first.');
    }
    if (kept.length < chain.length) {
      return this.#outcome('clipped', kept.length, 'No more may be kept; release something first.');
    }
    return this.#whole(kept.length, wanted);
  }

  /** Keeps it no longer; what is idle of it, and no other chain goes through, leaves first. */
  release({ key, wanted, chain }: Wish): KvOutcome {
    const { keeps, tree } = this.#places;
    const wasKept = keeps.has(key);
    this.#places.rested(keeps.drop(key));
    const released = tree.release(chain);
    this.#places.rested(released);
    const inUse = chain.length > 0 && released.length === 0 && chain[chain.length - 1].locks > 0;
    this.#places.trim();
    if (inUse) return this.#outcome('deferred', 0, 'It is in use, or kept by others.');
    if (chain.length === 0 && !wasKept) return this.#outcome('missing', 0, UNKNOWN);
    // What others share stays, and that is as it should be.
    return this.#whole(released.length, wanted - (chain.length - released.length));
  }

  /** Takes the chain out of idle slots, and `toDisk` out of the host store as well. */
  demote({ wanted, chain }: Wish, { toDisk }: { toDisk: boolean }): KvOutcome {
    if (chain.length === 0) return this.#outcome('missing', 0, UNKNOWN);
    if (this.#sizes.hostBlocks === 0) return this.#outcome('rejected', 0, NO_STORE);
    if (toDisk && this.#places.disk === undefined) {
      return this.#outcome('rejected', 0, 'This engine keeps no KV on disk.');
    }
    let inUse = false;
    for (const slot of this.#places.pool.slots) {
      if (!holdsOnly(slot, chain)) continue;
      if (slot.holder === undefined) this.#empty(slot);
      else inUse = true;
    }
    if (inUse) return this.#outcome('deferred', 0, 'A request of this thread runs.');
    const left = this.#places.pool.slots.find((slot) => holdsOnly(slot, chain));
    if (left !== undefined) {
      const out = chain.filter(({ index }) => index >= left.blocks.length).length;
      const why = 'What lies in the host store is worth more.';
      return this.#outcome('clipped', out, why);
    }
    if (!toDisk) return this.#whole(chain.length, wanted);
    const end = chain[chain.length - 1];
    if (end.locks > end.keeps) return this.#outcome('deferred', 0, 'It is in use.');
    for (const block of chain) block.sinking = block.locks === block.keeps;
    this.#places.sink(end);
    if (!end.sinking) return this.#whole(chain.length, wanted);
    this.#places.saver?.hurry(end);
    return this.#outcome('deferred', chain.length, 'It is being written to disk.');
  }

  /** `hasRoom`: no request waits for the slot that this takes. */
  prefetch(
    { key, wanted, chain: known }: Wish,
    { toSlot, hasRoom }: { toSlot: boolean; hasRoom: boolean },
  ): KvOutcome {
    const { loads, pending, pool } = this.#places;
    const chain = this.#fetcher.whole(readable([...known]));
    if (chain.length === 0) return this.#outcome('missing', 0, UNKNOWN);
    if (this.#sizes.hostBlocks === 0) return this.#outcome('rejected', 0, NO_STORE);
    if (loads.isWaiting(key)) return this.#outcome('deferred', chain.length, READING);
    let near = chain;
    if (!chain.every(isNear)) {
      if (loads.count >= this.#sizes.slots) {
        return this.#outcome('deferred', 0, 'As much is being read from disk as can be.');
      }
      const fetched = this.#fetcher.fetch(key, chain, { tries: 0, ahead: true }, pending);
      if (fetched === 'waits') {
        const held = loads.abandon(key); // Nobody comes for it: it is let go of when it has come.
        if (held !== undefined) this.#places.unlock(held.chain);
        return this.#outcome('deferred', chain.length, READING);
      }
      near = fetched;
    }
    if (toSlot && near.length > 0) {
      if (!hasRoom || pool.busyCount === pool.slots.length) {
        return this.#outcome('deferred', near.length, 'No slot is free.');
      }
      near = this.#seat(near);
    }
    if (near.length < chain.length) {
      return this.#outcome('clipped', near.length, 'There is no room for more.');
    }
    return this.#whole(near.length, wanted - (known.length - chain.length));
  }

  /** Ends what is kept no longer. To be called before anything has to leave. */
  lapse(nowUs: number): void {
    this.#rested(this.#places.keeps.lapse(nowUs));
  }

  /** Where files were lost, no more is kept in memory than may be. */
  bound(): void {
    const { keeps } = this.#places;
    while (keeps.unfiledCount > this.#unfiledMax) {
      const idle = keeps.dropOldest();
      if (idle === undefined) return;
      this.#rested(idle);
    }
  }

  /** Ends all keeps. */
  clear(): void {
    const { keeps } = this.#places;
    for (let idle = keeps.dropOldest(); idle !== undefined; idle = keeps.dropOldest()) {
      this.#places.rested(idle);
    }
  }

  /** Leading blocks that may be kept beside what is kept already. */
  #fitting(chain: readonly Block[]): number {
    const { keeps } = this.#places;
    let left = this.#keptMax - keeps.blockCount;
    let leftInMemory = this.#unfiledMax - keeps.unfiledCount;
    const end = chain.findIndex((block) => {
      if (block.keeps > 0) return false;
      const isFiled = block.file?.state === 'saved';
      return left-- <= 0 || (!isFiled && leftInMemory-- <= 0);
    });
    return end < 0 ? chain.length : end;
  }

  get #keptMax(): number {
    return Math.floor(this.#sizes.blocksMax * KEPT_SHARE_MAX);
  }

  get #unfiledMax(): number {
    return Math.floor(this.#sizes.hostBlocks * KEPT_SHARE_MAX);
  }

  /** What the slot holds goes to the host store, as far as that takes it. */
  #empty(slot: Slot): void {
    const { pending } = this.#places;
    this.#places.bringToHost(slot.blocks, pending);
    let stays = slot.blocks.length;
    while (stays > 0 && !isLastCopy(slot.blocks[stays - 1])) stays--;
    this.#places.vacate(slot, stays, pending);
    pending.push({ kind: 'cut', slot: slot.index, tokens: stays * this.#sizes.blockTokens });
  }

  /** Returns what lies in a slot now. */
  #seat(chain: readonly Block[]): Block[] {
    const { pool, pending } = this.#places;
    const isThere = (slot: Slot) => chain.every((block, i) => slot.blocks[i] === block);
    if (pool.slots.some((slot) => slot.holder === undefined && isThere(slot))) return [...chain];
    const seat = this.#seating.seat(chain, pending);
    this.#places.unlock(seat.chain);
    this.#places.trim();
    pool.touch(seat.slot);
    return seat.chain;
  }

  /** Nobody keeps these blocks any more: they may be too many. */
  #rested(idle: readonly Block[]): void {
    this.#places.rested(idle);
    this.#places.trim();
  }

  /** All that is known was served. */
  #whole(blocks: number, wanted: number): KvOutcome {
    if (blocks >= wanted) return this.#outcome('accepted', blocks, undefined);
    return this.#outcome('clipped', blocks, 'No more of it is known here.');
  }

  #outcome(answer: KvAnswer, blocks: number, sentence: string | undefined): KvOutcome {
    return { answer, blocks, tokens: blocks * this.#sizes.blockTokens, sentence };
  }
}

const UNKNOWN = 'Nothing of it is known here.';
const NO_STORE = 'This engine has no host store.';
const READING = 'It is being read from disk.';

/** Whether the slot holds this chain, shorter or longer, and no other. */
function holdsOnly({ blocks }: Slot, chain: readonly Block[]): boolean {
  if (blocks.length === 0) return false;
  const common = Math.min(blocks.length, chain.length);
  return blocks[common - 1] === chain[common - 1];
}
