/**
 * Prompts that are being computed, or were a moment ago: no event tells of their blocks yet, but whoever
 * comes with the same beginning finds them there, since engines let it wait for them. Without this each
 * of many siblings that start together would seem to find nothing, and so would a next turn that comes
 * faster than events do.
 *
 * Events come in order: one that says that a computed prompt's end has left follows all that told of it,
 * so from then on the index knows better.
 */
import { assert } from '../base/assert.ts';
import type { BlockHash, BlockHashes } from '../model/block.ts';
import type { RequestId, WorkerId } from '../model/ids.ts';
import { wordsOf } from './index/descent.ts';

interface Prompt {
  readonly worker: WorkerId;
  readonly hashes: BlockHashes;
  /** The same, two words a hash: reading those makes no garbage. */
  readonly words: Int32Array;
  /** From then on events have told of it; undefined while it is computed. */
  untilUs: number | undefined;
  isGone: boolean;
}

/** Prompts that start alike, in the order they came; those that are gone are swept up now and then. */
interface Siblings {
  prompts: Prompt[];
  goneCount: number;
}

export interface UnderwayLimits {
  /** A prompt is compared with so many others at most, the newest of them. */
  comparedMax: number;
  /** Events of what was computed have come by then. */
  eventsUsMax: number;
}

export class Underway {
  readonly #limits: UnderwayLimits;
  readonly #byRequest = new Map<RequestId, Prompt>();
  /** Computed ones, in order of their time. */
  #fading: Prompt[] = [];
  #faded = 0;
  /** Of each worker's fading ones the newest that ends with a hash: an older one has nothing more. */
  readonly #byEnd = new Map<WorkerId, Map<BlockHash, Prompt>>();
  /** By the hash of their first block: others have nothing in common. */
  readonly #byStart = new Map<BlockHash, Siblings>();

  constructor(limits: UnderwayLimits) {
    this.#limits = limits;
  }

  started(request: RequestId, worker: WorkerId, hashes: BlockHashes): void {
    if (hashes.length > 0) this.#byRequest.set(request, this.#add(worker, hashes));
  }

  /** Its first token came: all of it is computed. */
  computed(nowUs: number, request: RequestId): void {
    const prompt = this.#byRequest.get(request);
    if (prompt === undefined) return;
    this.#byRequest.delete(request);
    this.#awaitEvents(nowUs, prompt);
  }

  /** These blocks came from another worker: as good as computed. */
  copied(nowUs: number, worker: WorkerId, hashes: BlockHashes): void {
    if (hashes.length > 0) this.#awaitEvents(nowUs, this.#add(worker, hashes));
  }

  /** An event said that the worker holds these blocks no longer, or not in that tier. */
  removed(worker: WorkerId, hashes: BlockHashes): void {
    for (let i = 0; i < hashes.length; i++) {
      const ends = this.#byEnd.get(worker);
      if (ends === undefined) return;
      const prompt = ends.get(hashes[i]);
      if (prompt !== undefined) this.#leave(prompt);
    }
  }

  /** It will not be computed any more. Does nothing where it was. */
  dropped(request: RequestId): void {
    const prompt = this.#byRequest.get(request);
    if (prompt === undefined) return;
    this.#byRequest.delete(request);
    this.#leave(prompt);
  }

  /** The worker's cache was emptied: what it computes now is all it will have. */
  cleared(worker: WorkerId): void {
    for (const prompt of this.#fading) {
      if (prompt.worker === worker && !prompt.isGone) this.#leave(prompt);
    }
  }

  /** Leading blocks of `hashes` on each worker; workers that have none are left out. */
  depths(nowUs: number, hashes: BlockHashes): Map<WorkerId, number> {
    this.#fade(nowUs);
    const depths = new Map<WorkerId, number>();
    const siblings = hashes.length === 0 ? undefined : this.#byStart.get(hashes[0]);
    if (siblings === undefined) return depths;
    const { prompts } = siblings;
    const words = wordsOf(hashes);
    let compared = 0;
    for (let i = prompts.length - 1; i >= 0 && compared < this.#limits.comparedMax; i--) {
      const prompt = prompts[i];
      if (prompt.isGone) continue;
      compared++;
      const known = depths.get(prompt.worker) ?? 0;
      const depth = sharedBlocks(words, prompt.words, known);
      if (depth > known) depths.set(prompt.worker, depth);
    }
    return depths;
  }

