/**
 * Who holds a block nearer than the next one, from the sets of holders of both. Prompts that begin alike
 * ask for the same pairs again and again, so differences are remembered while they are few.
 */
import { NOT_HELD, nearestOf, type WorkerSets, workerOf } from './worker-sets.ts';

/** Remembered pairs; a power of two. */
const PAIRS = 1024;
/** Losses of all remembered pairs. */
const REMEMBERED_MAX = 1 << 16;
/** A loss: `worker << 4 | nearest tier in the one << 2 | nearest tier in the other`. */
const WORKER_SHIFT = 4;

export function workerOfLoss(loss: number): number {
  return loss >> WORKER_SHIFT;
}

export function tierBefore(loss: number): number {
  return (loss >> 2) & 3;
}

export function tierAfter(loss: number): number {
  return loss & 3;
}

export class Losses {
  readonly #sets: WorkerSets;
  readonly #left = new Int32Array(PAIRS);
  readonly #right = new Int32Array(PAIRS);
  readonly #leftStamp = new Int32Array(PAIRS);
  readonly #rightStamp = new Int32Array(PAIRS);
  readonly #remembered: (Int32Array | undefined)[] = new Array(PAIRS).fill(undefined);
  #rememberedCount = 0;
  #scratch = new Int32Array(16);
  /** What `find` found: the first `count` of it. */
  list: Int32Array = this.#scratch;
  count = 0;

  constructor(sets: WorkerSets) {
    this.#sets = sets;
  }

  find(left: number, right: number): void {
    const sets = this.#sets;
    const at =
      (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> (32 - Math.log2(PAIRS));
    const known = this.#remembered[at];
    if (
      known !== undefined &&
      this.#left[at] === left &&
      this.#right[at] === right &&
      this.#leftStamp[at] === sets.stamp(left) &&
      this.#rightStamp[at] === sets.stamp(right)
    ) {
      this.list = known;
      this.count = known.length;
      return;
    }
    this.#compare(sets.members(left), sets.members(right));
    if (this.count > REMEMBERED_MAX) return;
    this.#rememberedCount += this.count - (known?.length ?? 0);
    if (this.#rememberedCount > REMEMBERED_MAX) {
      this.#remembered.fill(undefined);
      this.#rememberedCount = this.count;
    }
    this.#remembered[at] = this.list.slice(0, this.count);
    this.#left[at] = left;
    this.#right[at] = right;
    this.#leftStamp[at] = sets.stamp(left);
    this.#rightStamp[at] = sets.stamp(right);
  }

  #compare(before: Int32Array, after: Int32Array): void {
    if (this.#scratch.length < before.length) this.#scratch = new Int32Array(2 * before.length);
    const list = this.#scratch;
    const end = after.length;
    let count = 0;
    for (let i = 0, j = 0; i < before.length; i++) {
      const member = before[i];
      const worker = workerOf(member);
      while (j < end && after[j] < member && workerOf(after[j]) < worker) j++;
      if (j < end && after[j] === member) continue;
      const next = j < end && workerOf(after[j]) === worker ? nearestOf(after[j]) : NOT_HELD;
      const nearest = nearestOf(member);
      if (nearest < next) list[count++] = (worker << WORKER_SHIFT) | (nearest << 2) | next;
    }
    this.list = list;
    this.count = count;
  }
}
