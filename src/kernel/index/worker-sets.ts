/**
 * Sets of holders, each kept once and named by a number: thousands of neighbouring blocks are held by
 * the same workers, so a block's holders cost 4 bytes however many they are, two blocks have the same
 * holders exactly if the numbers are equal, and "one more holder" is found in a table of transitions.
 * (One replay of a public trace had 183 to 308 distinct sets, at 64 and at 1,024 workers.)
 *
 * A set is a sorted array of members; a member is `worker << 3 | tiers`, a bit for each tier in which
 * the worker has the block. Set 0 is the empty one. A set that no block refers to is forgotten some
 * time later: the next event may well need it again.
 */
import { assert } from '../../base/assert.ts';

/** Nearest tier of a worker that does not hold a block at all. */
export const NOT_HELD = 3;

const TIER_BITS = 3;
const TIER_MASK = 7;
/** Nearest tier of each combination of tier bits. */
const NEAREST = Int8Array.of(NOT_HELD, 0, 1, 0, 2, 0, 1, 0);
/** Remembered transitions; a power of two. */
const TRANSITIONS = 8192;
/** Most sets without blocks that are kept. */
const IDLE_MAX = 2048;
/** What a set takes besides its members, roughly: array, map entry, columns. */
const SET_BYTES = 200;

/** For transitions: what was done with a worker, beside the three tiers (0, 1, 2). */
const EVERY_TIER = 3;

export function workerOf(member: number): number {
  return member >> TIER_BITS;
}

export function nearestOf(member: number): number {
  return NEAREST[member & TIER_MASK];
}

export class WorkerSets {
  readonly #members: Int32Array[] = [new Int32Array(0)];
  readonly #content: number[] = [0];
  readonly #refs: number[] = [1];
  /** Raised when a number is given to another set: transitions to and from the old one end. */
  readonly #stamp: number[] = [0];
  readonly #isIdle: boolean[] = [false];
  readonly #free: number[] = [];
  /** Sets by what they contain; several may share a sum. */
  readonly #byContent = new Map<number, number | number[]>([[0, 0]]);
  readonly #idleBytesMax: number;
  #idle: number[] = [];
  #idleBytes = 0;
  #bytes = SET_BYTES;

  readonly #from = new Int32Array(TRANSITIONS);
  readonly #key = new Int32Array(TRANSITIONS).fill(-1);
  readonly #to = new Int32Array(TRANSITIONS);
  readonly #fromStamp = new Int32Array(TRANSITIONS);
  readonly #toStamp = new Int32Array(TRANSITIONS);

  /** `idleBytesMax`: of sets that no block has. */
  constructor(limits: { idleBytesMax: number }) {
    this.#idleBytesMax = limits.idleBytesMax;
  }

  get size(): number {
    return this.#members.length - this.#free.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  members(set: number): Int32Array {
    return this.#members[set];
  }

  /** Changes when the number is given to another set. */
  stamp(set: number): number {
    return this.#stamp[set];
  }

  /** 0, 1, 2: the nearest tier in which the worker has it; or `NOT_HELD`. */
  nearest(set: number, worker: number): number {
    if (set === 0) return NOT_HELD;
    const members = this.#members[set];
    const at = lowerBound(members, worker << TIER_BITS);
    if (at === members.length || members[at] >> TIER_BITS !== worker) return NOT_HELD;
    return NEAREST[members[at] & TIER_MASK];
  }

  with(set: number, worker: number, tier: number): number {
    return this.#transition(set, (worker << TIER_BITS) | (tier << 1) | 1);
  }

  without(set: number, worker: number, tier: number): number {
    return this.#transition(set, (worker << TIER_BITS) | (tier << 1));
  }

  withoutWorker(set: number, worker: number): number {
    return this.#transition(set, (worker << TIER_BITS) | (EVERY_TIER << 1));
  }

  /** Those members for whom `keeps` is not 0, by worker. */
  among(set: number, keeps: Uint8Array): number {
    const members = this.#members[set];
    const kept = members.filter((member) => keeps[member >> TIER_BITS] !== 0);
    if (kept.length === members.length) return set;
    let content = 0;
    for (const member of kept) content = (content + mixed(member)) | 0;
    return this.#intern(content, kept);
  }

  /** So many more blocks have these holders; none is forgotten before one has. */
  retain(set: number, blocks: number): void {
    this.#refs[set] += blocks;
  }

