/**
 * Where a request goes, from the survey to the booking, and what its end teaches. Choosing touches
 * nothing; one method books.
 */
import { assert, must } from '../base/assert.ts';
import type { Prng } from '../base/prng.ts';
import { RunningMean } from '../base/running-mean.ts';
import type { RequestId, WorkerId } from '../model/ids.ts';
import type { Arrival, Candidate, Decision, DecodeStage, Order } from '../model/kernel-io.ts';
import type { Book, Booking } from './book.ts';
import type { Confidence } from './confidence.ts';
import type { ExactIndex } from './index/exact.ts';
import type { PredictedIndex } from './index/predicted.ts';
import { type Policy, type Seen, seenAs } from './policy.ts';
import type { Waiter } from './queue/waiting.ts';
import { besideKin } from './route/kin.ts';
import { learn } from './route/learning.ts';
import { type Moves, savingUs } from './route/moves.ts';
import { shortlist } from './route/shortlist.ts';
import { type First, Survey, type Typical } from './route/survey.ts';
import type { Thread, Threads } from './session/threads.ts';
import type { Underway } from './underway.ts';
import type { WorkerState, Workers } from './workers.ts';

export interface PlacingParts {
  workers: Workers;
  book: Book;
  exact: ExactIndex;
  predicted: PredictedIndex;
  confidence: Confidence;
  underway: Underway;
  threads: Threads;
  moves: Moves;
  rng: Prng;
}

/** How a request is placed. */
interface Place {
  /** What else is to be done goes here. */
  orders: Order[];
  /** Nobody but these; undefined: anybody. */
  among?: ReadonlySet<WorkerId> | undefined;
  /** Others of its program wait or run. */
  isKin?: boolean;
}

/** A request that runs, beside its booking. */
interface Running {
  waiter: Waiter;
  thread: Thread | undefined;
  stage: Decision['stage'];
  /** It began when a copy had come, not when it was placed. */
  awaits: boolean;
  /** Tokens that are brought there from whoever computed the prompt. */
  broughtTokens: number;
}

/** Running means look back so many requests. */
const MEMORY = 50;

export class Placing {
  readonly #parts: PlacingParts;
  readonly #survey: Survey;
  readonly #running = new Map<RequestId, Running>();
  readonly #outputTokens: RunningMean;
  readonly #prefillUs = new RunningMean({ memory: MEMORY, prior: 0 });
  readonly #seen: Seen[] = [];
  readonly #inStages: boolean;
  policy: Policy;

  constructor(
    parts: PlacingParts,
    given: {
      policy: Policy;
      requestsPerSlotMax: number;
      outputTokensExpected: number;
      inStages?: boolean;
    },
  ) {
    this.#parts = parts;
    this.policy = given.policy;
    this.#inStages = given.inStages === true;
    const { requestsPerSlotMax } = given;
    // Its own stream: how many workers there are shifts no policy's draws.
    const rng = parts.rng.fork('survey');
    this.#survey = new Survey({ ...parts, rng, requestsPerSlotMax });
    this.#outputTokens = new RunningMean({ memory: MEMORY, prior: given.outputTokensExpected });
  }

  get running(): number {
    return this.#running.size;
  }

