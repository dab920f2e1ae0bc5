/**
 * KV on its way from worker to worker: what is under way, what transfers take, and whom not to ask for
 * one now.
 *
 * A thread's KV goes with it where the price says so: the survey counts the transfer in, and whoever is
 * placed there waits for it. `replicate.ts` has prefixes copied ahead of those who will want them.
 */
import { assert } from '../../base/assert.ts';
import { LinearFit } from '../../base/fit.ts';
import type { BlockHash, BlockHashes } from '../../model/block.ts';
import type { WorkerId } from '../../model/ids.ts';
import type { Arrival, Fact, Order } from '../../model/kernel-io.ts';
import type { Worker } from '../../model/worker.ts';
import { wordsOf } from '../index/descent.ts';
import type { ExactIndex } from '../index/exact.ts';
import { sharedBlocks, type Underway } from '../underway.ts';
import type { WorkerState, Workers } from '../workers.ts';

export type ReplicateOrder = Extract<Order, { kind: 'replicate' }>;
type Replicated = Extract<Fact, { kind: 'replicated' }>;

/** A move that is under way. */
interface Move {
  readonly order: ReplicateOrder;
  readonly words: Int32Array;
  /** As predicted. */
  readonly endUs: number;
}

/** Who holds leading blocks of a prompt, and how many. */
export interface Giver {
  state: WorkerState;
  blocks: number;
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

export class Moves {
  readonly #parts: { workers: Workers; exact: ExactIndex; underway: Underway };
  readonly #movesMax: number;
  readonly #moves = new Map<number, Move>();
  /** Prefixes and where they were copied to, oldest first. */
  readonly #made = new Set<string>();
  readonly #transfers = new Map<string, LinearFit>();
  readonly #backOff = new Map<WorkerId, { untilUs: number; us: number }>();
  #moveCount = 0;

  /** `movesMax`: under way at once; 0: none is ever made. */
  constructor(
    parts: { workers: Workers; exact: ExactIndex; underway: Underway },
    given: { movesMax: number },
  ) {
    this.#parts = parts;
    this.#movesMax = given.movesMax;
  }

  /** Whether KV of the model is moved at all. */
  serves(model: string): boolean {
    return this.#movesMax > 0 && this.#parts.workers.movesKv(model);
  }

  /**
   * Whoever holds most of the prompt that the exact index was asked for last, and may give it now; of
   * those that hold as much, who has least to do.
   */
  giver(nowUs: number, { model }: Arrival): Giver | undefined {
    if (this.#moves.size >= this.#movesMax || !this.serves(model)) return undefined;
    const { exact, workers } = this.#parts;
    let best: WorkerState | undefined;
    let most = 0;
    for (const id of exact.deepest(LIMITS.sourcesMax)) {
      const state = workers.get(id);
      const held = exact.matched(id)?.disk ?? 0;
      if (state === undefined || !state.healthy || !state.worker.models.includes(model)) continue;
      if (held === 0 || held < most || !this.#mayMove(nowUs, state)) continue;
      if (held === most && best !== undefined && best.load.requests <= state.load.requests)
        continue;
      best = state;
      most = held;
    }
    return best && { state: best, blocks: most };
  }

  /** Whether so many tokens of what the giver holds can be copied there now. */
  takes(nowUs: number, state: WorkerState, { giver, tokens }: { giver: Giver; tokens: number }) {
    return (
      state !== giver.state &&
      state.worker.kvLayout === giver.state.worker.kvLayout &&
      tokens <= state.worker.cacheTokens &&
      this.#mayMove(nowUs, state)
    );
  }

  begin(
    nowUs: number,
    { hashes, blockTokens }: Arrival,
    move: { giver: Giver; to: WorkerState; blocks: number; usMax: number; leaves: boolean },
  ): ReplicateOrder {
    const { giver, to, leaves } = move;
    const order: ReplicateOrder = {
      kind: 'replicate',
      move: ++this.#moveCount,
      from: giver.state.worker.id,
      to: to.worker.id,
      hashes: hashes.slice(0, move.blocks),
      usMax: Math.ceil(move.usMax),
      ...(leaves ? { leaves } : {}),
    };
    const endUs = nowUs + this.transferUs(to.worker, order.hashes.length * blockTokens);
    this.#moves.set(order.move, { order, words: wordsOf(order.hashes), endUs });
    this.#made.add(nameOf(order));
    dropOldest(this.#made, LIMITS.madeMax);
    return order;
  }

  /** Whether blocks up to this one were copied there, or are being copied. */
  wasMade(to: WorkerId, end: BlockHash): boolean {
    return this.#made.has(copyOf(to, end));
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
  transferUs({ handoff, kvLayout }: Worker, tokens: number): number {
    return tokens === 0 ? 0 : this.#transfer(handoff ?? kvLayout ?? '').predict(features(tokens));
  }

  /** Tokens came there, whoever sent them. */
  sawTransfer({ handoff, kvLayout }: Worker, tokens: number, us: number): void {
    const way = handoff ?? kvLayout;
    if (way !== undefined) this.#transfer(way).observe(features(tokens), us);
  }

  check(): void {
    assert(this.#moves.size <= this.#movesMax, 'no more moves are under way than may be');
    assert(this.#made.size <= LIMITS.madeMax, 'copies remembered are bounded');
    const names = new Set([...this.#moves.values()].map(({ order }) => nameOf(order)));
    assert(names.size === this.#moves.size, 'what is under way is not begun again');
  }

  #mayMove(nowUs: number, { worker, mode }: WorkerState): boolean {
    if (worker.kvLayout === undefined || mode !== 'exact') return false;
    if ((this.#backOff.get(worker.id)?.untilUs ?? 0) > nowUs) return false;
    let moves = 0;
    for (const { order } of this.#moves.values()) {
      if (order.from === worker.id || order.to === worker.id) moves++;
    }
    return moves < LIMITS.perWorkerMax;
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

/** Time saved by one request that finds the tokens in host memory there, where imports land. */
export function savingUs({ curve }: WorkerState, tokens: { all: number; held: number }): number {
  const missing = tokens.all - tokens.held;
  const nothing = { hostTokens: 0, diskTokens: 0, decoding: 0 };
  const work = { uncachedTokens: missing, contextTokens: tokens.all, ...nothing };
  return Math.max(0, curve.prefillUs(work) - curve.fetchUs({ hostTokens: missing, diskTokens: 0 }));
}

function features(tokens: number): number[] {
  return [1, tokens / 1000];
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
