/**
 * How many leading blocks of a prompt each worker holds, in a few probes. First, where the prompt leaves
 * what is known; then, on the way there, where the holders change: the holders of both ends, then of
 * the middle wherever the two ends differ. Right for workers without holes (their tiers only fall along
 * a prompt, so equal ends mean that nothing changes between them); those with holes are walked block
 * by block. For k different depths in n blocks: k·log n probes.
 *
 * A probe by hash waits for memory three times in turn: for the prompt, a slot, a record. But records
 * of a chain mostly lie in runs, one after another, so from one that is known the others are found by
 * counting: towards the beginning this is certain (`Holdings.runBefore`), towards the end a guess, which
 * a look at the key confirms.
 */
import type { BlockHashes } from '../../model/block.ts';
import { Depths } from './depths.ts';
import type { Holdings } from './holdings.ts';
import { Losses, tierAfter, tierBefore, workerOfLoss } from './losses.ts';
import { NOT_HELD } from './worker-sets.ts';

/**
 * First block, its holders, last block, its holders, its record, where that record's run begins (the
 * last block itself: not known); into how many parts it is cut.
 */
const RANGE_WORDS = 7;
/** A run at the end of a range is worth a cut of its own if it has one in so many of its blocks. */
const RUN_SHARE = 8;
/** Blocks asked for at once by hash, and by record: about as many as a core waits for at once. */
const PROBES = 8;
const RECORD_PROBES = 12;

/** Two words per hash, low one first, of the same memory. */
export function wordsOf(hashes: BlockHashes): Int32Array {
  return new Int32Array(hashes.buffer, hashes.byteOffset, 2 * hashes.length);
}

/** Blocks of a prompt, and who holds the first and the last. */
interface Range {
  from: number;
  left: number;
  to: number;
  right: number;
  /** Of the last; 0: none. */
  record: number;
  /** The first block from which on records follow each other up to the last; the last: not known. */
  run: number;
}

export class Descent {
  readonly #holdings: Holdings;
  readonly #losses: Losses;
  /** Of the prompt last looked up. */
  readonly depths = new Depths();
  #words: Int32Array = new Int32Array(0);
  /** Ranges still to be cut, those that are being cut, and the blocks at the cuts with their records. */
  #ranges: Int32Array = new Int32Array(0);
  #cutRanges: Int32Array = new Int32Array(0);
  #rangeCount = 0;
  #places: Int32Array = new Int32Array(0);
  #found: Int32Array = new Int32Array(0);
  #holders: Int32Array = new Int32Array(0);
  /** Whether blocks are told by parts of their hashes alone. */
  #isQuick = true;
  /** Blocks met on the way to the last one that is known, and their records, first to last. */
  #knots: Int32Array = new Int32Array(0);
  #knotRecords: Int32Array = new Int32Array(0);
  #knotCount = 0;
  /** The last block that somebody holds. */
  #deepestRecord = 0;
  #deepest = 0;

  constructor(holdings: Holdings) {
    this.#holdings = holdings;
    this.#losses = new Losses(holdings.sets);
  }

