/**
 * All decisions, as one plain machine: `handle(nowUs, fact) → orders`. It knows no clock, waits for
 * nothing and does nothing: the live gateway and the simulator feed it the same facts and carry out
 * its orders, so what runs is what was simulated.
 *
 *   arrived ─► waiting ─► eligible? ─► overlap (one walk) ─► price each ─► policy chooses ─► book ─► dispatch
 *   firstTokenSent, progressed, finished, failed, cancelled ─► book ─► whoever waits is tried again
 *   blocksStored, blocksRemoved, blocksCleared, feedLost ─► index
 */
import { assert, must, unreachable } from '../base/assert.ts';
import type { Prng } from '../base/prng.ts';
import type { RequestId, WorkerId } from '../model/ids.ts';
import type { Arrival, Decision, Fact, Order } from '../model/kernel-io.ts';
import type { WorkerMode } from '../model/worker.ts';
import { Book } from './book.ts';
import { ExactIndex } from './index/exact.ts';
import { PredictedIndex } from './index/predicted.ts';
import { type Policy, seenBy } from './policy.ts';
import { type Waiter, Waiting } from './queue/waiting.ts';
import { prefill } from './route/cost.ts';
import { makePolicy } from './route/policies.ts';
import { Survey } from './route/survey.ts';
import { type Thread, Threads } from './session/threads.ts';
import { Workers } from './workers.ts';

export interface KernelSettings {
  policy: string;
  queueRequestsMax: number;
  queueUsMax: number;
  /** A worker gets at most so many requests per slot; the rest wait here, where they can still choose. */
  requestsPerSlotMax: number;
  attemptsMax: number;
  tenantsMax: number;
  threadsMax: number;
  predictedBlocksMax: number;
  predictedUsMax: number;
  /** Output tokens expected before any answer was seen. */
  outputTokensExpected: number;
}

/** A request that runs, beside its booking. */
interface Running {
  waiter: Waiter;
  thread: Thread | undefined;
}

/** For the page. */
export interface KernelState {
  policy: string;
  waiting: number;
  running: number;
  liveThreads: number;
  workers: {
    id: WorkerId;
    healthy: boolean;
    mode: WorkerMode;
    requests: number;
    indexedBlocks: number;
    blockTokens: number;
    liveThreads: number;
    liveTokens: number;
  }[];
}

export class Kernel {
  readonly #settings: KernelSettings;
  readonly #rng: Prng;
  readonly #workers = new Workers();
  readonly #book = new Book();
  readonly #exact = new ExactIndex();
  readonly #predicted: PredictedIndex;
  readonly #threads: Threads;
  readonly #waiting: Waiting;
  readonly #survey: Survey;
  readonly #running = new Map<RequestId, Running>();
  #policy: Policy;
  /** Running mean of answers' lengths. */
  #outputTokens: number;

