/**
 * How far back in time a prompt's blocks were used last, exactly, for all cache sizes at once (Mattson's stack
 * distances). The distance of a block is how many other blocks were used more recently, when the prompt comes;
 * a cache of C blocks that drops the one unused for longest holds it where that is less than C. Within one prompt
 * the first block counts as the most recent, since what hangs on it cannot be used without it.
 *
 * A prompt's path falls into runs of blocks that the same earlier prompt used last, later prompts' first. What is
 * left of an earlier path is always its end, so a run's distances are consecutive numbers, and a Fenwick tree over
 * *prompts* counts what lies before them. Cost: O(log prompts) per run, and one step per block of the path.
 */
import { depthMax, pathOf, type Trace } from './trace.ts';

export interface Reuse {
  /** Blocks of all prompts together, and those of them that no earlier prompt had. */
  readonly blocks: number;
  readonly coldBlocks: number;
  readonly promptTokens: number;
  /** By turn in the order given: tokens of blocks that an earlier prompt had. */
  readonly matchedTokens: Float64Array;
  /** `within[d]`: blocks whose distance is less than d; one longer than there are distinct blocks. */
  readonly within: Float64Array;
  /** The same in tokens: a last block that is not full counts what it has. */
  readonly tokensWithin: Float64Array;
}

/** `order`: turns as they come, of `interleave`. */
export function reuseOf(trace: Trace, order: Uint32Array): Reuse {
  const stack = new PromptStack(trace, order.length);
  let promptTokens = 0;
  for (const turn of order) {
    stack.prompt(turn);
    promptTokens += trace.promptTokens[turn];
  }
  return { promptTokens, ...stack.result() };
}

class PromptStack {
  readonly #trace: Trace;
  readonly #path: Uint32Array;
  /** By block: number, from 1, of the prompt that used it last; 0 before the first. */
  readonly #last: Uint32Array;
  /** By prompt: how many blocks it was the last to use. */
  readonly #left: Fenwick;
  /** Differences: +1 where a run of distances begins, −1 after its end. */
  readonly #runs: Float64Array;
  /** By distance: tokens that blocks at it lack to a full one. */
  readonly #lacking: Float64Array;
  readonly #matched: Float64Array;
  #blocks = 0;
  #cold = 0;
  #prompt = 0;

  constructor(trace: Trace, promptCount: number) {
    this.#trace = trace;
    const { nodeCount } = trace.tree;
    this.#path = new Uint32Array(depthMax(trace));
    this.#last = new Uint32Array(nodeCount);
    this.#left = new Fenwick(promptCount);
    this.#runs = new Float64Array(nodeCount + 1);
    this.#lacking = new Float64Array(nodeCount + 1);
    this.#matched = new Float64Array(promptCount);
  }

  prompt(turn: number): void {
    const { tree, leaf, blockTokens, promptTokens } = this.#trace;
    const path = this.#path;
    const last = this.#last;
    const length = pathOf(tree, leaf[turn], path);
    const prompt = ++this.#prompt;
    const lacking = Math.min(blockTokens, Math.max(0, length * blockTokens - promptTokens[turn]));
    let at = 0;
    while (at < length && last[path[at]] !== 0) {
      const earlier = last[path[at]];
      let end = at;
      while (end < length && last[path[end]] === earlier) end++;
      // More recent than this run: what later prompts used last, less the `at` blocks already taken off here.
      const distance = this.#left.after(earlier) + at;
      this.#runs[distance]++;
      this.#runs[distance + end - at]--;
      if (end === length) this.#lacking[distance + end - at - 1] += lacking;
      this.#left.add(earlier, at - end);
      at = end;
    }
    for (let i = 0; i < length; i++) last[path[i]] = prompt;
    this.#left.add(prompt, length);
    this.#blocks += length;
    this.#cold += length - at;
    this.#matched[prompt - 1] = at * blockTokens - (at === length ? lacking : 0);
  }

