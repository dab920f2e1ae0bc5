/**
 * Copies a prefix to another worker before those come that will want it there: a parent sends out its
 * sub-agents, or many sessions begin with one system prompt, and who holds it has fewer free slots than
 * are still to come.
 *
 *   arrived ─► siblings that came lately ─► the prefix worth most ─► who holds it, who has room ─► replicate
 *   replicated ─► what a move takes, and whom not to ask again soon
 *
 * A move has to pay: it is made where the prefill that it saves is longer than the transfer and what its
 * blocks push out there, and no move may take longer than one of them would compute. Whoever comes while it
 * is under way may wait for it: the survey prices that. How many are still to come is
 * not known; as many again as came lately is the least presuming guess (the Copernican one), and those
 * that wait in the queue are known to come.
 */
import { assert } from '../../base/assert.ts';
import { LinearFit } from '../../base/fit.ts';
import type { BlockHash, BlockHashes } from '../../model/block.ts';
import type { RequestId, WorkerId } from '../../model/ids.ts';
import type { Arrival, Fact, Order } from '../../model/kernel-io.ts';
import type { Worker } from '../../model/worker.ts';
import { wordsOf } from '../index/descent.ts';
import type { ExactIndex } from '../index/exact.ts';
import { sharedBlocks, type Underway } from '../underway.ts';
import type { WorkerState, Workers } from '../workers.ts';
import { obstacle } from './filter.ts';

export type ReplicateOrder = Extract<Order, { kind: 'replicate' }>;
type Replicated = Extract<Fact, { kind: 'replicated' }>;

export interface ReplicatorParts {
  workers: Workers;
  exact: ExactIndex;
  underway: Underway;
  /** Whether a request still waits for a worker. */
  waits: (request: RequestId) => boolean;
}

/** A thread's newest request, or one of no thread. */
interface Sibling {
  readonly request: Arrival;
  readonly words: Int32Array;
  readonly arrivedUs: number;
}

/** The leading blocks of a prompt that are wanted. */
interface Wanted {
  request: Arrival;
  blocks: number;
  /** Requests expected to want them from now on. */
  expected: number;
}

interface Plan {
  to: WorkerState;
  /** By each of them. */
  savedUs: number;
  gainUs: number;
}

/** A move that is under way. */
interface Move {
  readonly order: ReplicateOrder;
  readonly words: Int32Array;
  /** As predicted. */
  readonly endUs: number;
}

/** A copy on its way to a worker. */
export interface Arriving {
  move: number;
  /** Leading blocks of the prompt in it. */
  blocks: number;
  /** Until it is there, as predicted. */
  leftUs: number;
}

const LIMITS = {
  /** Siblings of a fan-out start within seconds; compared with so many, at some 2 µs each. */
  siblingUsMax: 5_000_000,
  siblingsMax: 32,
  /** An engine takes four transfers at once, and others may ask for some. */
  perWorkerMax: 2,
  /** Holders looked at, those with most of it. */
  sourcesMax: 16,
  /** Copies remembered as made. */
  madeMax: 1024,
  /** Kinds of KV whose transfer is learnt apart. */
  layoutsMax: 64,
  backOffUsMin: 5_000_000,
  backOffUsMax: 300_000_000,
} as const;

/**
 * Until transfers were seen: 8,192 tokens took 56 to 106 ms over HTTP on one machine (ARCHITECTURE.md),
 * most of it by the token.
 */
const PRIOR_US = { base: 5_000, perThousandTokens: 10_000 } as const;
const FIT = { unsureness: 1, noise: 0.15, drift: 0.0005 } as const;

export class Replicator {
  readonly #parts: ReplicatorParts;
  readonly #movesMax: number;
  /** By thread or request, in the order they came. */
  readonly #siblings = new Map<string, Sibling>();
  readonly #moves = new Map<number, Move>();
  /** Prefixes and where they were copied to, oldest first. */
  readonly #made = new Set<string>();
  readonly #transfers = new Map<string, LinearFit>();
  readonly #backOff = new Map<WorkerId, { untilUs: number; us: number }>();
  #moveCount = 0;