  /** `words`: the prompt's hashes, low word first. `isAlive`, by worker: the others are passed over. */
  look(words: Int32Array, isAlive: Uint8Array): void {
    const blocks = words.length / 2;
    this.depths.start(isAlive.length);
    if (blocks === 0) return;
    const { table } = this.#holdings;
    this.#words = words;
    this.#makeRoom(blocks);
    const first = table.find(words[0], words[1]);
    if (first === 0) return;
    // By parts of hashes a block that is not there may seem to be; none before one that is there does,
    // so that one question tells whether all answers were right.
    this.#isQuick = true;
    this.#reach(first, blocks);
    const end = this.#knotCount - 1;
    if (!this.#isBlock(this.#knots[end], this.#knotRecords[end])) {
      this.#isQuick = false;
      this.#reach(first, blocks);
    }
    this.#bisect(isAlive);
    if (this.#holdings.holes.workers.size > 0) {
      this.#isQuick = false;
      this.#walkHoled(this.#holdings.holdersOf(first), blocks - 1, isAlive);
    }
    // What was matched is in use, and with it what comes before: leaves alone are ever forgotten.
    if (this.#deepestRecord !== 0) this.#holdings.matched(this.#deepestRecord);
  }

  /** Finds the last block of the prompt that is known: what comes before one that is, is as well. */
  #reach(first: number, blocks: number): void {
    const { table } = this.#holdings;
    this.#knotCount = 0;
    this.#tie(0, first);
    let known = 0;
    let unknown = blocks;
    while (unknown - known > 1) {
      unknown = this.#ask(known, unknown);
      const record = this.#knotRecords[this.#knotCount - 1];
      known = this.#knots[this.#knotCount - 1];
      if (unknown - known === 1 || !this.#isQuick) continue;
      const followed = this.#follow(known, unknown, record);
      const last = table.at(table.ordinal(record) + followed - known);
      if (followed === known || !this.#isBlock(followed, last)) continue;
      this.#tie(followed, last);
      known = followed;
      if (unknown - known === 1) return;
      const next = this.#recordAt(known + 1);
      if (next === 0) return;
      this.#tie(++known, next);
    }
  }

  /** Asks by hash, at equal distances, and says which is the first that is not known. */
  #ask(known: number, unknown: number): number {
    const places = this.#places;
    const length = unknown - known;
    const cuts = Math.min(PROBES, length - 1);
    for (let k = 0; k < cuts; k++) places[k] = known + Math.ceil((length * (k + 1)) / (cuts + 1));
    places[cuts - 1] = unknown - 1;
    this.#askTable(cuts);
    for (let k = 0; k < cuts; k++) {
      if (this.#found[k] === 0) return places[k];
      this.#tie(places[k], this.#found[k]);
    }
    return unknown;
  }

  /** How far the prompt goes on as the records do. */
  #follow(known: number, unknown: number, record: number): number {
    const { table } = this.#holdings;
    const { memory } = table;
    const words = this.#words;
    const differences = this.#found;
    const base = table.ordinal(record) - known;
    let same = known;
    let end = Math.min(unknown, table.ordinalEnd - base);
    while (end - same > 1) {
      const length = end - same;
      const cuts = Math.min(RECORD_PROBES, length - 1);
      const step = length / (cuts + 1);
      // All are read before any is judged, so that memory answers all at once.
      for (let k = 1; k <= cuts; k++) {
        const place = same + ((step * k) | 0);
        differences[k] = memory[table.at(base + place)] ^ words[2 * place];
      }
      let equal = 0;
      while (equal < cuts && differences[equal + 1] === 0) equal++;
      // It left these records soon: asking by hash tells more.
      if (equal === 0 && same === known && length > RECORD_PROBES) return known;
      if (equal < cuts) end = same + ((step * (equal + 1)) | 0);
      same += (step * equal) | 0;
    }
    return same;
  }

  #tie(place: number, record: number): void {
    this.#knots[this.#knotCount] = place;
    this.#knotRecords[this.#knotCount++] = record;
  }

  /** Whether the record is in use, and by this block. */
  #isBlock(place: number, record: number): boolean {
    const words = this.#words;
    if (place > 0 && this.#holdings.blockBefore(record) === 0) return this.#find(place) === record;
    return this.#holdings.table.isKey(record, words[2 * place], words[2 * place + 1]);
  }