  result(): Omit<Reuse, 'promptTokens'> {
    const size = this.#runs.length;
    const within = new Float64Array(size);
    const tokensWithin = new Float64Array(size);
    let atDistance = 0;
    for (let distance = 0; distance + 1 < size; distance++) {
      atDistance += this.#runs[distance];
      within[distance + 1] = within[distance] + atDistance;
      tokensWithin[distance + 1] =
        tokensWithin[distance] + atDistance * this.#trace.blockTokens - this.#lacking[distance];
    }
    return {
      blocks: this.#blocks,
      coldBlocks: this.#cold,
      matchedTokens: this.#matched,
      within,
      tokensWithin,
    };
  }
}

/** Sums over a suffix, numbers from 1. */
class Fenwick {
  readonly #sums: Float64Array;
  #total = 0;

  constructor(size: number) {
    this.#sums = new Float64Array(size + 1);
  }

  add(index: number, value: number): void {
    this.#total += value;
    for (let i = index; i < this.#sums.length; i += i & -i) this.#sums[i] += value;
  }

  /** Sum of all that come after `index`. */
  after(index: number): number {
    let sum = this.#total;
    for (let i = index; i > 0; i -= i & -i) sum -= this.#sums[i];
    return sum;
  }
}

/** The distance within which the share `q` of all reuses lies, in blocks; undefined where nothing is reused. */
export function reuseQuantile({ within }: Reuse, q: number): number | undefined {
  const reuses = within[within.length - 1];
  if (reuses === 0) return undefined;
  return firstAtLeast(within, q * reuses);
}

/** The least capacity, in blocks, at which the share `hit` of all prompt tokens is found. */
export function capacityFor(
  { tokensWithin, promptTokens }: Reuse,
  hit: number,
): number | undefined {
  const wanted = hit * promptTokens;
  if (tokensWithin[tokensWithin.length - 1] < wanted) return undefined;
  return firstAtLeast(tokensWithin, wanted);
}

function firstAtLeast(rising: Float64Array, value: number): number {
  let low = 0;
  let high = rising.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rising[middle] >= value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** What of a trace's reuse stays within its sessions, and what several of them share. */
export interface Sharing {
  /** Prompt tokens that an earlier prompt of the same session had. */
  ownTokens: number;
  /** Distinct blocks, and those that more than one session has. */
  distinctBlocks: number;
  sharedBlocks: number;
  /** Distinct blocks that only one prompt has. */
  onceBlocks: number;
}

const NOBODY = 0xffff_ffff;

export function sharingOf(trace: Trace, sessions: readonly number[]): Sharing {
  const { tree, leaf, promptTokens, blockTokens, sessionThreads, threadTurns } = trace;
  const path = new Uint32Array(depthMax(trace));
  const owner = new Uint32Array(tree.nodeCount).fill(NOBODY);
  const isShared = new Uint8Array(tree.nodeCount);
  const uses = new Uint32Array(tree.nodeCount);
  let ownTokens = 0;
  for (const session of sessions) {
    const end = threadTurns[sessionThreads[session + 1]];
    for (let turn = threadTurns[sessionThreads[session]]; turn < end; turn++) {
      const length = pathOf(tree, leaf[turn], path);
      let own = 0;
      for (let i = 0; i < length; i++) {
        const node = path[i];
        uses[node]++;
        // Own blocks lead: whoever has a block has all before it.
        if (owner[node] === session) own++;
        else if (owner[node] !== NOBODY) isShared[node] = 1;
        owner[node] = session;
      }
      ownTokens += Math.min(own * blockTokens, promptTokens[turn]);
    }
  }
  let [distinctBlocks, sharedBlocks, onceBlocks] = [0, 0, 0];
  for (let node = 1; node < tree.nodeCount; node++) {
    if (uses[node] === 0) continue;
    distinctBlocks++;
    sharedBlocks += isShared[node];
    if (uses[node] === 1) onceBlocks++;
  }
  return { ownTokens, distinctBlocks, sharedBlocks, onceBlocks };
}