  /** `running`: requests that are placed now. */
  check(running: number): void {
    assert(this.#byRequest.size <= running, 'what is computed is a request that runs');
    let there = 0;
    for (const [start, { prompts, goneCount }] of this.#byStart) {
      assert(prompts.length > goneCount, 'no start is kept without a prompt');
      for (const { hashes } of prompts) assert(hashes[0] === start, 'siblings start alike');
      assert(prompts.filter(({ isGone }) => isGone).length === goneCount, 'who is gone is counted');
      there += prompts.length - goneCount;
    }
    const fading = this.#fading.slice(this.#faded).filter(({ isGone }) => !isGone).length;
    assert(there === this.#byRequest.size + fading, 'each prompt is found by its start');
    let ends = 0;
    for (const [worker, prompts] of this.#byEnd) {
      assert(prompts.size > 0, 'no worker is kept without a prompt');
      for (const [end, prompt] of prompts) {
        assert(!prompt.isGone && prompt.untilUs !== undefined, 'only what fades awaits its end');
        assert(prompt.worker === worker && prompt.hashes.at(-1) === end, 'found by its end');
      }
      ends += prompts.size;
    }
    assert(ends === fading, 'each prompt that fades is found by its end');
  }

  #add(worker: WorkerId, hashes: BlockHashes): Prompt {
    const words = wordsOf(hashes);
    const prompt: Prompt = { worker, hashes, words, untilUs: undefined, isGone: false };
    const siblings = this.#byStart.get(hashes[0]);
    if (siblings !== undefined) siblings.prompts.push(prompt);
    else this.#byStart.set(hashes[0], { prompts: [prompt], goneCount: 0 });
    return prompt;
  }

  #awaitEvents(nowUs: number, prompt: Prompt): void {
    prompt.untilUs = nowUs + this.#limits.eventsUsMax;
    this.#fading.push(prompt);
    this.#awaitEnd(prompt);
    this.#fade(nowUs);
  }

  #awaitEnd(prompt: Prompt): void {
    const { worker, hashes } = prompt;
    const end = hashes[hashes.length - 1];
    let ends = this.#byEnd.get(worker);
    const older = ends?.get(end);
    if (older !== undefined) this.#leave(older);
    ends = this.#byEnd.get(worker);
    if (ends === undefined) this.#byEnd.set(worker, (ends = new Map()));
    ends.set(end, prompt);
  }

  #fade(nowUs: number): void {
    const fading = this.#fading;
    while (this.#faded < fading.length && (fading[this.#faded].untilUs ?? 0) <= nowUs) {
      const prompt = fading[this.#faded++];
      if (!prompt.isGone) this.#leave(prompt);
    }
    if (this.#faded <= fading.length / 2) return;
    this.#fading = fading.slice(this.#faded);
    this.#faded = 0;
  }

  #leave(prompt: Prompt): void {
    prompt.isGone = true;
    if (prompt.untilUs !== undefined) this.#forgetEnd(prompt);
    const start = prompt.hashes[0];
    const siblings = this.#byStart.get(start);
    assert(siblings !== undefined, 'a prompt is found by its start');
    siblings.goneCount++;
    if (siblings.goneCount <= siblings.prompts.length / 2) return;
    siblings.prompts = siblings.prompts.filter(({ isGone }) => !isGone);
    siblings.goneCount = 0;
    if (siblings.prompts.length === 0) this.#byStart.delete(start);
  }

  #forgetEnd({ worker, hashes }: Prompt): void {
    const ends = this.#byEnd.get(worker);
    ends?.delete(hashes[hashes.length - 1]);
    if (ends?.size === 0) this.#byEnd.delete(worker);
  }
}

/**
 * Blocks two chains share from their start, if more than `atLeast`. Hashes are chained: where two are
 * equal, all before them are, so it is found by halving.
 */
export function sharedBlocks(a: Int32Array, b: Int32Array, atLeast: number): number {
  let high = Math.min(a.length, b.length) / 2;
  if (high <= atLeast || (atLeast > 0 && !same(a, b, atLeast))) return atLeast;
  let low = atLeast;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (same(a, b, middle - 1)) low = middle;
    else high = middle - 1;
  }
  return low;
}

function same(a: Int32Array, b: Int32Array, block: number): boolean {
  return a[2 * block] === b[2 * block] && a[2 * block + 1] === b[2 * block + 1];
}