  get typical(): Typical {
    return { outputTokens: this.#outputTokens.mean, prefillUs: this.#prefillUs.mean };
  }

  /** Whether anybody who serves the model, or `among` those, has room for one more. */
  hasRoom(model: string, among?: ReadonlySet<WorkerId>): boolean {
    const { workers } = this.#parts;
    for (const state of workers.serving(model)) {
      const isMeant = among === undefined || among.has(state.worker.id);
      if (isMeant && this.#survey.hasRoom(state)) return true;
    }
    return false;
  }

  /**
   * Undefined where nobody, or nobody `among` those, has room for it. KV that goes there first is
   * ordered.
   */
  place(nowUs: number, waiter: Waiter, { orders, among, isKin }: Place): Decision | undefined {
    const { request } = waiter;
    if (!this.hasRoom(request.model, among)) return undefined;
    const { movesKv } = this.policy;
    const all = this.#survey.able(nowUs, waiter, this.typical, { among, movesKv });
    if (all.length === 0) return undefined;
    if (this.#inStages && !request.whenIdle && waiter.prefilledOn === undefined) {
      const first = this.#survey.first(waiter);
      if (first !== undefined) return this.#placeFirst(nowUs, waiter, first);
    }
    const { policy } = this;
    const able = isKin && policy.view === 'price' ? besideKin(all, request.promptTokens) : all;
    const seen = this.#seen;
    seen.length = 0;
    for (const { worker, load, candidate } of able) {
      seen.push(seenAs(policy, worker, { requests: load.requests, candidate }));
    }
    const chosen = policy.choose(request, seen, this.#parts.rng);
    const found = able.find(({ worker }) => worker.id === chosen);
    const state = must(found, 'a policy chooses among those it sees');
    const { candidate, worker } = state;
    const giver = this.#survey.giverFor(waiter, worker);
    const stage = giver && decodeStage(request, giver, state);
    if (candidate.brings !== undefined) orders.push(this.#bring(nowUs, request, state));
    this.#reserve(nowUs, waiter, { candidate, stage });
    return {
      policy: policy.name,
      chosen,
      ...(stage === undefined ? {} : { stage }),
      candidates: shortlist(able, chosen),
      eligible: able.length,
      queuedUs: nowUs - waiter.arrivedUs,
      attempt: waiter.attempt,
    };
  }

  /**
   * The first of two stages ended; undefined where it had before. Whoever is returned waits for the
   * second, where its answer is made.
   */
  prefilled(
    nowUs: number,
    { request, cachedTokens }: { request: RequestId; cachedTokens: number | undefined },
  ): Waiter | undefined {
    const { book, confidence, underway, workers } = this.#parts;
    const running = this.#running.get(request);
    if (running?.stage?.kind !== 'prefill') return undefined;
    // Answers are what a worker is believed by.
    confidence.dropped(request);
    underway.computed(nowUs, request);
    book.firstToken(nowUs, request);
    const { booking, end } = must(book.release(nowUs, request), 'what runs is booked');
    this.#running.delete(request);
    const state = workers.get(booking.worker);
    if (state !== undefined) {
      const { slots } = state.worker;
      learn(state.curve, { booking, end, outputTokens: 0, cachedTokens, slots });
    }
    return { ...running.waiter, prefilledOn: booking.worker };
  }

  /** What was placed came to an end; undefined where it had before. `outputTokens` 0: of no use. */
  ended(
    nowUs: number,
    request: RequestId,
    answer: { outputTokens: number; cachedTokens: number | undefined } | undefined,
  ): { booking: Booking; waiter: Waiter } | undefined {
    const { book, confidence, underway, threads } = this.#parts;
    const released = book.release(nowUs, request);
    const running = this.#running.get(request);
    this.#running.delete(request);
    confidence.dropped(request);
    underway.dropped(request);
    if (running?.thread !== undefined) {
      threads.ended(nowUs, running.thread, answer?.outputTokens ?? 0);
    }
    if (released === undefined || running === undefined) return undefined;
    const { booking, end } = released;
    const state = this.#parts.workers.get(booking.worker);
    // Who gives way takes longer than it takes.
    if (answer !== undefined && !booking.whenIdle) {
      this.#outputTokens.add(answer.outputTokens);
      // Exact events say as well as the engine itself what was cached.
      const believed = state?.mode === 'exact' ? booking.matchedTokens : undefined;
      const isBrought = running.awaits || running.stage !== undefined;
      const cachedTokens = isBrought ? undefined : (answer.cachedTokens ?? believed);
      const { outputTokens } = answer;
      const slots = state?.worker.slots ?? 0;
      if (state !== undefined) {
        learn(state.curve, { booking, end, outputTokens, cachedTokens, slots });
        this.#learnTransfer(state, booking, running);
      }
    }
    // Where it failed its prompt may be lost as well.
    return { booking, waiter: { ...running.waiter, prefilledOn: undefined } };
  }

  check(): void {
    assert(this.#running.size === this.#parts.book.size, 'each running request is booked');
  }

  /** What of the thread lies elsewhere goes with it; a prefix of others stays there as well. */
  #bring(nowUs: number, request: Arrival, to: WorkerState): Order {
    const { moves, threads } = this.#parts;
    const { giver, heldTokens: held } = this.#survey.bringing(to);
    const blocks = Math.min(giver.blocks, request.hashes.length);
    const usMax = savingUs(to, { all: blocks * request.blockTokens, held });
    const thread = threads.of(request);
    const leaves = thread?.home === giver.state.worker.id && thread.running === 0;
    const order = moves.begin(nowUs, request, { giver, to, blocks, usMax, leaves });
    to.candidate.awaits = order.move;
    return order;
  }

  #placeFirst(nowUs: number, waiter: Waiter, { state: { candidate }, next }: First): Decision {
    const stage = { kind: 'prefill', next } as const;
    this.#reserve(nowUs, waiter, { candidate, stage });
    return {
      policy: this.policy.name,
      chosen: candidate.worker,
      stage,
      candidates: [{ ...candidate, terms: { ...candidate.terms } }],
      eligible: 1,
      queuedUs: nowUs - waiter.arrivedUs,
      attempt: waiter.attempt,
    };
  }

  /** Of an answer that nothing else held up: all but its own last block and its fetch was the transfer. */
  #learnTransfer(state: WorkerState, booking: Booking, { broughtTokens }: Running): void {
    const { first, alone, beside, dispatchedUs, ...booked } = booking;
    const { worker, curve } = state;
    if (first === undefined || broughtTokens === 0 || !alone || beside >= worker.slots) return;
    const ownUs = curve.prefillUs({
      uncachedTokens: booked.promptTokens - booked.matchedTokens,
      contextTokens: booked.promptTokens,
      hostTokens: booked.hostTokens,
      diskTokens: booked.diskTokens,
      decoding: beside,
    });
    const tookUs = first.atUs - dispatchedUs - ownUs;
    if (tookUs > 0) this.#parts.moves.sawTransfer(worker, broughtTokens, tookUs);
  }

  #reserve(
    nowUs: number,
    waiter: Waiter,
    { candidate, stage }: { candidate: Candidate; stage: Decision['stage'] },
  ): void {
    const { workers, book, confidence, underway, threads, predicted } = this.#parts;
    const { request } = waiter;
    const { id, promptTokens, hashes } = request;
    const { worker, matchedTokens, hostTokens, diskTokens, terms } = candidate;
    confidence.placed(nowUs, request, candidate);
    underway.started(id, worker, hashes);
    const prefillUs = terms.prefill + terms.fetch;
    if (stage?.kind !== 'prefill' && !request.whenIdle) this.#prefillUs.add(prefillUs);
    book.reserve(nowUs, {
      ...{ request: id, worker, prefillUs },
      ...{ promptTokens, matchedTokens, hostTokens, diskTokens },
      whenIdle: request.whenIdle,
    });
    // A thread sits where its answers are made, and where somebody waits for them.
    const sits = stage?.kind !== 'prefill' && !request.whenIdle;
    const thread = sits ? threads.of(request) : undefined;
    if (thread !== undefined) threads.placed(thread, worker, { promptTokens, matchedTokens });
    const awaits = candidate.awaits !== undefined;
    const broughtTokens = stage?.kind === 'decode' ? (candidate.broughtTokens ?? 0) : 0;
    this.#running.set(id, { waiter, thread, stage, awaits, broughtTokens });
    if (candidate.mode !== 'exact') {
      const { cacheTokens, blockTokens } = must(workers.get(worker), 'it was surveyed').worker;
      predicted.placed(nowUs, worker, hashes, Math.floor(cacheTokens / blockTokens));
    }
    if (stage?.kind !== 'prefill') this.policy.placed?.(request, worker);
  }
}

/** What is brought there may take as long as computing it there would. */
function decodeStage(
  { promptTokens }: Arrival,
  giver: WorkerState,
  { candidate, curve, load }: WorkerState,
): DecodeStage {
  const work = { uncachedTokens: candidate.broughtTokens ?? 0, contextTokens: promptTokens };
  const nothing = { hostTokens: 0, diskTokens: 0 };
  const computeUs = curve.prefillUs({ ...work, ...nothing, decoding: load.decoding });
  return { kind: 'decode', from: giver.worker.id, usMax: Math.ceil(computeUs) };
}
