/**
 * What workers without events probably hold: what we sent there lately, bounded by the worker's
 * capacity and by time. Kept like an engine keeps its cache: each placement ends at a block, and while
 * that end is believed, so is all before it. The oldest end goes first, from its last block back to
 * where another placement still needs what comes before; so a belief costs one entry per placement
 * however long the prompt is.
 */
import { assert } from '../../base/assert.ts';
import type { BlockHashes } from '../../model/block.ts';
import type { WorkerId } from '../../model/ids.ts';
import type { Matched } from './depths.ts';
import { Descent, wordsOf } from './descent.ts';
import { Holdings } from './holdings.ts';
import { Members } from './members.ts';
import { NOT_HELD } from './worker-sets.ts';

/** What a believed block takes at most, with its share of the sets. */
const BLOCK_BYTES = 48;
const BYTES_MIN = 1 << 20;
const SWEPT_PER_PLACEMENT = 2048;
const DEVICE = 0;

/** What is believed of one worker. */
interface Belief {
  readonly worker: WorkerId;
  readonly number: number;
  /** Record of a placement's last block → when the belief ends. Oldest first. */
  readonly ends: Map<number, number>;
  /** The oldest end where it was cut short; it goes before all others. */
  cut: { record: number; untilUs: number } | undefined;
}

export class PredictedIndex {
  readonly #limits: { blocksMax: number; beliefUs: number };
  readonly #holdings: Holdings;
  readonly #members: Members;
  readonly #descent: Descent;
  readonly #beliefs = new Map<WorkerId, Belief>();
  /** All placements that may still be believed, oldest first; the first `#past` are over. */
  #placements: { untilUs: number; belief: Belief }[] = [];
  #past = 0;

  /** `blocksMax`: distinct blocks, of all workers. `beliefUs`: for how long a placement is believed. */
  constructor(limits: { blocksMax: number; beliefUs: number }) {
    this.#limits = limits;
    const bytes = Math.max(BYTES_MIN, limits.blocksMax * BLOCK_BYTES);
    this.#holdings = new Holdings({ tableBytesMax: bytes, idleBytesMax: bytes / 16 });
    this.#members = new Members(this.#holdings);
    this.#descent = new Descent(this.#holdings);
  }

  count(worker: WorkerId): number {
    const number = this.#members.numberOf(worker);
    return number === undefined ? 0 : this.#holdings.blocks[number];
  }