  release(set: number, blocks: number): void {
    this.#refs[set] -= blocks;
    if (this.#refs[set] > 0 || this.#isIdle[set]) return;
    this.#rest(set);
  }

  check(): void {
    for (let set = 0; set < this.#members.length; set++) {
      const members = this.#members[set];
      assert(this.#refs[set] >= 0, 'a set is released as often as it was retained');
      for (let i = 1; i < members.length; i++) {
        assert(members[i - 1] >> TIER_BITS < members[i] >> TIER_BITS, 'a worker is in a set once');
      }
    }
    assert(this.#idle.length <= IDLE_MAX, 'idle sets are bounded');
  }

  #transition(from: number, key: number): number {
    const at =
      (Math.imul(from, 0x9e3779b1) ^ Math.imul(key, 0x85ebca6b)) >>> (32 - Math.log2(TRANSITIONS));
    if (
      this.#key[at] === key &&
      this.#from[at] === from &&
      this.#fromStamp[at] === this.#stamp[from] &&
      this.#toStamp[at] === this.#stamp[this.#to[at]]
    ) {
      return this.#to[at];
    }
    const to = this.#derive(from, key);
    this.#key[at] = key;
    this.#from[at] = from;
    this.#to[at] = to;
    this.#fromStamp[at] = this.#stamp[from];
    this.#toStamp[at] = this.#stamp[to];
    return to;
  }

  #derive(from: number, key: number): number {
    const members = this.#members[from];
    const worker = key >> TIER_BITS;
    const tier = (key & TIER_MASK) >> 1;
    const bits = tier === EVERY_TIER ? TIER_MASK : 1 << tier;
    const at = lowerBound(members, worker << TIER_BITS);
    const isThere = at < members.length && members[at] >> TIER_BITS === worker;
    const before = isThere ? members[at] & TIER_MASK : 0;
    const after = (key & 1) === 1 ? before | bits : before & ~bits;
    if (after === before) return from;
    const member = (worker << TIER_BITS) | after;
    const grown = members.length + (after === 0 ? 0 : 1) - (isThere ? 1 : 0);
    const made = new Int32Array(grown);
    made.set(members.subarray(0, at));
    if (after !== 0) made[at] = member;
    made.set(members.subarray(isThere ? at + 1 : at), after === 0 ? at : at + 1);
    let content = this.#content[from];
    if (isThere) content = (content - mixed(members[at])) | 0;
    if (after !== 0) content = (content + mixed(member)) | 0;
    return this.#intern(content, made);
  }

  #intern(content: number, members: Int32Array): number {
    const known = this.#byContent.get(content);
    if (typeof known === 'number') {
      if (equal(this.#members[known], members)) return known;
    } else if (known !== undefined) {
      for (const set of known) if (equal(this.#members[set], members)) return set;
    }
    const set = this.#free.pop() ?? this.#members.length;
    this.#members[set] = members;
    this.#content[set] = content;
    this.#refs[set] = 0;
    this.#stamp[set] ??= 0;
    this.#isIdle[set] = false;
    this.#bytes += SET_BYTES + members.byteLength;
    if (known === undefined) this.#byContent.set(content, set);
    else this.#byContent.set(content, typeof known === 'number' ? [known, set] : [...known, set]);
    this.#rest(set);
    return set;
  }

  /** The newer half of the idle stays, the one that just came among them. */
  #rest(set: number): void {
    this.#isIdle[set] = true;
    this.#idle.push(set);
    this.#idleBytes += SET_BYTES + this.#members[set].byteLength;
    if (this.#idle.length < IDLE_MAX && this.#idleBytes <= this.#idleBytesMax) return;
    const old = this.#idle.splice(0, this.#idle.length >> 1);
    for (const each of old) {
      this.#idleBytes -= SET_BYTES + this.#members[each].byteLength;
      this.#isIdle[each] = false;
      if (this.#refs[each] === 0) this.#forget(each);
    }
  }

  #forget(set: number): void {
    const content = this.#content[set];
    const known = this.#byContent.get(content);
    const others = typeof known === 'object' ? known.filter((other) => other !== set) : [];
    if (others.length === 0) this.#byContent.delete(content);
    else this.#byContent.set(content, others);
    this.#bytes -= SET_BYTES + this.#members[set].byteLength;
    this.#members[set] = this.#members[0];
    this.#stamp[set] = (this.#stamp[set] + 1) | 0;
    this.#free.push(set);
  }
}

/** Index of the first element that is not below `value`. */
function lowerBound(sorted: Int32Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function equal(a: Int32Array, b: Int32Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function mixed(member: number): number {
  const spread = Math.imul(member + 1, 0x9e3779b1);
  return Math.imul(spread ^ (spread >>> 15), 0x85ebca6b) | 0;
}
