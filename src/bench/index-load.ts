/** What an index goes through: the events of a fleet and the prompts it is asked for, in order. */
import { must } from '../base/assert.ts';
import type { Prng } from '../base/prng.ts';
import type { BlockHash, BlockHashes } from '../model/block.ts';
import type { WorkerId } from '../model/ids.ts';
import { pathOf, type Trace } from '../traces/trace.ts';

export type Step =
  | { kind: 'look'; hashes: BlockHashes }
  | { kind: 'stored'; worker: WorkerId; hashes: BlockHashes; before: BlockHash | undefined }
  | { kind: 'removed'; worker: WorkerId; hashes: BlockHashes };

/** Blocks of an event of an engine that computes 512 tokens at a step. */
const EVENT_BLOCKS = 32;
/** The grain at which most engines keep and publish blocks, tokens. */
const BLOCK_TOKENS = 16;

export interface Residents {
  workers: readonly WorkerId[];
  chains: BlockHashes[];
  /** All that is resident, stored. */
  fill: Step[];
  /** Ends of chains, evicted last block first and computed again. */
  churn: Step[];
}

/** Prompts of 8,192 blocks that share their first 512; each whole on one worker, and in part on up to two more. */
export function residents(
  rng: Prng,
  size: { blocks: number; chainBlocks: number; sharedBlocks: number; workers: number },
): Residents {
  const { chainBlocks, sharedBlocks } = size;
  const workers = workersOf(size.workers);
  const shared = randomHashes(rng, sharedBlocks);
  const chains: BlockHashes[] = [];
  const fill: Step[] = [];
  const churn: Step[] = [];
  for (let blocks = sharedBlocks; blocks < size.blocks; blocks += chainBlocks - sharedBlocks) {
    const chain = randomHashes(rng, chainBlocks);
    chain.set(shared);
    chains.push(chain);
    const owner = rng.pick(workers);
    fill.push(...storing(owner, chain, 0));
    for (const other of [rng.pick(workers), rng.pick(workers)]) {
      const depth = rng.below(chainBlocks);
      if (other !== owner) fill.push(...storing(other, chain.subarray(0, depth), 0));
    }
    const kept = chainBlocks - (chainBlocks >> 2);
    churn.push(...removing(owner, chain, kept), ...storing(owner, chain, kept));
  }
  return { workers, chains, fill, churn };
}

/** Three of four match for nine tenths or more, one of eight in what all share, one of eight not at all. */
export function queries(
  rng: Prng,
  { chains }: Residents,
  { count, sharedBlocks }: { count: number; sharedBlocks: number },
): BlockHashes[] {
  return Array.from({ length: count }, () => {
    const prompt = rng.pick(chains).slice();
    const kind = rng.below(8);
    let matched = Math.floor(prompt.length * (0.9 + 0.1 * rng.next()));
    if (kind === 6) matched = sharedBlocks;
    if (kind === 7) matched = 0;
    prompt.set(randomHashes(rng, prompt.length - matched), matched);
    return prompt;
  });
}

/**
 * A trace on a fleet: each request goes to the worker that holds most of it, if that is half, or to the next in turn;
 * each worker keeps its latest prompts within a number of blocks of 16 tokens.
 */
export function replayed(
  trace: Trace,
  order: Uint32Array,
  fleet: { workers: number; blocksPerWorker: number },
): { workers: readonly WorkerId[]; steps: Step[] } {
  const workers = workersOf(fleet.workers);
  const caches = workers.map((worker) => new Cache(worker, fleet.blocksPerWorker));
  const grain = Math.max(1, Math.floor(trace.blockTokens / BLOCK_TOKENS));
  const nodes = new Uint32Array(trace.tree.nodeCount);
  const steps: Step[] = [];
  let next = 0;
  for (const turn of order) {
    const depth = pathOf(trace.tree, trace.leaf[turn], nodes);
    const path = Array.from({ length: depth * grain }, (_, i) => {
      return nodes[Math.floor(i / grain)] * grain + (i % grain);
    });
    if (path.length === 0) continue;
    const hashes = BigUint64Array.from(path, hashOf);
    steps.push({ kind: 'look', hashes });
    let best = caches[next++ % caches.length];
    let most = 0;
    for (const cache of caches) {
      const matched = cache.matched(path);
      // What all prompts begin with draws nobody.
      if (matched > most && 2 * matched > path.length) [best, most] = [cache, matched];
    }
    steps.push(...best.serve(path, hashes));
  }
  return { workers, steps };
}

/** One worker's blocks: those of its latest prompts. */
class Cache {
  readonly #worker: WorkerId;
  readonly #blocksMax: number;
  /** Block → prompts that need it. */
  readonly #needed = new Map<number, number>();
  readonly #prompts: number[][] = [];

  constructor(worker: WorkerId, blocksMax: number) {
    this.#worker = worker;
    this.#blocksMax = blocksMax;
  }

  /** Prompts hold all that comes before their last block, so that halving finds where they part. */
  matched(path: readonly number[]): number {
    let low = 0;
    let high = path.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#needed.has(path[middle])) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  serve(path: number[], hashes: BlockHashes): Step[] {
    const matched = this.matched(path);
    const steps = storing(this.#worker, hashes, matched);
    for (const block of path) this.#needed.set(block, (this.#needed.get(block) ?? 0) + 1);
    this.#prompts.push(path);
    while (this.#needed.size > this.#blocksMax && this.#prompts.length > 1) {
      steps.push(...this.#drop(must(this.#prompts.shift(), 'it has prompts')));
    }
    return steps;
  }

  #drop(path: readonly number[]): Step[] {
    let kept = path.length;
    for (let i = path.length - 1; i >= 0; i--) {
      const needed = must(this.#needed.get(path[i]), 'a prompt needs its blocks') - 1;
      if (needed > 0) this.#needed.set(path[i], needed);
      else {
        this.#needed.delete(path[i]);
        kept = i;
      }
    }
    return removing(this.#worker, BigUint64Array.from(path, hashOf), kept);
  }
}

/** A chain from a block on, event by event. */
function storing(worker: WorkerId, chain: BlockHashes, from: number): Step[] {
  const steps: Step[] = [];
  for (let at = from; at < chain.length; at += EVENT_BLOCKS) {
    const hashes = chain.subarray(at, at + EVENT_BLOCKS);
    steps.push({ kind: 'stored', worker, hashes, before: at === 0 ? undefined : chain[at - 1] });
  }
  return steps;
}

/** A chain down to a block, the last first, as engines evict. */
function removing(worker: WorkerId, chain: BlockHashes, downTo: number): Step[] {
  const backwards = chain.slice(downTo).reverse();
  const steps: Step[] = [];
  for (let at = 0; at < backwards.length; at += EVENT_BLOCKS) {
    steps.push({ kind: 'removed', worker, hashes: backwards.subarray(at, at + EVENT_BLOCKS) });
  }
  return steps;
}

function workersOf(count: number): WorkerId[] {
  return Array.from({ length: count }, (_, i) => `worker-${i}` as WorkerId);
}

function randomHashes(rng: Prng, count: number): BlockHashes {
  const words = new Uint32Array(2 * count);
  for (let i = 0; i < words.length; i++) words[i] = rng.uint32();
  return new BigUint64Array(words.buffer);
}

/** Spread over 64 bits, as hashes are. */
function hashOf(block: number): BlockHash {
  return BigInt.asUintN(64, (BigInt(block) + 1n) * 0x9e37_79b9_7f4a_7c15n);
}