  /** The prompt goes to the worker, whose cache has room for so many blocks. */
  placed(nowUs: number, worker: WorkerId, hashes: BlockHashes, capacityBlocks: number): void {
    this.#members.sweep(SWEPT_PER_PLACEMENT);
    this.#expire(nowUs);
    const fitting = Math.min(capacityBlocks, this.#limits.blocksMax, hashes.length);
    if (fitting === 0) return;
    const belief = this.#beliefOf(worker);
    const words = wordsOf(hashes).subarray(0, 2 * fitting);
    const known = this.#depth(belief.number, words);
    const before = known === 0 ? 0 : this.#recordAt(words, known - 1);
    this.#holdings.store(belief.number, words.subarray(2 * known), { tier: DEVICE, before });
    const depth = this.#depth(belief.number, words);
    if (depth === 0) return;
    const end = this.#recordAt(words, depth - 1);
    const untilUs = nowUs + this.#limits.beliefUs;
    belief.ends.delete(end);
    belief.ends.set(end, untilUs);
    this.#placements.push({ untilUs, belief });
    this.#shrink(belief, capacityBlocks);
  }

  /**
   * The engine found `reported` blocks of a prompt in its cache where `believed` were expected. What it
   * had already dropped was used last at some time; whatever was used before that is gone as well.
   */
  confirm(
    worker: WorkerId,
    hashes: BlockHashes,
    blocks: { believed: number; reported: number },
  ): void {
    const belief = this.#beliefs.get(worker);
    if (belief === undefined) return;
    const words = wordsOf(hashes);
    let dropped: number | undefined;
    for (let at = Math.min(blocks.believed, hashes.length) - 1; at >= blocks.reported; at--) {
      const record = this.#recordAt(words, at);
      if (!belief.ends.has(record)) continue;
      dropped = record;
      break;
    }
    if (dropped === undefined) return;
    while (belief.ends.keys().next().value !== dropped) this.#dropOldest(belief, 0);
  }

  cleared(worker: WorkerId): void {
    this.#beliefs.delete(worker);
    this.#members.retire(worker);
  }

  /** Looks a prompt up for all workers; `matched` then tells of each, until the next look-up. */
  look(nowUs: number, hashes: BlockHashes): void {
    this.#expire(nowUs);
    this.#descent.look(wordsOf(hashes), this.#members.isAlive);
  }

  /** Of the prompt last looked up. */
  matched(worker: WorkerId): Matched | undefined {
    const number = this.#members.numberOf(worker);
    return number === undefined ? undefined : this.#descent.depths.matched(number);
  }

  check(): void {
    this.#holdings.check();
    const isBounded = this.#holdings.blockCount <= this.#limits.blocksMax;
    assert(isBounded || this.#members.isSweeping, 'beliefs are bounded');
    assert(this.#holdings.holes.workers.size === 0, 'beliefs have no holes');
    for (const { worker, number, ends, cut } of this.#beliefs.values()) {
      assert(this.#members.numberOf(worker) === number, 'a belief is of a known worker');
      const isHeld = (record: number) => this.#holds(number, record);
      assert([...ends.keys()].every(isHeld), 'what a placement ends with is believed');
      assert(cut === undefined || isHeld(cut.record), 'what was cut ends with a believed block');
      const none = ends.size === 0 && cut === undefined;
      assert(this.#holdings.blocks[number] === 0 || !none, 'each belief ends some time');
    }
  }

  #beliefOf(worker: WorkerId): Belief {
    const known = this.#beliefs.get(worker);
    if (known !== undefined) return known;
    const number = this.#members.admit(worker);
    const belief: Belief = { worker, number, ends: new Map(), cut: undefined };
    this.#beliefs.set(worker, belief);
    return belief;
  }

  /** To what the worker has room for, and all workers together may have. */
  #shrink(belief: Belief, capacityBlocks: number): void {
    const { blocksMax } = this.#limits;
    while (this.#holdings.blocks[belief.number] > capacityBlocks) {
      this.#dropOldest(belief, capacityBlocks);
    }
    while (
      this.#past < this.#placements.length &&
      (this.#holdings.blockCount > blocksMax || this.#placements.length - this.#past > blocksMax)
    ) {
      this.#dropPlacement();
    }
  }

  #expire(nowUs: number): void {
    while (this.#past < this.#placements.length && this.#placements[this.#past].untilUs <= nowUs) {
      this.#dropPlacement();
    }
  }

  /** The oldest of all; nothing, where it was renewed or had gone before. */
  #dropPlacement(): void {
    const { untilUs, belief } = this.#placements[this.#past++];
    if (2 * this.#past > this.#placements.length) {
      this.#placements = this.#placements.slice(this.#past);
      this.#past = 0;
    }
    if (this.#beliefs.get(belief.worker) !== belief) return;
    while (oldestUs(belief) <= untilUs) this.#dropOldest(belief, 0);
  }

  /** The end that was not used for longest, from its last block back, while more than `least` are held. */
  #dropOldest(belief: Belief, least: number): void {
    const { ends, number } = belief;
    const [first] = ends;
    const oldest = belief.cut ?? { record: first[0], untilUs: first[1] };
    if (belief.cut === undefined) ends.delete(oldest.record);
    belief.cut = undefined;
    let { record } = oldest;
    while (record !== 0 && !ends.has(record) && !this.#holdings.holdsAfter(record, number)) {
      if (this.#holdings.blocks[number] <= least) {
        belief.cut = { record, untilUs: oldest.untilUs };
        return;
      }
      const before = this.#holdings.blockBefore(record);
      const { sets } = this.#holdings;
      const others = sets.without(this.#holdings.holdersOf(record), number, DEVICE);
      this.#holdings.narrow(record, others);
      record = before;
    }
  }

  /** Leading blocks of the prompt the worker is believed to hold: by halving, for beliefs have no holes. */
  #depth(number: number, words: Int32Array): number {
    let low = 0;
    let high = words.length / 2;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#holds(number, this.#recordAt(words, middle))) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #holds(number: number, record: number): boolean {
    return this.#holdings.sets.nearest(this.#holdings.holdersOf(record), number) !== NOT_HELD;
  }

  #recordAt(words: Int32Array, block: number): number {
    return this.#holdings.table.find(words[2 * block], words[2 * block + 1]);
  }
}

function oldestUs(belief: Belief): number {
  if (belief.cut !== undefined) return belief.cut.untilUs;
  const first = belief.ends.values().next();
  return first.done === true ? Number.POSITIVE_INFINITY : first.value;
}
