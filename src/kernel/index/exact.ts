/**
 * Which worker holds which block in which tier, as KV events tell. It keeps within its bytes: what was
 * stored and matched longest ago is forgotten first, the ends of chains before what they follow, so
 * that a forgotten block makes a match shorter and never wrong.
 */
import { type BlockHash, type BlockHashes, TIERS, type Tier } from '../../model/block.ts';
import type { WorkerId } from '../../model/ids.ts';
import type { Matched } from './depths.ts';
import { Descent, wordsOf } from './descent.ts';
import { Holdings } from './holdings.ts';
import { Members } from './members.ts';

/** Share of the bytes that the table of blocks may take; sets of holders have the rest. */
const TABLE_SHARE = 3 / 4;
/** Of the sets' bytes, for those that no block has at the moment. */
const IDLE_SHARE = 1 / 4;
/** Places of blocks that are swept with each event, and for each block of it. */
const SWEPT_PER_EVENT = 256;
const SWEPT_PER_BLOCK = 8;

export class ExactIndex {
  readonly #holdings: Holdings;
  readonly #members: Members;
  readonly #descent: Descent;
  readonly #sideBytesMax: number;
  /** Where the clock's hand stands that looks for what to forget. */
  #hand = 0;
  /** The new end of the chain that was shortened last. */
  #ending = 0;
  /** By worker: the last record of its last event. */
  readonly #ends: number[] = [];
  readonly #hash = new BigUint64Array(1);
  readonly #hashWords = new Int32Array(this.#hash.buffer);

  constructor(limits: { bytesMax: number }) {
    const tableBytesMax = Math.floor(limits.bytesMax * TABLE_SHARE);
    this.#sideBytesMax = limits.bytesMax - tableBytesMax;
    const idleBytesMax = this.#sideBytesMax * IDLE_SHARE;
    this.#holdings = new Holdings({ tableBytesMax, idleBytesMax });
    this.#members = new Members(this.#holdings);
    this.#descent = new Descent(this.#holdings);
  }

  /** Distinct blocks that somebody holds; of a worker that is gone, until they are swept out. */
  get blockCount(): number {
    return this.#holdings.blockCount;
  }

  get bytes(): number {
    return this.#holdings.bytes;
  }

  /** Distinct blocks the worker holds, as far as the index has room for them. */
  count(worker: WorkerId): number {
    const number = this.#members.numberOf(worker);
    return number === undefined ? 0 : this.#holdings.blocks[number];
  }

  /**
   * Consecutive blocks of a chain, the first after the block `before`; undefined: it begins the chain.
   * After a block that the index does not know, nothing can be matched, so nothing is kept.
   */
  stored(worker: WorkerId, hashes: BlockHashes, tier: Tier, before?: BlockHash): void {
    this.#members.sweep(SWEPT_PER_EVENT + SWEPT_PER_BLOCK * hashes.length);
    if (before !== undefined) {
      const record = this.#endOrFound(worker, before);
      if (record === 0) return;
      this.#holdings.matched(record);
    }
    this.#makeRoom(hashes.length);
    const record = before === undefined ? 0 : this.#endOrFound(worker, before);
    if (before !== undefined && record === 0) return;
    const number = this.#members.admit(worker);
    const given = { tier: TIERS.indexOf(tier), before: record };
    this.#ends[number] = this.#holdings.store(number, wordsOf(hashes), given);
  }

  removed(worker: WorkerId, hashes: BlockHashes, tier: Tier): void {
    this.#members.sweep(SWEPT_PER_EVENT + SWEPT_PER_BLOCK * hashes.length);
    const number = this.#members.numberOf(worker);
    if (number === undefined) return;
    this.#holdings.remove(number, wordsOf(hashes), TIERS.indexOf(tier));
  }

  /** At once for whoever asks; the memory comes back with the next events. */
  cleared(worker: WorkerId): void {
    this.#members.retire(worker);
    this.#members.sweep(SWEPT_PER_EVENT);
  }

  /** Looks a prompt up for all workers; `matched` then tells of each, until the next look-up. */
  look(hashes: BlockHashes): void {
    this.#descent.look(wordsOf(hashes), this.#members.isAlive);
  }

  /** Of the prompt last looked up. */
  matched(worker: WorkerId): Matched | undefined {
    const number = this.#members.numberOf(worker);
    return number === undefined ? undefined : this.#descent.depths.matched(number);
  }

  /** Up to `count` workers that hold most of the prompt last looked up, most first. */
  deepest(count: number): WorkerId[] {
    return this.#descent.depths.deepest(count).map((number) => this.#members.workerOf(number));
  }

  check(): void {
    this.#holdings.check();
  }

  /** The block's record. Most events go on where the worker's last one ended. */
  #endOrFound(worker: WorkerId, hash: BlockHash): number {
    this.#hash[0] = hash;
    const low = this.#hashWords[0];
    const high = this.#hashWords[1];
    const { table } = this.#holdings;
    const number = this.#members.numberOf(worker);
    const end = number === undefined ? 0 : (this.#ends[number] ?? 0);
    const isHeld = this.#holdings.holdersOf(end) !== 0;
    return isHeld && table.isKey(end, low, high) ? end : table.find(low, high);
  }

  #makeRoom(blocks: number): void {
    const { table } = this.#holdings;
    while (
      table.size > 0 &&
      (table.size + blocks > table.sizeMax || this.#holdings.sideBytes > this.#sideBytesMax)
    ) {
      this.#forgetChainEnd();
    }
  }

  /**
   * The hand passes those that were touched since it came by last, and all that others follow; where it
   * stops, a chain is forgotten from its end on, as far as room is needed.
   */
  #forgetChainEnd(): void {
    const { table } = this.#holdings;
    let leaf = this.#ending;
    while (leaf === 0 || !this.#holdings.isIdleLeaf(leaf)) {
      this.#hand = table.after(this.#hand);
      if (this.#holdings.isIdleLeaf(this.#hand)) leaf = this.#hand;
      else this.#holdings.passed(this.#hand);
    }
    this.#ending = this.#holdings.blockBefore(leaf);
    this.#holdings.narrow(leaf, 0);
  }
}
