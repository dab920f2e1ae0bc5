/**
 * How many leading blocks of a prompt each worker holds, in a few probes: the holders of the first and
 * of the last block, then of the middle one wherever the two ends differ. Right for workers without
 * holes (their tiers only fall along a prompt, so equal ends mean that nothing changes between them);
 * those with holes are walked block by block. For k different depths in n blocks: k·log n probes.
 */
import type { BlockHashes } from '../../model/block.ts';
import type { Holdings } from './holdings.ts';
import { NOT_HELD, nearestOf, workerOf } from './worker-sets.ts';

/** Depths kept per worker: in the device tier; there or in host memory; in any. */
const LEVELS = 3;
/** First block, its holders, last block, its holders. */
const RANGE_WORDS = 4;
/** Blocks asked for at once: about as many as a core waits for at once. */
const PROBES = 8;

/** Leading blocks of a prompt that a worker holds. */
export interface Matched {
  /** On the device. */
  device: number;
  /** On the device or in host memory. */
  host: number;
  /** In any tier. */
  disk: number;
}

/** Two words per hash, low one first, of the same memory. */
export function wordsOf(hashes: BlockHashes): Int32Array {
  return new Int32Array(hashes.buffer, hashes.byteOffset, 2 * hashes.length);
}

export class Descent {
  readonly #holdings: Holdings;
  /** By worker and level: leading blocks. Zero but for those met in the last look-up. */
  #depths = new Int32Array(LEVELS * 16);
  #met = new Int32Array(32);
  #metCount = 0;
  #words: Int32Array = new Int32Array(0);
  /** Ranges still to be cut, those that are being cut, and the blocks at the cuts with their records. */
  #ranges: Int32Array = new Int32Array(0);
  #cutRanges: Int32Array = new Int32Array(0);
  #rangeCount = 0;
  #places: Int32Array = new Int32Array(0);
  #found: Int32Array = new Int32Array(0);
  /** Whether blocks are told by their tags alone. */
  #isQuick = true;
  #deepest = 0;

  constructor(holdings: Holdings) {
    this.#holdings = holdings;
  }

