/**
 * All decisions, as one plain machine: `handle(nowUs, fact) → orders`. It knows no clock, waits for
 * nothing and does nothing: the live gateway and the simulator feed it the same facts and carry out
 * its orders, so what runs is what was simulated.
 *
 *   arrived ─► waiting ─► eligible? ─► overlap (one walk) ─► price each ─► policy chooses ─► book ─► dispatch
 *   firstTokenSent, progressed, finished, failed, cancelled ─► book ─► whoever waits is tried again
 *   blocksStored, blocksRemoved, blocksCleared, feedLost ─► index
 *   arrived with siblings ─► replicate ─► replicated: a prefix is copied ahead of those still to come
 */
import { must, unreachable } from '../base/assert.ts';
import type { Prng } from '../base/prng.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Arrival, Fact, Order } from '../model/kernel-io.ts';
import type { WorkerMode } from '../model/worker.ts';
import { Book } from './book.ts';
import { Confidence, type Evidence } from './confidence.ts';
import { ExactIndex } from './index/exact.ts';
import { PredictedIndex } from './index/predicted.ts';
import { Placing } from './placing.ts';
import type { Policy } from './policy.ts';
import { type Waiter, Waiting } from './queue/waiting.ts';
import { isHopeless, whyNobody } from './route/filter.ts';
import { makePolicy } from './route/policies.ts';
import { Replicator } from './route/replicate.ts';
import { Threads } from './session/threads.ts';
import { Underway } from './underway.ts';
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
  indexBytesMax: number;
  predictedBlocksMax: number;
  predictedUsMax: number;
  confidenceObservationsMin: number;
  /** Output tokens expected before any answer was seen. */
  outputTokensExpected: number;
  /** Copies of prefixes between workers under way at once; 0: none. */
  kvMovesMax: number;
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
    draining: boolean;
    mode: WorkerMode;
    confidence: Evidence;
    requests: number;
    indexedBlocks: number;
    blockTokens: number;
    liveThreads: number;
    liveTokens: number;
    /** What its class's price curves were fitted to. */
    curve: { prefills: number; answers: number };
  }[];
}

/** A prompt is compared with so many that are computed now, at some 2 µs each. */
const UNDERWAY = { comparedMax: 64, eventsUsMax: 1_000_000 } as const;

export class Kernel {
  readonly #settings: KernelSettings;
  readonly #workers: Workers;
  readonly #book = new Book();
  readonly #exact: ExactIndex;
  readonly #predicted: PredictedIndex;
  readonly #confidence: Confidence;
  readonly #underway = new Underway(UNDERWAY);
  readonly #threads: Threads;
  readonly #waiting: Waiting;
  readonly #placing: Placing;
  readonly #replicator: Replicator;