  /** Throws where there is no policy of the given name. */
  constructor(given: { settings: KernelSettings; rng: Prng }) {
    const { settings } = given;
    this.#settings = settings;
    this.#rng = given.rng;
    this.#threads = new Threads(settings);
    this.#predicted = new PredictedIndex({
      blocksMax: settings.predictedBlocksMax,
      beliefUs: settings.predictedUsMax,
    });
    this.#waiting = new Waiting({
      requestsMax: settings.queueRequestsMax,
      waitUsMax: settings.queueUsMax,
    });
    this.#survey = new Survey({
      workers: this.#workers,
      book: this.#book,
      exact: this.#exact,
      predicted: this.#predicted,
      threads: this.#threads,
      requestsPerSlotMax: settings.requestsPerSlotMax,
    });
    this.#outputTokens = settings.outputTokensExpected;
    this.#policy = must(
      makePolicy(settings.policy, settings),
      `the policy ${settings.policy} exists`,
    );
  }

  get policy(): string {
    return this.#policy.name;
  }

  handle(nowUs: number, fact: Fact): Order[] {
    const orders: Order[] = [];
    switch (fact.kind) {
      case 'arrived':
        this.#arrived(nowUs, fact.request, orders);
        break;
      case 'firstTokenSent':
        this.#book.firstToken(nowUs, fact.request);
        break;
      case 'progressed':
        this.#book.progress(fact.request, fact.outputTokens);
        break;
      case 'finished':
        this.#finished(nowUs, fact);
        this.#serveWaiting(nowUs, orders);
        break;
      case 'failed':
        this.#failed(nowUs, fact, orders);
        this.#serveWaiting(nowUs, orders);
        break;
      case 'cancelled':
        this.#waiting.remove(fact.request);
        this.#end(nowUs, fact.request, 0);
        this.#serveWaiting(nowUs, orders);
        break;
      case 'workerJoined':
        this.#workers.joined(fact.worker);
        this.#serveWaiting(nowUs, orders);
        break;
      case 'workerLeft':
        this.#workers.left(fact.worker);
        this.#threads.workerLeft(fact.worker);
        this.#forgetBlocks(fact.worker);
        break;
      case 'healthChanged':
        this.#setHealth(fact.worker, fact.healthy);
        this.#serveWaiting(nowUs, orders);
        break;
      case 'blocksStored':
        if (this.#listensTo(fact.worker)) this.#exact.stored(fact.worker, fact.hashes, fact.tier);
        break;
      case 'blocksRemoved':
        if (this.#listensTo(fact.worker)) this.#exact.removed(fact.worker, fact.hashes, fact.tier);
        break;
      case 'blocksCleared':
        this.#forgetBlocks(fact.worker);
        this.#setMode(fact.worker, 'exact');
        break;
      case 'feedLost':
        this.#forgetBlocks(fact.worker);
        this.#setMode(fact.worker, 'predicted');
        break;
      case 'policyChanged':
        this.#policy = must(
          makePolicy(fact.policy, this.#settings),
          'a policy is checked at the door',
        );
        break;
      case 'ticked':
        this.#expire(nowUs, orders);
        break;
      default:
        unreachable(fact);
    }
    const deadline = this.#waiting.nextDeadlineUs();
    if (deadline !== undefined) orders.push({ kind: 'wake', atUs: deadline });
    return orders;
  }

  state(nowUs: number): KernelState {
    return {
      policy: this.#policy.name,
      waiting: this.#waiting.size,
      running: this.#book.size,
      liveThreads: this.#threads.liveCount(nowUs),
      workers: [...this.#workers.values()].map(({ worker, healthy, mode }) => {
        const { id, blockTokens } = worker;
        const live = this.#threads.live(nowUs, id, undefined);
        const index = mode === 'exact' ? this.#exact : this.#predicted;
        return {
          id,
          healthy,
          mode,
          requests: this.#book.count(id),
          indexedBlocks: index.count(id),
          blockTokens,
          liveThreads: live.threads,
          liveTokens: live.tokens,
        };
      }),
    };
  }

  check(): void {
    this.#book.check();
    this.#exact.check();
    this.#predicted.check();
    this.#threads.check();
    assert(this.#running.size === this.#book.size, 'each running request is booked');
  }

  #arrived(nowUs: number, request: Arrival, orders: Order[]): void {
    const waiter: Waiter = { request, arrivedUs: nowUs, excluded: new Set(), attempt: 1 };
    if (request.thread !== undefined) this.#threads.arrived(nowUs, request.tenant, request.thread);
    this.#serve(nowUs, waiter, orders);
  }

  /** Dispatches the request, or lets it wait, or refuses it. */
  #serve(nowUs: number, waiter: Waiter, orders: Order[]): void {
    this.#threads.lapse(nowUs);
    const { request } = waiter;
    const fitting = this.#workers.contextMax(request.model);
    if (fitting !== undefined && request.promptTokens >= fitting) {
      orders.push({
        kind: 'reject',
        request: request.id,
        code: 'context_length_exceeded',
        sentence: `This model's context is ${fitting} tokens, but the prompt has ${request.promptTokens}; shorten it.`,
      });
      return;
    }
    // Room appears only when those who wait were served first: nobody is overtaken here.
    if (this.#place(nowUs, waiter, orders)) return;
    if (this.#waiting.push(waiter) === 'taken') return;
    orders.push({
      kind: 'reject',
      request: request.id,
      code: 'queue_full',
      sentence: `All engines are busy and ${this.#waiting.size} requests wait already; try again later.`,
      retryAfterUs: this.#settings.queueUsMax / 10,
    });
  }

  #place(nowUs: number, waiter: Waiter, orders: Order[]): boolean {
    const candidates = this.#survey.candidates(nowUs, waiter, this.#outputTokens);
    if (candidates.length === 0) return false;
    const seen = candidates.map((candidate) => seenBy(this.#policy, candidate, this.#book));
    const chosen = this.#policy.choose(waiter.request, seen, this.#rng);
    const decision: Decision = {
      policy: this.#policy.name,
      chosen,
      candidates,
      queuedUs: nowUs - waiter.arrivedUs,
      attempt: waiter.attempt,
    };
    this.#reserve(nowUs, waiter, decision);
    orders.push({ kind: 'dispatch', request: waiter.request.id, worker: chosen, decision });
    return true;
  }

  #reserve(nowUs: number, waiter: Waiter, decision: Decision): void {
    const { request } = waiter;
    const { chosen } = decision;
    const { worker, mode } = must(this.#workers.get(chosen), 'a policy chooses among candidates');
    const candidate = decision.candidates.find((one) => one.worker === chosen);
    const { matchedTokens } = must(candidate, 'a policy chooses among candidates');
    const uncached = request.promptTokens - matchedTokens;
    this.#book.reserve(nowUs, {
      request: request.id,
      worker: chosen,
      prefillUs: Math.round(prefill(worker.prefill, uncached, request.promptTokens)),
      promptTokens: request.promptTokens,
      matchedTokens,
    });
    const { promptTokens } = request;
    const thread = this.#threads.of(request);
    if (thread !== undefined) this.#threads.placed(thread, chosen, { promptTokens, matchedTokens });
    this.#running.set(request.id, { waiter, thread });
    this.#waiting.remove(request.id);
    if (mode === 'predicted') {
      const capacityBlocks = Math.floor(worker.cacheTokens / worker.blockTokens);
      this.#predicted.placed(nowUs, chosen, request.hashes, capacityBlocks);
    }
    this.#policy.placed?.(request, chosen);
  }

  #finished(nowUs: number, fact: Extract<Fact, { kind: 'finished' }>): void {
    if (this.#end(nowUs, fact.request, fact.outputTokens) === undefined) return;
    this.#outputTokens += (fact.outputTokens - this.#outputTokens) / 50;
  }

  #failed(nowUs: number, fact: Extract<Fact, { kind: 'failed' }>, orders: Order[]): void {
    const running = this.#running.get(fact.request);
    if (this.#end(nowUs, fact.request, 0) === undefined || running === undefined || !fact.retry)
      return;
    const { waiter } = running;
    if (waiter.attempt >= this.#settings.attemptsMax) {
      orders.push({
        kind: 'reject',
        request: fact.request,
        code: 'engine_lost',
        sentence: `${waiter.attempt} engines failed while serving this request; try again.`,
        retryAfterUs: 1_000_000,
      });
      return;
    }
    const excluded = new Set([...waiter.excluded, fact.worker]);
    this.#serve(nowUs, { ...waiter, excluded, attempt: waiter.attempt + 1 }, orders);
  }

  #end(nowUs: number, request: RequestId, outputTokens: number) {
    const booking = this.#book.release(nowUs, request);
    const running = this.#running.get(request);
    this.#running.delete(request);
    if (running?.thread !== undefined) this.#threads.ended(nowUs, running.thread, outputTokens);
    return booking;
  }

  #serveWaiting(nowUs: number, orders: Order[]): void {
    for (const waiter of this.#waiting.inOrder()) this.#place(nowUs, waiter, orders);
  }

  #expire(nowUs: number, orders: Order[]): void {
    for (const { request } of this.#waiting.takeExpired(nowUs)) {
      const served = [...this.#workers.values()].some((state) => state.healthy);
      orders.push({
        kind: 'reject',
        request: request.id,
        code: served ? 'queue_full' : 'no_worker',
        sentence: served
          ? 'All engines were busy for as long as a request may wait; try again later.'
          : 'No engine that serves this model is up; try again later.',
        retryAfterUs: this.#settings.queueUsMax / 10,
      });
    }
  }

  /** A worker that lost events says nothing more of use until it starts over. */
  #listensTo(worker: WorkerId): boolean {
    return this.#workers.get(worker)?.mode === 'exact';
  }

  #forgetBlocks(worker: WorkerId): void {
    this.#exact.cleared(worker);
    this.#predicted.cleared(worker);
  }

  #setHealth(worker: WorkerId, healthy: boolean): void {
    const state = this.#workers.get(worker);
    if (state !== undefined) state.healthy = healthy;
  }

  #setMode(worker: WorkerId, mode: WorkerMode): void {
    const state = this.#workers.get(worker);
    if (state?.worker.hasEvents) state.mode = mode;
  }
}