  /** `words`: the prompt's hashes, low word first. `isAlive`, by worker: the others are passed over. */
  look(words: Int32Array, isAlive: Uint8Array): void {
    const last = words.length / 2 - 1;
    this.#forget(isAlive.length);
    if (last < 0) return;
    this.#words = words;
    this.#makeRoom(last + 1);
    this.#isQuick = false;
    const first = this.#holdersAt(0);
    if (first === 0) return;
    // By tags alone a block that is not there may seem to be; none before one that is there does, so
    // that one question tells whether all answers were right.
    this.#isQuick = true;
    this.#bisect(first, last, isAlive);
    this.#isQuick = false;
    if (this.#recordAt(this.#deepest) === 0) {
      this.#forget(isAlive.length);
      this.#bisect(first, last, isAlive);
    }
    if (this.#holdings.holed.size > 0) this.#walkHoled(first, last, isAlive);
    // What was matched is in use, and with it what comes before: leaves alone are ever forgotten.
    this.#holdings.matched(this.#recordAt(this.#deepest));
  }

  /** Of the prompt last looked up; undefined: the worker does not hold its first block. */
  matched(worker: number): Matched | undefined {
    const depths = this.#depths;
    const at = LEVELS * worker;
    if (at >= depths.length || depths[at + 2] === 0) return undefined;
    return { device: depths[at], host: depths[at + 1], disk: depths[at + 2] };
  }

  /** In rounds: each range whose ends differ is cut into parts, all at once, and those into parts… */
  #bisect(first: number, last: number, isAlive: Uint8Array): void {
    const end = this.#holdersAt(last);
    this.#deepest = end === 0 ? 0 : last;
    // Nobody holds what comes after the last.
    this.#lose(end, 0, last + 1, isAlive);
    if (first === end) return;
    if (last === 1) this.#lose(first, end, 1, isAlive);
    this.#rangeCount = 0;
    if (last > 1) this.#keep(0, first, last, end);
    while (this.#rangeCount > 0) {
      const parts = 1 + Math.max(1, Math.floor(PROBES / this.#rangeCount));
      this.#probe(parts);
      [this.#ranges, this.#cutRanges] = [this.#cutRanges, this.#ranges];
      const cutCount = this.#rangeCount;
      this.#rangeCount = 0;
      this.#weigh(cutCount, parts, isAlive);
    }
  }

  /** Asks for the blocks at which the ranges are cut. */
  #probe(parts: number): void {
    const ranges = this.#ranges;
    const places = this.#places;
    let count = 0;
    for (let i = 0; i < this.#rangeCount; i++) {
      const from = ranges[RANGE_WORDS * i];
      const length = ranges[RANGE_WORDS * i + 2] - from;
      const cuts = Math.min(parts, length);
      for (let k = 1; k < cuts; k++) places[count++] = from + Math.floor((length * k) / cuts);
    }
    const { table } = this.#holdings;
    if (this.#isQuick) {
      table.peekAll({ words: this.#words, places, found: this.#found }, count);
      return;
    }
    for (let k = 0; k < count; k++) this.#found[k] = this.#recordAt(places[k]);
  }

  /** Of a part whose ends are equal nothing more is to be known; the others are cut in their turn. */
  #weigh(cutCount: number, parts: number, isAlive: Uint8Array): void {
    const ranges = this.#cutRanges;
    let probe = 0;
    for (let i = 0; i < RANGE_WORDS * cutCount; i += RANGE_WORDS) {
      const to = ranges[i + 2];
      const cuts = Math.min(parts, to - ranges[i]);
      let from = ranges[i];
      let left = ranges[i + 1];
      for (let k = 1; k <= cuts; k++) {
        const at = k === cuts ? to : this.#places[probe];
        const right = k === cuts ? ranges[i + 3] : this.#holdings.holdersOf(this.#found[probe++]);
        if (right !== 0 && at > this.#deepest) this.#deepest = at;
        if (left !== right) {
          if (at - from === 1) this.#lose(left, right, at, isAlive);
          else this.#keep(from, left, at, right);
        }
        from = at;
        left = right;
      }
    }
  }

  #keep(from: number, left: number, to: number, right: number): void {
    const ranges = this.#ranges;
    const at = RANGE_WORDS * this.#rangeCount++;
    ranges[at] = from;
    ranges[at + 1] = left;
    ranges[at + 2] = to;
    ranges[at + 3] = right;
  }

  /** Between neighbours: whoever holds the left one nearer than the right one ends a depth `at` it. */
  #lose(left: number, right: number, at: number, isAlive: Uint8Array): void {
    if (left === 0) return;
    const { sets } = this.#holdings;
    const before = sets.members(left);
    const after = sets.members(right);
    for (let i = 0, j = 0; i < before.length; i++) {
      const worker = workerOf(before[i]);
      const nearest = nearestOf(before[i]);
      while (j < after.length && workerOf(after[j]) < worker) j++;
      const isStillHeld = j < after.length && workerOf(after[j]) === worker;
      const next = isStillHeld ? nearestOf(after[j]) : NOT_HELD;
      if (nearest < next && isAlive[worker] !== 0) this.#end(worker, at, nearest, next);
    }
  }

  /** What the worker holds in the tiers from `nearest` up to, but not with, `next` ends `at` a block. */
  #end(worker: number, at: number, nearest: number, next: number): void {
    const depths = this.#depths;
    const base = LEVELS * worker;
    if ((depths[base] | depths[base + 1] | depths[base + 2]) === 0) {
      this.#met[this.#metCount++] = worker;
    }
    for (let level = nearest; level < next; level++) depths[base + level] = at;
  }

  #walkHoled(first: number, last: number, isAlive: Uint8Array): void {
    const { sets, holed } = this.#holdings;
    let walking: { worker: number; nearest: number }[] = [];
    for (const worker of holed) {
      const nearest = sets.nearest(first, worker);
      if (isAlive[worker] === 0) continue;
      this.#depths.fill(0, LEVELS * worker, LEVELS * (worker + 1));
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
        this.#end(one.worker, at, one.nearest, nearest);
        one.nearest = nearest;
      }
      walking = walking.filter(({ nearest }) => nearest !== NOT_HELD);
    }
  }

  /** Up to `count` of those met in the last look-up, those with most leading blocks first. */
  deepest(count: number): number[] {
    const depth = (worker: number) => this.#depths[LEVELS * worker + LEVELS - 1];
    const best: number[] = [];
    for (const worker of this.#met.subarray(0, this.#metCount)) {
      if (best.includes(worker)) continue;
      const least = best[best.length - 1];
      if (best.length === count && depth(worker) <= depth(least)) continue;
      if (best.length === count) best.pop();
      const at = best.findIndex((other) => depth(other) < depth(worker));
      best.splice(at < 0 ? best.length : at, 0, worker);
    }
    return best;
  }

  #makeRoom(blocks: number): void {
    if (this.#places.length >= blocks) return;
    this.#ranges = new Int32Array(RANGE_WORDS * blocks);
    this.#cutRanges = new Int32Array(RANGE_WORDS * blocks);
    this.#places = new Int32Array(blocks);
    this.#found = new Int32Array(blocks);
  }

  #recordAt(block: number): number {
    const { table } = this.#holdings;
    const low = this.#words[2 * block];
    const high = this.#words[2 * block + 1];
    return this.#isQuick ? table.peek(low, high) : table.find(low, high);
  }

  #holdersAt(block: number): number {
    return this.#holdings.holdersOf(this.#recordAt(block));
  }

  #forget(workers: number): void {
    const depths = this.#depths;
    const met = this.#met;
    // By hand: a call of `fill` costs more than the three stores.
    for (let i = 0; i < this.#metCount; i++) {
      const at = LEVELS * met[i];
      depths[at] = depths[at + 1] = depths[at + 2] = 0;
    }
    this.#metCount = 0;
    if (depths.length >= LEVELS * workers) return;
    this.#depths = new Int32Array(LEVELS * workers);
    // Whoever has holes is met twice.
    this.#met = new Int32Array(2 * workers);
  }
}