  /** `movesMax`: under way at once; 0: none is ever made. */
  constructor(parts: ReplicatorParts, given: { movesMax: number }) {
    this.#parts = parts;
    this.#movesMax = given.movesMax;
  }

  /** A request came and was placed, or waits. */
  arrived(nowUs: number, request: Arrival): ReplicateOrder | undefined {
    if (this.#movesMax === 0 || request.hashes.length === 0) return undefined;
    if (!this.#parts.workers.movesKv(request.model)) return undefined;
    const wanted = this.#wanted(nowUs, request);
    this.#remember(nowUs, request);
    if (wanted === undefined || this.#moves.size >= this.#movesMax) return undefined;
    return this.#decide(nowUs, wanted);
  }

  /** Copies of the beginning of a prompt that are on their way, by the worker they go to. */
  arriving(nowUs: number, hashes: BlockHashes): ReadonlyMap<WorkerId, Arriving> {
    if (this.#moves.size === 0) return NONE_ARRIVING;
    const words = wordsOf(hashes);
    const found = new Map<WorkerId, Arriving>();
    for (const { order, words: moved, endUs } of this.#moves.values()) {
      const blocks = sharedBlocks(words, moved, 0);
      if (blocks <= (found.get(order.to)?.blocks ?? 0)) continue;
      found.set(order.to, { move: order.move, blocks, leftUs: Math.max(0, endUs - nowUs) });
    }
    return found;
  }

  /** A move came to its end: what it took is learnt, and who failed is left alone for a while. */
  ended(nowUs: number, { move, ok, blocks, tokens, tookUs }: Replicated): void {
    const ended = this.#moves.get(move);
    if (ended === undefined) return;
    this.#moves.delete(move);
    const { order } = ended;
    const { from, to } = order;
    const layout = this.#parts.workers.get(to)?.worker.kvLayout;
    if (!ok) {
      this.#made.delete(nameOf(order));
      for (const worker of [from, to]) this.#failed(nowUs, worker);
      return;
    }
    for (const worker of [from, to]) this.#backOff.delete(worker);
    if (this.#parts.workers.get(to) !== undefined) {
      this.#parts.underway.copied(nowUs, to, order.hashes.slice(0, blocks));
    }
    if (layout !== undefined) this.#transfer(layout).observe(features(tokens), tookUs);
  }

  left(worker: WorkerId): void {
    this.#backOff.delete(worker);
  }

  /** Predicted time until so many tokens have come to the worker from another. */
  transferUs({ kvLayout }: Worker, tokens: number): number {
    return tokens === 0 ? 0 : this.#transfer(kvLayout ?? '').predict(features(tokens));
  }

  /** Tokens came there, whoever sent them. */
  sawTransfer({ kvLayout }: Worker, tokens: number, us: number): void {
    if (kvLayout !== undefined) this.#transfer(kvLayout).observe(features(tokens), us);
  }

  check(): void {
    assert(this.#moves.size <= this.#movesMax, 'no more moves are under way than may be');
    assert(this.#siblings.size <= LIMITS.siblingsMax, 'siblings are bounded');
    assert(this.#made.size <= LIMITS.madeMax, 'copies remembered are bounded');
    const names = new Set([...this.#moves.values()].map(({ order }) => nameOf(order)));
    assert(names.size === this.#moves.size, 'what is under way is not begun again');
  }

  /** Of the beginnings it shares with siblings the one that most tokens hang on. */
  #wanted(nowUs: number, request: Arrival): Wanted | undefined {
    const words = wordsOf(request.hashes);
    const itself = keyOf(request);
    const kin: { blocks: number; weight: number }[] = [];
    for (const [key, sibling] of this.#siblings) {
      const { id, model, blockTokens } = sibling.request;
      const waits = this.#parts.waits(id);
      if (!waits && sibling.arrivedUs + LIMITS.siblingUsMax < nowUs) {
        this.#siblings.delete(key);
        continue;
      }
      if (key === itself || model !== request.model || blockTokens !== request.blockTokens)
        continue;
      const blocks = sharedBlocks(words, sibling.words, 0);
      if (blocks > 0) kin.push({ blocks, weight: waits ? 2 : 1 });
    }
    kin.sort((a, b) => b.blocks - a.blocks);
    let expected = this.#parts.waits(request.id) ? 2 : 1;
    let best: Wanted | undefined;
    for (const { blocks, weight } of kin) {
      expected += weight;
      if (best !== undefined && blocks * expected <= best.blocks * best.expected) continue;
      best = { request, blocks, expected };
    }
    return best;
  }

  #remember(nowUs: number, request: Arrival): void {
    const key = keyOf(request);
    this.#siblings.delete(key);
    const words = wordsOf(request.hashes);
    this.#siblings.set(key, { request, words, arrivedUs: nowUs });
    dropOldest(this.#siblings, LIMITS.siblingsMax);
  }

  #decide(nowUs: number, wanted: Wanted): ReplicateOrder | undefined {
    const { workers, exact } = this.#parts;
    const { request } = wanted;
    const serving = workers.serving(request.model);
    exact.look(request.hashes);
    const from = this.#source(nowUs, request.model);
    if (from === undefined) return undefined;
    const blocks = Math.min(wanted.blocks, exact.matched(from.worker.id)?.disk ?? 0);
    const plan = this.#target(nowUs, { ...wanted, blocks }, { from, serving });
    if (plan === undefined) return undefined;
    const order: ReplicateOrder = {
      kind: 'replicate',
      move: ++this.#moveCount,
      from: from.worker.id,
      to: plan.to.worker.id,
      hashes: request.hashes.slice(0, blocks),
      usMax: Math.ceil(plan.savedUs),
    };
    const words = wordsOf(order.hashes);
    const endUs = nowUs + this.transferUs(plan.to.worker, blocks * request.blockTokens);
    this.#moves.set(order.move, { order, words, endUs });
    this.#made.add(nameOf(order));
    dropOldest(this.#made, LIMITS.madeMax);
    return order;
  }

  /** Who holds most of it; of those that hold as much, who has least to do. */
  #source(nowUs: number, model: string): WorkerState | undefined {
    const { exact, workers } = this.#parts;
    let best: WorkerState | undefined;
    let most = 0;
    for (const id of exact.deepest(LIMITS.sourcesMax)) {
      const state = workers.get(id);
      const held = exact.matched(id)?.disk ?? 0;
      if (state === undefined || !state.healthy || !state.worker.models.includes(model)) continue;
      if (held === 0 || held < most || !this.#canMove(nowUs, state)) continue;
      if (held === most && best !== undefined && best.load.requests <= state.load.requests)
        continue;
      best = state;
      most = held;
    }
    return best;
  }

  /** Where the most is gained; undefined where nothing is. */
  #target(
    nowUs: number,
    { request, blocks, expected }: Wanted,
    { from, serving }: { from: WorkerState; serving: readonly WorkerState[] },
  ): Plan | undefined {
    const { exact, underway } = this.#parts;
    const computing = underway.depths(nowUs, request.hashes);
    const arriving = this.arriving(nowUs, request.hashes);
    const heldBy = ({ mode, worker }: WorkerState) =>
      mode === 'exact'
        ? Math.max(
            exact.matched(worker.id)?.disk ?? 0,
            computing.get(worker.id) ?? 0,
            arriving.get(worker.id)?.blocks ?? 0,
          )
        : 0;
    const lacking: WorkerState[] = [];
    let left = expected;
    for (const state of serving) {
      if (obstacle(request, state) !== undefined) continue;
      if (heldBy(state) < blocks) lacking.push(state);
      else left -= freeSlots(state);
      if (left <= 0) return undefined;
    }
    const end = request.hashes[blocks - 1];
    let best: Plan | undefined;
    for (const state of lacking) {
      const { id, kvLayout, cacheTokens } = state.worker;
      if (kvLayout !== from.worker.kvLayout || !this.#canMove(nowUs, state)) continue;
      const tokens = {
        all: blocks * request.blockTokens,
        held: heldBy(state) * request.blockTokens,
      };
      if (tokens.all > cacheTokens || this.#made.has(copyOf(id, end))) continue;
      const savedUs = savingUs(state, tokens);
      // Before a slower one is there, whoever comes has computed it.
      if (this.transferUs(state.worker, tokens.all) >= savedUs) continue;
      const gainUs = Math.min(left, freeSlots(state)) * savedUs - this.#costUs(state, tokens.all);
      if (gainUs > (best?.gainUs ?? 0)) best = { to: state, savedUs, gainUs };
    }
    return best;
  }

  #canMove(nowUs: number, { worker, mode }: WorkerState): boolean {
    if (worker.kvLayout === undefined || mode !== 'exact') return false;
    if ((this.#backOff.get(worker.id)?.untilUs ?? 0) > nowUs) return false;
    let moves = 0;
    for (const { order } of this.#moves.values()) {
      if (order.from === worker.id || order.to === worker.id) moves++;
    }
    return moves < LIMITS.perWorkerMax;
  }

  /** The transfer, and what it pushes out there that somebody computes again. */
  #costUs({ worker, live, curve }: WorkerState, tokens: number): number {
    const transferUs = this.transferUs(worker, tokens);
    const lost = Math.min(tokens, Math.max(0, live.tokens + tokens - worker.cacheTokens));
    if (lost === 0) return transferUs;
    const work = { uncachedTokens: lost, contextTokens: tokens, ...NOTHING };
    return transferUs + curve.prefillUs(work);
  }

  #transfer(layout: string): LinearFit {
    let fit = this.#transfers.get(layout);
    if (fit !== undefined) return fit;
    fit = new LinearFit([PRIOR_US.base, PRIOR_US.perThousandTokens], FIT);
    this.#transfers.set(layout, fit);
    dropOldest(this.#transfers, LIMITS.layoutsMax);
    return fit;
  }

  #failed(nowUs: number, worker: WorkerId): void {
    if (this.#parts.workers.get(worker) === undefined) return;
    const last = this.#backOff.get(worker)?.us ?? LIMITS.backOffUsMin / 2;
    const us = Math.min(2 * last, LIMITS.backOffUsMax);
    this.#backOff.set(worker, { untilUs: nowUs + us, us });
  }
}

const NONE_ARRIVING: ReadonlyMap<WorkerId, Arriving> = new Map();
const NOTHING = { hostTokens: 0, diskTokens: 0, decoding: 0 } as const;

/** By one request that finds the tokens in host memory there, where imports land. */
function savingUs({ curve }: WorkerState, tokens: { all: number; held: number }): number {
  const missing = tokens.all - tokens.held;
  const work = { uncachedTokens: missing, contextTokens: tokens.all, ...NOTHING };
  return Math.max(0, curve.prefillUs(work) - curve.fetchUs({ hostTokens: missing, diskTokens: 0 }));
}

function freeSlots({ worker, load }: WorkerState): number {
  return Math.max(0, worker.slots - load.requests);
}

function features(tokens: number): number[] {
  return [1, tokens / 1000];
}

/** Turns of one thread are no siblings. */
function keyOf({ id, tenant, thread }: Arrival): string {
  return thread === undefined ? `request ${id}` : `thread ${tenant} ${thread}`;
}

function copyOf(to: WorkerId, end: BlockHash): string {
  return `${to} ${end.toString(16)}`;
}

function nameOf({ to, hashes }: ReplicateOrder): string {
  return copyOf(to, hashes[hashes.length - 1]);
}

function dropOldest(
  kept: { readonly size: number; keys(): Iterator<unknown>; delete(key: never): boolean },
  sizeMax: number,
): void {
  if (kept.size <= sizeMax) return;
  kept.delete(kept.keys().next().value as never);
}