  /** In rounds: each range whose ends differ is cut into parts, all at once, and those into parts… */
  #bisect(isAlive: Uint8Array): void {
    const knots = this.#knots;
    const end = this.#knotCount - 1;
    for (let k = 0; k <= end; k++) {
      this.#holders[k] = this.#holdings.holdersOf(this.#knotRecords[k]);
    }
    this.#deepest = 0;
    this.#deepestRecord = 0;
    // Nobody holds what comes after the last.
    const left = this.#holders[end];
    this.#part(
      { from: knots[end], left, to: knots[end] + 1, right: 0, record: 0, run: 0 },
      isAlive,
    );
    this.#rangeCount = 0;
    for (let k = 0; k <= end; k++) {
      const right = this.#holders[k];
      if (right !== 0) {
        this.#deepest = knots[k];
        this.#deepestRecord = this.#knotRecords[k];
      }
      if (k > 0 && this.#holders[k - 1] !== right) {
        const record = this.#knotRecords[k];
        const left = this.#holders[k - 1];
        this.#part(
          { from: knots[k - 1], left, to: knots[k], right, record, run: knots[k] },
          isAlive,
        );
      }
    }
    while (this.#rangeCount > 0) {
      const parts = 1 + Math.max(1, Math.floor(RECORD_PROBES / this.#rangeCount));
      this.#probe(parts);
      [this.#ranges, this.#cutRanges] = [this.#cutRanges, this.#ranges];
      const cutCount = this.#rangeCount;
      this.#rangeCount = 0;
      this.#weigh(cutCount, isAlive);
    }
  }

  /** Finds the records at which the ranges are cut, and their holders. */
  #probe(parts: number): void {
    const ranges = this.#ranges;
    const holdings = this.#holdings;
    const { table } = holdings;
    const places = this.#places;
    const found = this.#found;
    let count = 0;
    for (let i = 0; i < RANGE_WORDS * this.#rangeCount; i += RANGE_WORDS) {
      const from = ranges[i];
      const to = ranges[i + 2];
      const record = ranges[i + 4];
      const base = table.ordinal(record) - to;
      if (ranges[i + 5] === to) ranges[i + 5] = to - holdings.runBefore(record);
      const run = ranges[i + 5];
      if (run > from + 1 && (to - run) * RUN_SHARE > to - from) {
        // Where a run begins, prompts part, and there holders change.
        const begin = table.at(base + run);
        places[count] = run - 1;
        found[count++] = holdings.blockBefore(begin);
        places[count] = run;
        found[count++] = begin;
        ranges[i + 6] = 3;
        continue;
      }
      const cuts = Math.min(parts, to - from);
      const step = (to - from) / cuts;
      ranges[i + 6] = cuts;
      for (let k = 1; k < cuts; k++) {
        const place = from + ((step * k) | 0);
        places[count] = place;
        found[count++] = place < run ? 0 : table.at(base + place);
      }
    }
    for (let k = 0; k < count; k++) if (found[k] === 0) found[k] = this.#recordAt(places[k]);
    for (let k = 0; k < count; k++) this.#holders[k] = holdings.holdersOf(found[k]);
  }

  /** Of a part whose ends are equal nothing more is to be known; the others are cut in their turn. */
  #weigh(cutCount: number, isAlive: Uint8Array): void {
    const ranges = this.#cutRanges;
    let probe = 0;
    for (let i = 0; i < RANGE_WORDS * cutCount; i += RANGE_WORDS) {
      const to = ranges[i + 2];
      const cuts = ranges[i + 6];
      const run = ranges[i + 5];
      let from = ranges[i];
      let left = ranges[i + 1];
      for (let k = 1; k <= cuts; k++) {
        const isEnd = k === cuts;
        const at = isEnd ? to : this.#places[probe];
        const right = isEnd ? ranges[i + 3] : this.#holders[probe];
        const record = isEnd ? ranges[i + 4] : this.#found[probe++];
        if (right !== 0 && at > this.#deepest) {
          this.#deepest = at;
          this.#deepestRecord = record;
        }
        if (left !== right)
          this.#part({ from, left, to: at, right, record, run: Math.min(run, at) }, isAlive);
        from = at;
        left = right;
      }
    }
  }

  /** A range whose ends differ: to be cut, or the very place. */
  #part({ from, left, to, right, record, run }: Range, isAlive: Uint8Array): void {
    if (to - from === 1) {
      this.#lose(left, right, to, isAlive);
      return;
    }
    const ranges = this.#ranges;
    const at = RANGE_WORDS * this.#rangeCount++;
    ranges[at] = from;
    ranges[at + 1] = left;
    ranges[at + 2] = to;
    ranges[at + 3] = right;
    ranges[at + 4] = record;
    ranges[at + 5] = run;
  }

  /** Between neighbours: whoever holds the left one nearer than the right one ends a depth `at` it. */
  #lose(left: number, right: number, at: number, isAlive: Uint8Array): void {
    if (left === 0) return;
    const losses = this.#losses;
    losses.find(left, right);
    const { list, count } = losses;
    for (let i = 0; i < count; i++) {
      const worker = workerOfLoss(list[i]);
      if (isAlive[worker] !== 0)
        this.depths.end(worker, at, tierBefore(list[i]), tierAfter(list[i]));
    }
  }

  #walkHoled(first: number, last: number, isAlive: Uint8Array): void {
    const { sets, holes } = this.#holdings;
    let walking: { worker: number; nearest: number }[] = [];
    for (const worker of holes.workers) {
      const nearest = sets.nearest(first, worker);
      if (isAlive[worker] === 0) continue;
      this.depths.forget(worker);
      if (nearest !== NOT_HELD) walking.push({ worker, nearest });
    }
    let holders = first;
    for (let at = 1; at <= last + 1 && walking.length > 0; at++) {
      const next = at > last ? 0 : this.#holdersAt(at);
      if (next === holders) continue;
      holders = next;
      for (const one of walking) {
        const nearest = sets.nearest(holders, one.worker);
        if (nearest <= one.nearest) continue;
        this.depths.end(one.worker, at, one.nearest, nearest);
        one.nearest = nearest;
      }
      walking = walking.filter(({ nearest }) => nearest !== NOT_HELD);
    }
  }

  #makeRoom(blocks: number): void {
    if (this.#places.length >= blocks) return;
    const room = Math.max(2 * RECORD_PROBES, blocks + 1);
    this.#ranges = new Int32Array(RANGE_WORDS * room);
    this.#cutRanges = new Int32Array(RANGE_WORDS * room);
    this.#places = new Int32Array(room);
    this.#found = new Int32Array(room);
    this.#holders = new Int32Array(room);
    this.#knots = new Int32Array(room);
    this.#knotRecords = new Int32Array(room);
  }

  #askTable(count: number): void {
    const found = this.#found;
    const { table } = this.#holdings;
    if (this.#isQuick) {
      table.peekAll({ words: this.#words, places: this.#places, found }, count);
      return;
    }
    for (let k = 0; k < count; k++) found[k] = this.#recordAt(this.#places[k]);
  }

  #recordAt(block: number): number {
    const { table } = this.#holdings;
    if (!this.#isQuick) return this.#find(block);
    return table.peek(this.#words[2 * block], this.#words[2 * block + 1]);
  }

  #find(block: number): number {
    return this.#holdings.table.find(this.#words[2 * block], this.#words[2 * block + 1]);
  }

  #holdersAt(block: number): number {
    return this.#holdings.holdersOf(this.#recordAt(block));
  }
}