  /** Throws where there is no policy of the given name. */
  constructor(given: { settings: KernelSettings; rng: Prng }) {
    const { settings } = given;
    this.#settings = settings;
    this.#threads = new Threads(settings);
    this.#workers = new Workers({ book: this.#book, threads: this.#threads });
    this.#exact = new ExactIndex({ bytesMax: settings.indexBytesMax });
    this.#predicted = new PredictedIndex({
      blocksMax: settings.predictedBlocksMax,
      beliefUs: settings.predictedUsMax,
    });
    const indexes = { exact: this.#exact, predicted: this.#predicted };
    this.#confidence = new Confidence(settings, indexes);
    this.#waiting = new Waiting({
      requestsMax: settings.queueRequestsMax,
      waitUsMax: settings.queueUsMax,
    });
    this.#replicator = new Replicator(
      {
        workers: this.#workers,
        exact: this.#exact,
        underway: this.#underway,
        waits: (request) => this.#waiting.has(request),
      },
      { movesMax: settings.kvMovesMax },
    );
    this.#placing = new Placing(
      {
        ...indexes,
        workers: this.#workers,
        book: this.#book,
        threads: this.#threads,
        confidence: this.#confidence,
        underway: this.#underway,
        replicator: this.#replicator,
        rng: given.rng,
      },
      { ...settings, policy: this.#policyNamed(settings.policy) },
    );
  }

  get policy(): string {
    return this.#placing.policy.name;
  }

  handle(nowUs: number, fact: Fact): Order[] {
    const orders: Order[] = [];
    this.#placing.policy.hears?.(nowUs, fact);
    switch (fact.kind) {
      case 'arrived':
        this.#arrived(nowUs, fact.request, orders);
        break;
      case 'firstTokenSent':
        this.#book.firstToken(nowUs, fact.request);
        this.#underway.computed(nowUs, fact.request);
        break;
      case 'progressed':
        this.#book.progress(fact.request, fact.outputTokens);
        break;
      case 'finished':
        this.#finished(nowUs, fact, orders);
        this.#serveWaiting(nowUs, orders);
        break;
      case 'failed':
        this.#failed(nowUs, fact, orders);
        this.#serveWaiting(nowUs, orders);
        break;
      case 'cancelled':
        this.#waiting.remove(fact.request);
        this.#placing.ended(nowUs, fact.request, undefined);
        this.#serveWaiting(nowUs, orders);
        break;
      case 'workerJoined':
        this.#workers.joined(fact.worker);
        this.#confidence.joined(fact.worker.id, fact.worker.hasEvents ? 'exact' : 'predicted');
        this.#serveWaiting(nowUs, orders);
        break;
      case 'workerLeft':
        this.#left(fact.worker);
        break;
      case 'healthChanged':
        this.#setHealth(fact.worker, fact.healthy);
        this.#serveWaiting(nowUs, orders);
        break;
      case 'drainChanged':
        this.#setDraining(fact.worker, fact.draining);
        this.#serveWaiting(nowUs, orders);
        break;
      case 'blocksStored':
      case 'blocksRemoved':
        this.#changed(fact);
        break;
      case 'blocksCleared':
        this.#forgetBlocks(fact.worker);
        this.#feedIs(fact.worker, 'exact');
        break;
      case 'feedLost':
        this.#forgetBlocks(fact.worker);
        this.#feedIs(fact.worker, 'predicted');
        break;
      case 'policyChanged':
        this.#placing.policy = this.#policyNamed(fact.policy);
        break;
      case 'replicated':
        this.#replicator.ended(nowUs, fact);
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
    this.#threads.lapse(nowUs);
    return {
      policy: this.#placing.policy.name,
      waiting: this.#waiting.size,
      running: this.#book.size,
      liveThreads: this.#threads.liveCount(),
      workers: [...this.#workers.values()].map(
        ({ worker, healthy, draining, mode, load, live, curve }) => {
          const { id, blockTokens } = worker;
          const index = mode === 'exact' ? this.#exact : this.#predicted;
          return {
            id,
            healthy,
            draining,
            mode,
            confidence: this.#confidence.evidence(id),
            requests: load.requests,
            indexedBlocks: index.count(id),
            blockTokens,
            liveThreads: live.threads,
            liveTokens: live.tokens,
            curve: curve.observations,
          };
        },
      ),
    };
  }

  check(): void {
    this.#book.check();
    this.#exact.check();
    this.#predicted.check();
    this.#threads.check();
    this.#placing.check();
    this.#replicator.check();
    this.#confidence.check(this.#book.size);
    this.#underway.check(this.#book.size);
  }

  #arrived(nowUs: number, request: Arrival, orders: Order[]): void {
    const waiter: Waiter = { request, arrivedUs: nowUs, excluded: new Set(), attempt: 1 };
    if (request.thread !== undefined) this.#threads.arrived(nowUs, request.tenant, request.thread);
    this.#serve(nowUs, waiter, orders);
    const copy = this.#replicator.arrived(nowUs, request);
    if (copy !== undefined) orders.push(copy);
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
    const states = this.#workers.serving(request.model);
    const sentence = isHopeless(request, states) ? whyNobody(request, states) : undefined;
    if (sentence !== undefined) {
      const refused = { kind: 'reject', request: request.id, code: 'no_worker', sentence } as const;
      orders.push({ ...refused, retryAfterUs: this.#settings.queueUsMax / 10 });
      return;
    }
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
    const decision = this.#placing.place(nowUs, waiter);
    if (decision === undefined) return false;
    const { id } = waiter.request;
    this.#waiting.remove(id);
    orders.push({ kind: 'dispatch', request: id, worker: decision.chosen, decision });
    return true;
  }

  #finished(nowUs: number, fact: Extract<Fact, { kind: 'finished' }>, orders: Order[]): void {
    const change = this.#confidence.reported(fact.request, fact.cachedTokens);
    const ended = this.#placing.ended(nowUs, fact.request, fact);
    if (ended === undefined) return;
    const { worker, alone, matchedTokens } = ended.booking;
    const { hashes, blockTokens } = ended.waiter.request;
    // What others were still computing was counted on, and not there yet: no sign of anything dropped.
    if (fact.cachedTokens !== undefined && alone) {
      const believed = Math.floor(matchedTokens / blockTokens);
      const reported = Math.floor(fact.cachedTokens / blockTokens);
      this.#predicted.confirm(worker, hashes, { believed, reported });
    }
    if (change === undefined) return;
    const state = this.#workers.get(worker);
    if (state !== undefined) state.mode = change.to;
    orders.push({ kind: 'warn', worker, sentence: change.sentence });
  }

  #failed(nowUs: number, fact: Extract<Fact, { kind: 'failed' }>, orders: Order[]): void {
    const ended = this.#placing.ended(nowUs, fact.request, undefined);
    if (ended === undefined || !fact.retry) return;
    const { waiter } = ended;
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

  /** Where one found no room, nobody who needs as much finds any. */
  #serveWaiting(nowUs: number, orders: Order[]): void {
    const full = new Map<string, number>();
    for (const waiter of this.#waiting.inOrder()) {
      const { model, promptTokens, wants } = waiter.request;
      if (promptTokens >= (full.get(model) ?? Number.POSITIVE_INFINITY)) continue;
      if (this.#place(nowUs, waiter, orders)) continue;
      if (wants === undefined) full.set(model, promptTokens);
    }
  }

  #expire(nowUs: number, orders: Order[]): void {
    for (const { request } of this.#waiting.takeExpired(nowUs)) {
      const reason = whyNobody(request, this.#workers.serving(request.model));
      orders.push({
        kind: 'reject',
        request: request.id,
        code: reason === undefined ? 'queue_full' : 'no_worker',
        sentence:
          reason ?? 'All engines were busy for as long as a request may wait; try again later.',
        retryAfterUs: this.#settings.queueUsMax / 10,
      });
    }
  }

  #policyNamed(name: string): Policy {
    return must(makePolicy(name, this.#settings), `the policy ${name} exists`);
  }

  #changed(fact: Extract<Fact, { kind: 'blocksStored' | 'blocksRemoved' }>): void {
    const { worker, hashes, tier } = fact;
    // A worker that lost events says nothing more of use until it starts over.
    if (!this.#confidence.isHeard(worker)) return;
    if (fact.kind === 'blocksStored') this.#exact.stored(worker, hashes, tier, fact.before);
    else {
      this.#exact.removed(worker, hashes, tier);
      this.#underway.removed(worker, hashes);
    }
  }

  #left(worker: WorkerId): void {
    this.#workers.left(worker);
    this.#confidence.left(worker);
    this.#replicator.left(worker);
    this.#forgetBlocks(worker);
  }

  #forgetBlocks(worker: WorkerId): void {
    this.#exact.cleared(worker);
    this.#predicted.cleared(worker);
    this.#underway.cleared(worker);
  }

  #setDraining(worker: WorkerId, draining: boolean): void {
    const state = this.#workers.get(worker);
    if (state !== undefined) state.draining = draining;
  }

  #setHealth(worker: WorkerId, healthy: boolean): void {
    const state = this.#workers.get(worker);
    if (state !== undefined) state.healthy = healthy;
  }

  /** A worker that lost events says nothing more of use until it starts over. */
  #feedIs(worker: WorkerId, feed: 'exact' | 'predicted'): void {
    const state = this.#workers.get(worker);
    if (state?.worker.hasEvents) state.mode = this.#confidence.feed(worker, feed);
  }
}
