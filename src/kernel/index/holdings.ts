/**
 * Which workers hold which blocks, as a forest: each block knows the one before it in its chain, and the
 * one after it, or how many there are. Workers are small integers here.
 *
 *   record in the table:  key, 2 words │ holders, flags │ block before │ block after
 *
 * What the links are for: a worker without *holes* holds no block in a tier nearer than that of the
 * block before it, so along a prompt its tiers only fall, and a look-up may bisect. Engines evict
 * leaves first, so holes are rare; how many a worker has is counted exactly, at each change, from the
 * block before and the blocks after. A block that nobody holds stays while there are blocks after it.
 */
import { assert } from '../../base/assert.ts';
import { HashTable } from '../../base/hash-table.ts';
import { Branches } from './branches.ts';
import { Holes } from './holes.ts';
import { NOT_HELD, nearestOf, WorkerSets, workerOf } from './worker-sets.ts';

/** Holders, block before, block after. */
const VALUE_WORDS = 3;

/** Flags beside the number of the holders' set. */
const SET_MASK = 0x1fff_ffff;
/** Stored or matched since the hand of the clock came by; what was matched is passed once more. */
const TOUCHED = 0x4000_0000;
const MATCHED = 0x2000_0000;
/** Several blocks come after it: the word says how many, and `#branches` who holds them. */
const BRANCH = 0x8000_0000 | 0;

/** Words of keys whose records are brought near together. */
const FETCHED_WORDS = 64;

/** Of a block's holders, and of the nearest tier of the worker that is told of. */
interface Change {
  from: number;
  to: number;
  was: number;
  is: number;
}

export class Holdings {
  readonly table: HashTable;
  readonly sets: WorkerSets;
  /** By worker: distinct blocks it holds. */
  blocks = new Int32Array(16);
  readonly holes = new Holes();
  readonly #branches = new Branches();
  /** From a record's address to these words of it. */
  readonly #holders: number;
  readonly #before: number;
  readonly #after: number;
  #blockCount = 0;
  /** What the blocks of an event go through, one after another. */
  readonly #change = { from: 0, to: 0, was: NOT_HELD, is: NOT_HELD, blocks: 0 };

  /** Bytes of the table, and of sets that no block has. */
  constructor(limits: { tableBytesMax: number; idleBytesMax: number }) {
    this.table = new HashTable({ valueWords: VALUE_WORDS, bytesMax: limits.tableBytesMax });
    this.sets = new WorkerSets(limits);
    const { column } = this.table;
    this.#holders = 2 * column;
    this.#before = 3 * column;
    this.#after = 4 * column;
  }

  /** Blocks that somebody holds. */
  get blockCount(): number {
    return this.#blockCount;
  }

  /** Beside the table: sets and branches. */
  get sideBytes(): number {
    return this.sets.bytes + this.#branches.bytes;
  }

  get bytes(): number {
    return this.table.bytes + this.sideBytes;
  }

  makeRoomFor(worker: number): void {
    this.holes.makeRoomFor(worker);
    if (worker < this.blocks.length) return;
    const grown = new Int32Array(2 * worker);
    grown.set(this.blocks);
    this.blocks = grown;
  }

