/**
 * Copies a prefix to another worker before those come that will want it there: a parent sends out its
 * sub-agents, or many sessions begin with one system prompt, and who holds it has fewer free slots than
 * are still to come.
 *
 *   arrived ─► siblings that came lately ─► the prefix worth most ─► who holds it, who has room ─► replicate
 *   replicated ─► what a move takes, and whom not to ask again soon (moves.ts)
 *
 * A move has to pay: it is made where the prefill that it saves is longer than the transfer and what its
 * blocks push out there, and no move may take longer than one of them would compute. Whoever comes while it
 * is under way may wait for it: the survey prices that. How many are still to come is
 * not known; as many again as came lately is the least presuming guess (the Copernican one), and those
 * that wait in the queue are known to come.
 */
import { assert } from '../../base/assert.ts';
import type { RequestId } from '../../model/ids.ts';
import type { Arrival } from '../../model/kernel-io.ts';
import { wordsOf } from '../index/descent.ts';
import type { ExactIndex } from '../index/exact.ts';
import { sharedBlocks, type Underway } from '../underway.ts';
import type { WorkerState, Workers } from '../workers.ts';
import { obstacle } from './filter.ts';
import { type Giver, type Moves, type ReplicateOrder, savingUs } from './moves.ts';

export interface ReplicatorParts {
  workers: Workers;
  exact: ExactIndex;
  underway: Underway;
  moves: Moves;
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

const LIMITS = {
  /** Siblings of a fan-out start within seconds; compared with so many, at some 2 µs each. */
  siblingUsMax: 5_000_000,
  siblingsMax: 32,
} as const;

export class Replicator {
  readonly #parts: ReplicatorParts;
  /** By thread or request, in the order they came. */
  readonly #siblings = new Map<string, Sibling>();

  constructor(parts: ReplicatorParts) {
    this.#parts = parts;
  }

  /** A request came and was placed, or waits. */
  arrived(nowUs: number, request: Arrival): ReplicateOrder | undefined {
    if (request.hashes.length === 0 || !this.#parts.moves.serves(request.model)) return undefined;
    const wanted = this.#wanted(nowUs, request);
    this.#remember(nowUs, request);
    return wanted === undefined ? undefined : this.#decide(nowUs, wanted);
  }

  check(): void {
    assert(this.#siblings.size <= LIMITS.siblingsMax, 'siblings are bounded');
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
    if (this.#siblings.size <= LIMITS.siblingsMax) return;
    const [oldest] = this.#siblings.keys();
    this.#siblings.delete(oldest);
  }

  #decide(nowUs: number, wanted: Wanted): ReplicateOrder | undefined {
    const { exact, moves } = this.#parts;
    const { request } = wanted;
    exact.look(request.hashes);
    const giver = moves.giver(nowUs, request);
    if (giver === undefined) return undefined;
    const blocks = Math.min(wanted.blocks, giver.blocks);
    const plan = this.#target(nowUs, { ...wanted, blocks }, giver);
    if (plan === undefined) return undefined;
    const { to, savedUs: usMax } = plan;
    return moves.begin(nowUs, request, { giver, to, blocks, usMax, leaves: false });
  }

  /** Where the most is gained; undefined where nothing is. */
  #target(nowUs: number, { request, blocks, expected }: Wanted, giver: Giver): Plan | undefined {
    const { exact, underway, moves, workers } = this.#parts;
    const computing = underway.depths(nowUs, request.hashes);
    const arriving = moves.arriving(nowUs, request.hashes);
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
    for (const state of workers.serving(request.model)) {
      if (obstacle(request, state) !== undefined) continue;
      if (heldBy(state) < blocks) lacking.push(state);
      else left -= freeSlots(state);
      if (left <= 0) return undefined;
    }
    const end = request.hashes[blocks - 1];
    const all = blocks * request.blockTokens;
    let best: Plan | undefined;
    for (const state of lacking) {
      if (!moves.takes(nowUs, state, { giver, tokens: all })) continue;
      if (moves.wasMade(state.worker.id, end)) continue;
      const savedUs = savingUs(state, { all, held: heldBy(state) * request.blockTokens });
      // Before a slower one is there, whoever comes has computed it.
      if (moves.transferUs(state.worker, all) >= savedUs) continue;
      const gainUs = Math.min(left, freeSlots(state)) * savedUs - this.#costUs(state, all);
      if (gainUs > (best?.gainUs ?? 0)) best = { to: state, savedUs, gainUs };
    }
    return best;
  }

  /** The transfer, and what it pushes out there that somebody computes again. */
  #costUs({ worker, live, curve }: WorkerState, tokens: number): number {
    const transferUs = this.#parts.moves.transferUs(worker, tokens);
    const lost = Math.min(tokens, Math.max(0, live.tokens + tokens - worker.cacheTokens));
    if (lost === 0) return transferUs;
    const nothing = { hostTokens: 0, diskTokens: 0, decoding: 0 };
    return (
      transferUs + curve.prefillUs({ uncachedTokens: lost, contextTokens: tokens, ...nothing })
    );
  }
}

function freeSlots({ worker, load }: WorkerState): number {
  return Math.max(0, worker.slots - load.requests);
}

/** Turns of one thread are no siblings. */
function keyOf({ id, tenant, thread }: Arrival): string {
  return thread === undefined ? `request ${id}` : `thread ${tenant} ${thread}`;
}
