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
import { assert, must } from '../../base/assert.ts';
import { HashTable } from '../../base/hash-table.ts';
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

/** What a branch takes for each worker and tier in which blocks after it are held, roughly. */
const BRANCH_ENTRY_BYTES = 40;

export class Holdings {
  readonly table: HashTable;
  readonly sets: WorkerSets;
  /** By worker: distinct blocks it holds, and blocks it holds nearer than the one before them. */
  blocks = new Int32Array(16);
  holes = new Int32Array(16);
  /** Workers that have holes. */
  readonly holed = new Set<number>();
  /** Per branching block: `worker * 4 + nearest tier` → how many of the blocks after it are held so. */
  readonly #branches = new Map<number, Map<number, number>>();
  #branchEntries = 0;
  /** From a record's address to these words of it. */
  readonly #holders: number;
  readonly #before: number;
  readonly #after: number;
  #blockCount = 0;

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
    return this.sets.bytes + this.#branchEntries * BRANCH_ENTRY_BYTES;
  }

  get bytes(): number {
    return this.table.bytes + this.sideBytes;
  }

  makeRoomFor(worker: number): void {
    if (worker < this.blocks.length) return;
    const grown = (old: Int32Array) => {
      const made = new Int32Array(2 * worker);
      made.set(old);
      return made;
    };
    this.blocks = grown(this.blocks);
    this.holes = grown(this.holes);
  }

  holdersOf(record: number): number {
    return record === 0 ? 0 : this.table.memory[record + this.#holders] & SET_MASK;
  }

  blockBefore(record: number): number {
    return this.table.memory[record + this.#before];
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
   * it begins a chain). `words`: the hashes, low word first. Stops where the table is full.
   */
  store(worker: number, words: Int32Array, given: { tier: number; before: number }): void {
    const { table, sets } = this;
    const { tier } = given;
    let before = given.before;
    let above = before === 0 ? 0 : sets.nearest(this.holdersOf(before), worker);
    // Neighbours mostly have the same holders, so the last transition is mostly the next one too.
    let from = -1;
    let to = 0;
    let was = 0;
    let is = 0;
    for (let i = 0; i < words.length; i += 2) {
      if (i % FETCHED_WORDS === 0) table.fetch(words, i, Math.min(i + FETCHED_WORDS, words.length));
      let record = table.find(words[i], words[i + 1]);
      if (record === 0) {
        record = table.insert(words[i], words[i + 1]);
        if (record === 0) return;
        if (before !== 0) this.#link(record, before);
      } else if (before !== 0) this.#relink(record, before);
      const { memory } = table;
      const held = memory[record + this.#holders] & SET_MASK;
      if (held !== from) {
        from = held;
        to = sets.with(held, worker, tier);
        was = sets.nearest(from, worker);
        is = sets.nearest(to, worker);
      }
      if (to !== from) {
        this.#assign(record, from, to);
        if (was !== is) {
          if (memory[record + this.#before] !== before) above = this.#above(record, worker);
          this.#moved(record, worker, { was, is, above });
        }
      }
      memory[record + this.#holders] |= TOUCHED;
      above = is;
      before = record;
    }
  }

  /** The worker no longer holds these blocks in the tier. */
  remove(worker: number, words: Int32Array, tier: number): void {
    const { table, sets } = this;
    let from = -1;
    let to = 0;
    let was = 0;
    let is = 0;
    for (let i = 0; i < words.length; i += 2) {
      if (i % FETCHED_WORDS === 0) table.fetch(words, i, Math.min(i + FETCHED_WORDS, words.length));
      const record = table.find(words[i], words[i + 1]);
      if (record === 0) continue;
      const held = this.holdersOf(record);
      if (held !== from) {
        from = held;
        to = sets.without(held, worker, tier);
        was = sets.nearest(from, worker);
        is = sets.nearest(to, worker);
      }
      if (to === from) continue;
      this.#assign(record, from, to);
      if (was !== is) {
        const before = this.blockBefore(record);
        const sameAbove = before !== 0 && this.holdersOf(before) === from;
        const above = sameAbove ? was : this.#above(record, worker);
        this.#moved(record, worker, { was, is, above });
      }
      if (to === 0 && this.isLeaf(record)) this.#free(record);
    }
  }

  /** Gives the record these holders, a subset of those it has; frees it where that leaves it useless. */
  narrow(record: number, to: number): void {
    const from = this.holdersOf(record);
    for (const member of this.sets.members(from)) {
      const worker = workerOf(member);
      const was = nearestOf(member);
      const is = this.sets.nearest(to, worker);
      if (was === is) continue;
      this.#moved(record, worker, { was, is, above: this.#above(record, worker) });
    }
    if (to !== from) this.#assign(record, from, to);
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
    const holes = new Int32Array(this.holes.length);
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
      assert(holes[worker] === this.holes[worker], 'its holes are counted');
      assert(holes[worker] > 0 === this.holed.has(worker), 'workers with holes are known');
    }
  }

  #assign(record: number, from: number, to: number): void {
    const { memory } = this.table;
    memory[record + this.#holders] = (memory[record + this.#holders] & ~SET_MASK) | to;
    if (to !== 0) this.sets.retain(to);
    else this.#blockCount--;
    if (from !== 0) this.sets.release(from);
    else this.#blockCount++;
  }

  /** Nearest tier of the block before; a chain's first block has none, and is never a hole. */
  #above(record: number, worker: number): number {
    const before = this.blockBefore(record);
    return before === 0 ? 0 : this.sets.nearest(this.holdersOf(before), worker);
  }

  /** Keeps the books when a worker's nearest tier of a block changed. */
  #moved(
    record: number,
    worker: number,
    { was, is, above }: { was: number; is: number; above: number },
  ): void {
    const { memory } = this.table;
    let holes = Number(above > is) - Number(above > was);
    const before = memory[record + this.#before];
    if (before !== 0 && memory[before + this.#holders] < 0) {
      this.#count(before, worker * 4 + was, -1);
      this.#count(before, worker * 4 + is, 1);
    }
    if (memory[record + this.#after] !== 0) {
      holes += this.#nearerAfter(record, worker, is) - this.#nearerAfter(record, worker, was);
    }
    if (holes !== 0) this.#addHoles(worker, holes);
    if (was === NOT_HELD) this.blocks[worker]++;
    else if (is === NOT_HELD) this.blocks[worker]--;
  }

  /** How many of the blocks after it the worker holds in a tier nearer than `tier`. */
  #nearerAfter(record: number, worker: number, tier: number): number {
    const { memory } = this.table;
    if ((memory[record + this.#holders] & BRANCH) === 0) {
      return Number(tier > this.sets.nearest(this.holdersOf(memory[record + this.#after]), worker));
    }
    const counts = must(this.#branches.get(record), 'a branch is counted');
    let count = 0;
    for (let nearest = 0; nearest < tier; nearest++) count += counts.get(worker * 4 + nearest) ?? 0;
    return count;
  }

  #link(record: number, before: number): void {
    const { memory } = this.table;
    memory[record + this.#before] = before;
    const after = memory[before + this.#after];
    if (after === 0) {
      memory[before + this.#after] = record;
      return;
    }
    if ((memory[before + this.#holders] & BRANCH) === 0) {
      memory[before + this.#holders] |= BRANCH;
      memory[before + this.#after] = 1;
      this.#branches.set(before, new Map());
      this.#countHolders(before, after);
    }
    memory[before + this.#after]++;
    this.#countHolders(before, record);
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
      if (this.sets.nearest(above, worker) > nearestOf(member)) this.#addHoles(worker, 1);
    }
  }

  #addHoles(worker: number, count: number): void {
    this.holes[worker] += count;
    if (this.holes[worker] > 0) this.holed.add(worker);
    else this.holed.delete(worker);
  }

  #countHolders(branch: number, after: number): void {
    for (const member of this.sets.members(this.holdersOf(after))) {
      this.#count(branch, workerOf(member) * 4 + nearestOf(member), 1);
    }
  }

  #count(branch: number, key: number, change: number): void {
    if ((key & 3) === NOT_HELD) return;
    const counts = must(this.#branches.get(branch), 'a branch is counted');
    const count = (counts.get(key) ?? 0) + change;
    this.#branchEntries -= counts.size;
    if (count === 0) counts.delete(key);
    else counts.set(key, count);
    this.#branchEntries += counts.size;
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