  holdersOf(record: number): number {
    return record === 0 ? 0 : this.table.memory[record + this.#holders] & SET_MASK;
  }

  blockBefore(record: number): number {
    const before = this.table.memory[record + this.#before];
    return before < 0 ? this.table.previous(record) : before;
  }

  /**
   * How many records just before it, by ordinal, are the blocks before it in its chain. They stay so
   * while it lasts, for a block that others follow is never freed.
   */
  runBefore(record: number): number {
    const before = this.table.memory[record + this.#before];
    return before < 0 ? this.table.ordinal(record) - this.table.ordinal(-before) : 0;
  }

  isLeaf(record: number): boolean {
    return this.table.memory[record + this.#after] === 0;
  }

  /** Held, followed by none, and not touched of late. */
  isIdleLeaf(record: number): boolean {
    const holders = this.table.memory[record + this.#holders];
    return (
      (holders & SET_MASK) !== 0 && (holders & (TOUCHED | MATCHED)) === 0 && this.isLeaf(record)
    );
  }

  matched(record: number): void {
    this.table.memory[record + this.#holders] |= TOUCHED | MATCHED;
  }

  /** The hand of the clock came by. */
  passed(record: number): void {
    const { memory } = this.table;
    const isMatched = (memory[record + this.#holders] & MATCHED) !== 0;
    memory[record + this.#holders] &= isMatched ? ~MATCHED : ~TOUCHED;
  }

  /**
   * The worker holds these blocks, which follow each other, the first after the record `before` (0:
   * it begins a chain). `words`: the hashes, low word first. Stops where the table is full. Returns the
   * last record.
   */
  store(worker: number, words: Int32Array, given: { tier: number; before: number }): number {
    const { table, sets } = this;
    const { tier } = given;
    let before = given.before;
    let above = before === 0 ? 0 : sets.nearest(this.holdersOf(before), worker);
    let fetched = 0;
    // Neighbours mostly have the same holders, so the last transition is mostly the next one too.
    const change = this.#change;
    change.from = change.to = -1;
    for (let i = 0; i < words.length; i += 2) {
      let record = this.#following(before, words[i], words[i + 1]);
      if (record === 0) {
        if (i >= fetched) {
          fetched = Math.min(i + FETCHED_WORDS, words.length);
          table.fetch(words, i, fetched);
        }
        record = table.find(words[i], words[i + 1]);
        if (record === 0) {
          record = table.insert(words[i], words[i + 1]);
          if (record === 0) break;
          if (before !== 0) this.#link(record, before);
        } else if (before !== 0) this.#relink(record, before);
      }
      const { memory } = table;
      const word = memory[record + this.#holders];
      const held = word & SET_MASK;
      if (held !== change.from) {
        this.#settle(worker);
        this.#turn(worker, held, sets.with(held, worker, tier));
      }
      memory[record + this.#holders] = (word & ~SET_MASK) | change.to | TOUCHED;
      if (change.to !== held) {
        change.blocks++;
        if (change.was !== change.is) {
          if (this.blockBefore(record) !== before) above = this.#above(record, worker);
          this.#reckon(record, worker, change, above);
        }
      }
      above = change.is;
      before = record;
    }
    this.#settle(worker);
    return before;
  }

  /** The worker no longer holds these blocks in the tier. */
  remove(worker: number, words: Int32Array, tier: number): void {
    const { table, sets } = this;
    const { memory } = table;
    const change = this.#change;
    change.from = change.to = -1;
    let record = 0;
    for (let i = 0; i < words.length; i += 2) {
      if (i % FETCHED_WORDS === 0) table.fetch(words, i, Math.min(i + FETCHED_WORDS, words.length));
      // Engines evict a chain from its end.
      const guess = record === 0 ? 0 : table.previous(record);
      const isNext = this.holdersOf(guess) !== 0 && table.isKey(guess, words[i], words[i + 1]);
      record = isNext ? guess : table.find(words[i], words[i + 1]);
      const held = this.holdersOf(record);
      if (held === 0) continue;
      if (held !== change.from) {
        this.#settle(worker);
        this.#turn(worker, held, sets.without(held, worker, tier));
      }
      if (change.to === held) continue;
      change.blocks++;
      memory[record + this.#holders] = (memory[record + this.#holders] & ~SET_MASK) | change.to;
      if (change.was !== change.is) {
        const before = this.blockBefore(record);
        const sameAbove = before !== 0 && this.holdersOf(before) === held;
        const above = sameAbove ? change.was : this.#above(record, worker);
        this.#reckon(record, worker, change, above);
      }
      if (change.to === 0 && this.isLeaf(record)) this.#free(record);
    }
    this.#settle(worker);
  }

  /** Gives the record these holders, a subset of those it has; frees it where that leaves it useless. */
  narrow(record: number, to: number): void {
    const { memory } = this.table;
    const from = this.holdersOf(record);
    if (to === from) return;
    for (const member of this.sets.members(from)) {
      const worker = workerOf(member);
      const was = nearestOf(member);
      const is = this.sets.nearest(to, worker);
      if (was === is) continue;
      this.#reckon(record, worker, { from, to, was, is }, this.#above(record, worker));
      if (is === NOT_HELD) this.blocks[worker]--;
    }
    memory[record + this.#holders] = (memory[record + this.#holders] & ~SET_MASK) | to;
    if (to === 0) this.#blockCount--;
    else this.sets.retain(to, 1);
    this.sets.release(from, 1);
    if (to === 0 && this.isLeaf(record)) this.#free(record);
  }

  /** Whether the worker holds any block that comes after it. */
  holdsAfter(record: number, worker: number): boolean {
    const after = this.table.memory[record + this.#after];
    if (after === 0) return false;
    if ((this.table.memory[record + this.#holders] & BRANCH) === 0) {
      return this.sets.nearest(this.holdersOf(after), worker) !== NOT_HELD;
    }
    return this.#nearerAfter(record, worker, NOT_HELD) > 0;
  }

  /** Recounts everything. */
  check(): void {
    const { table, sets } = this;
    table.check();
    sets.check();
    const blocks = new Int32Array(this.blocks.length);
    const holes = new Int32Array(this.blocks.length);
    let held = 0;
    for (let record = table.after(0), i = 0; i < table.places; i++, record = table.after(record)) {
      const holders = this.holdersOf(record);
      if (holders === 0) continue;
      held++;
      const before = this.blockBefore(record);
      for (const member of sets.members(holders)) {
        const worker = workerOf(member);
        blocks[worker]++;
        if (before === 0) continue;
        if (sets.nearest(this.holdersOf(before), worker) > nearestOf(member)) holes[worker]++;
      }
      if (before !== 0)
        assert(!this.isLeaf(before), 'a block before another knows that one follows');
    }
    assert(held === this.#blockCount, 'blocks that are held are counted');
    for (let worker = 0; worker < blocks.length; worker++) {
      assert(blocks[worker] === this.blocks[worker], 'a worker holds what it is said to hold');
      assert(holes[worker] === this.holes.of(worker), 'its holes are counted');
      assert(holes[worker] > 0 === this.holes.workers.has(worker), 'workers with holes are known');
    }
  }

  /** The record after `before` in its run, if it is that of the key; 0: it is elsewhere, or nowhere. */
  #following(before: number, low: number, high: number): number {
    const { table } = this;
    const next = table.next(before);
    // A record that is in use and no run's first: whatever else may lie there is no block after `before`.
    if (before === 0 || next >= table.end || table.memory[next + this.#before] >= 0) return 0;
    return table.isKey(next, low, high) ? next : 0;
  }

  /** What the next blocks go through. */
  #turn(worker: number, from: number, to: number): void {
    const change = this.#change;
    change.from = from;
    change.to = to;
    change.was = this.sets.nearest(from, worker);
    change.is = this.sets.nearest(to, worker);
  }

  /** Books the blocks that went through the change, before any other set is asked for. */
  #settle(worker: number): void {
    const { from, to, was, is, blocks } = this.#change;
    if (blocks === 0) return;
    this.#change.blocks = 0;
    if (to !== 0) this.sets.retain(to, blocks);
    else this.#blockCount -= blocks;
    if (from !== 0) this.sets.release(from, blocks);
    else this.#blockCount += blocks;
    if (was === is) return;
    if (was === NOT_HELD) this.blocks[worker] += blocks;
    else if (is === NOT_HELD) this.blocks[worker] -= blocks;
  }

  /** Nearest tier of the block before; a chain's first block has none, and is never a hole. */
  #above(record: number, worker: number): number {
    const before = this.blockBefore(record);
    return before === 0 ? 0 : this.sets.nearest(this.holdersOf(before), worker);
  }

  /** Counts holes, and blocks of a branch, when a worker's nearest tier of a block changed. */
  #reckon(record: number, worker: number, change: Change, above: number): void {
    const { memory } = this.table;
    const { was, is } = change;
    let holes = Number(above > is) - Number(above > was);
    const before = this.blockBefore(record);
    if (before !== 0 && memory[before + this.#holders] < 0) {
      this.#branches.count(before, worker, { tier: was, change: -1 });
      this.#branches.count(before, worker, { tier: is, change: 1 });
    }
    const after = memory[record + this.#after];
    if (after !== 0) {
      const isBranch = (memory[record + this.#holders] & BRANCH) !== 0;
      const next = isBranch ? -1 : this.holdersOf(after);
      // The next block mostly goes, or went, through the same change.
      if (next === change.from) holes += Number(is > was);
      else if (next === change.to) holes -= Number(was > is);
      else holes += this.#nearerAfter(record, worker, is) - this.#nearerAfter(record, worker, was);
    }
    if (holes !== 0) this.holes.add(worker, holes);
  }

  /** How many of the blocks after it the worker holds in a tier nearer than `tier`. */
  #nearerAfter(record: number, worker: number, tier: number): number {
    const { memory } = this.table;
    if ((memory[record + this.#holders] & BRANCH) === 0) {
      return Number(tier > this.sets.nearest(this.holdersOf(memory[record + this.#after]), worker));
    }
    return this.#branches.nearer(record, worker, tier);
  }

  #link(record: number, before: number): void {
    const { memory } = this.table;
    memory[record + this.#before] = this.#toward(record, before);
    const after = memory[before + this.#after];
    if (after === 0) {
      memory[before + this.#after] = record;
      return;
    }
    if ((memory[before + this.#holders] & BRANCH) === 0) {
      memory[before + this.#holders] |= BRANCH;
      memory[before + this.#after] = 1;
      this.#branches.add(before);
      this.#branches.countAll(before, this.sets.members(this.holdersOf(after)));
    }
    memory[before + this.#after]++;
    this.#branches.countAll(before, this.sets.members(this.holdersOf(record)));
  }

  /** A block that was told of as a chain's first turns out to follow another. */
  #relink(record: number, before: number): void {
    if (this.blockBefore(record) !== 0) return;
    for (let above = before; above !== 0; above = this.blockBefore(above)) {
      // Chained hashes have no rings; whoever tells of one is not followed.
      if (above === record) return;
    }
    this.#link(record, before);
    const above = this.holdersOf(before);
    for (const member of this.sets.members(this.holdersOf(record))) {
      const worker = workerOf(member);
      if (this.sets.nearest(above, worker) > nearestOf(member)) this.holes.add(worker, 1);
    }
  }

  /** The word for the block before: its record, or where the run began in which it is the last. */
  #toward(record: number, before: number): number {
    const { table } = this;
    if (table.next(before) !== record) return before;
    const further = table.memory[before + this.#before];
    return further < 0 ? further : -before;
  }

  /** Forgets a block that nobody holds and nothing follows, and those before it that only led to it. */
  #free(leaf: number): void {
    const { table } = this;
    let record = leaf;
    while (record !== 0 && this.holdersOf(record) === 0 && this.isLeaf(record)) {
      const before = this.blockBefore(record);
      table.delete(record);
      const { memory } = table;
      if (before !== 0) {
        if ((memory[before + this.#holders] & BRANCH) === 0) memory[before + this.#after] = 0;
        else if (--memory[before + this.#after] === 0) {
          memory[before + this.#holders] &= ~BRANCH;
          this.#branches.delete(before);
        }
      }
      record = before;
    }
  }
}
