/**
 * All decisions, as one plain machine: `handle(nowUs, fact) → orders`. It knows no clock, waits for
 * nothing and does nothing: the live gateway and the simulator feed it the same facts and carry out
 * its orders, so what runs is what was simulated.
 *
 *   arrived ─► gate ─► waiting ─► eligible? ─► overlap (one walk) ─► price each ─► policy chooses ─► book ─► dispatch
 *   firstTokenSent, progressed, finished, failed, cancelled ─► book ─► whoever waits is tried again
 *   blocksStored, blocksRemoved, blocksCleared, feedLost ─► index
 *   arrived with siblings ─► replicate ─► replicated: a prefix is copied ahead of those still to come
 */
import { must, unreachable } from '../base/assert.ts';
import type { Prng } from '../base/prng.ts';
import type { RequestId, TenantId } from '../model/ids.ts';
import type { Arrival, Fact, Order } from '../model/kernel-io.ts';
import { Book } from './book.ts';
import { Confidence } from './confidence.ts';
import { FleetNews } from './fleet-news.ts';
import { Gating } from './gate/gating.ts';
import { Wellness } from './health/wellness.ts';
import { ExactIndex } from './index/exact.ts';
import { PredictedIndex } from './index/predicted.ts';
import { Lifetime } from './lifetime/lifetime.ts';
import { Placing } from './placing.ts';
import type { Policy } from './policy.ts';
import { Ahead } from './program/ahead.ts';
import { Programs } from './program/programs.ts';
import { workUs } from './queue/forecast.ts';
import { outlookFor } from './queue/outlook.ts';
import { Queues } from './queue/queues.ts';
import * as refusal from './queue/refusal.ts';
import type { Waiter } from './queue/waiting.ts';
import { isHopeless, whyNobody } from './route/filter.ts';
import { Moves } from './route/moves.ts';
import { makePolicy } from './route/policies.ts';
import { Replicator } from './route/replicate.ts';
import { Threads } from './session/threads.ts';
import { Whereabouts } from './session/whereabouts.ts';
import type { KernelSettings } from './settings.ts';
import { type KernelState, workerReports } from './state.ts';
import { Underway } from './underway.ts';
import { Workers } from './workers.ts';

export type { KernelSettings } from './settings.ts';

/** A prompt is compared with so many that are computed now, at some 2 µs each. */
const UNDERWAY = { comparedMax: 64, eventsUsMax: 1_000_000 } as const;

/** Facts that make no worker idle; they come often. */
const IDLE_BLIND: ReadonlySet<Fact['kind']> = new Set([
  'progressed',
  'blocksStored',
  'blocksRemoved',
]);

export class Kernel {
  /** What is known of KV, for those who ask. */
  readonly whereabouts: Whereabouts;
  /** What threads do, for those who ask, and how long their KV stays. */
  readonly lifetime: Lifetime;
  readonly #settings: KernelSettings;
  readonly #known: Parameters<typeof workerReports>[0];
  readonly #workers: Workers;
  readonly #book = new Book();
  readonly #exact: ExactIndex;
  readonly #predicted: PredictedIndex;
  readonly #confidence: Confidence;
  readonly #underway = new Underway(UNDERWAY);
  readonly #threads: Threads;
  readonly #queues: Queues;
  readonly #gating: Gating;
  readonly #placing: Placing;
  readonly #moves: Moves;
  readonly #replicator: Replicator;
  readonly #news: FleetNews;
  readonly #wellness: Wellness;
  readonly #ahead: Ahead;

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
    this.whereabouts = new Whereabouts({ ...indexes, workers: this.#workers });
    const weightOf = (tenant: TenantId) => settings.tenantWeights?.get(tenant) ?? 1;
    this.#queues = new Queues(settings, {
      workers: this.#workers,
      siblings: (request) => this.#gating.siblings(request),
      weightOf,
    });
    this.#gating = new Gating({
      ...{ workers: this.#workers, threads: this.#threads, programs: new Programs(settings) },
      outputTokens: () => this.#placing.typical.outputTokens,
      weightOf,
    });
    const books = { workers: this.#workers, exact: this.#exact, underway: this.#underway };
    this.#moves = new Moves(books, { movesMax: settings.kvMovesMax });
    const waits = (request: RequestId) => this.#queues.has(request);
    this.#replicator = new Replicator({ ...books, moves: this.#moves, waits });
    const known = { ...indexes, ...books, confidence: this.#confidence, moves: this.#moves };
    this.#known = known;
    this.#wellness = new Wellness({ workers: this.#workers, book: this.#book }, settings);
    this.#news = new FleetNews({ ...known, queues: this.#queues });
    this.#placing = new Placing(
      { ...known, book: this.#book, threads: this.#threads, rng: given.rng },
      { ...settings, policy: this.#policyNamed(settings.policy) },
    );
    const placed = { ...known, threads: this.#threads, placing: this.#placing };
    this.#ahead = new Ahead(placed);
    this.lifetime = new Lifetime(placed, settings);
    this.#gating.gateOf(this.#placing.policy);
  }

  get policy(): string {
    return this.#placing.policy.name;
  }

  handle(nowUs: number, fact: Fact): Order[] {
    const orders: Order[] = [];
    this.#placing.policy.hears?.(nowUs, fact);
    this.#gating.hears(nowUs, fact);
    this.#wellness.hears(nowUs, fact, orders);
    this.#ahead.hears(nowUs, fact, orders);
    this.lifetime.hears(nowUs, fact);
    this.#act(nowUs, fact, orders);
    if (!IDLE_BLIND.has(fact.kind)) this.#serveIdle(nowUs, orders);
    this.#ahead.decided(nowUs, orders);
    this.#gating.decided(nowUs, orders);
    this.lifetime.decided(nowUs, orders);
    const sickUs = this.#wellness.nextUs;
    const wakeUs = Math.min(this.#queues.nextUs(nowUs), this.#gating.nextUs(nowUs), sickUs);
    if (Number.isFinite(wakeUs)) orders.push({ kind: 'wake', atUs: wakeUs });
    return orders;
  }

  #act(nowUs: number, fact: Fact, orders: Order[]): void {
    switch (fact.kind) {
      case 'arrived':
        this.#arrived(nowUs, fact.request, orders);
        break;
      case 'firstTokenSent':
        this.#book.firstToken(nowUs, fact.request);
        this.#underway.computed(nowUs, fact.request);
        break;
      case 'prefilled':
        this.#prefilled(nowUs, fact, orders);
        this.#serveWaiting(nowUs, orders);
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
        this.#queues.remove(fact.request);
        this.#ended(nowUs, fact.request, undefined);
        this.#serveWaiting(nowUs, orders);
        break;
      case 'threadEnded':
        this.#threads.over(fact);
        break;
      case 'workerJoined':
      case 'workerLeft':
      case 'healthChanged':
      case 'drainChanged':
      case 'probed':
        this.#news.ofFleet(fact);
        this.#serveWaiting(nowUs, orders);
        break;
      case 'blocksStored':
      case 'blocksRemoved':
      case 'blocksCleared':
      case 'feedLost':
        this.#news.ofBlocks(fact);
        break;
      case 'policyChanged':
        this.#placing.policy = this.#policyNamed(fact.policy);
        this.#gating.gateOf(this.#placing.policy);
        this.#serveWaiting(nowUs, orders);
        break;
      case 'replicated':
        this.#moves.ended(nowUs, fact);
        break;
      case 'kept':
      case 'foreseen':
        break;
      case 'ticked':
        this.#expire(nowUs, orders);
        this.#serveWaiting(nowUs, orders);
        break;
      default:
        unreachable(fact);
    }
  }

  state(nowUs: number): KernelState {
    this.#threads.lapse(nowUs);
    return {
      policy: this.#placing.policy.name,
      waiting: this.#queues.size,
      gatedPrograms: this.#gating.countPrograms(this.#queues.line.inOrder()),
      running: this.#book.size,
      liveThreads: this.#threads.liveCount(),
      workers: workerReports(this.#known),
    };
  }

  check(): void {
    const known = [this.#book, this.#exact, this.#predicted, this.#threads, this.lifetime];
    const deciding = [this.#placing, this.#replicator, this.#moves, this.#ahead];
    for (const part of [...known, ...deciding]) part.check();
    this.#confidence.check(this.#book.size);
    this.#underway.check(this.#book.size);
    this.#gating.check(this.#book.size + this.#queues.size);
  }

  #arrived(nowUs: number, request: Arrival, orders: Order[]): void {
    const waiter: Waiter = { request, arrivedUs: nowUs, excluded: new Set(), attempt: 1 };
    this.#gating.arrived(nowUs, request);
    // Decided at arrival, once: whoever is let in is soon told that it will be served.
    const isPatient = request.patienceUs === undefined || request.whenIdle === true;
    const waitUs = isPatient ? 0 : this.#waitUs(request, 0);
    if (waitUs > (request.patienceUs ?? waitUs)) {
      orders.push(refusal.busy(request, 'All engines are busy for longer than you wait', waitUs));
      return;
    }
    this.#serve(nowUs, waiter, orders);
    if (request.whenIdle || !this.#placing.policy.movesKv) return;
    const copy = this.#replicator.arrived(nowUs, request);
    if (copy !== undefined) orders.push(copy);
  }

  /** Dispatches the request, or lets it wait, or refuses it. */
  #serve(nowUs: number, waiter: Waiter, orders: Order[]): void {
    this.#threads.lapse(nowUs);
    const { request } = waiter;
    const fitting = this.#workers.contextMax(request.model);
    if (fitting !== undefined && request.promptTokens >= fitting) {
      return void orders.push(refusal.tooLong(request, fitting));
    }
    // Room appears only when those who wait were served first: nobody is overtaken here.
    const found = request.whenIdle ? 'idle' : this.#place(nowUs, waiter, orders);
    if (found === 'placed') return;
    const states = this.#workers.serving(request.model);
    const sentence = isHopeless(request, states) ? whyNobody(request, states) : undefined;
    if (sentence !== undefined) {
      orders.push(refusal.nobody(request, sentence, this.#settings.queueUsMax / 10));
      return;
    }
    const queue = this.#queues[QUEUE_OF[found]];
    const lineUs = found === 'held' ? this.#queues.lineUs(request.model) : 0;
    if (
      lineUs <= (request.patienceUs ?? lineUs) &&
      queue.push(this.#weighed(nowUs, waiter)) === 'taken'
    ) {
      return;
    }
    const why = `All engines are busy and ${queue.size} requests wait already`;
    const slotUs = this.#waitUs(request, this.#settings.queueUsMax / 10);
    orders.push(refusal.busy(request, why, Math.max(lineUs, slotUs)));
  }

  /** Predicted time until a slot computes it; `unknownUs` where nobody may serve it now. */
  #waitUs(request: Arrival, unknownUs: number): number {
    const states = this.#workers.serving(request.model);
    const outlook = outlookFor(request, states, this.#placing.typical);
    if (outlook === undefined) return unknownUs;
    return this.#queues.slotUs(request, outlook);
  }

  #weighed(nowUs: number, waiter: Waiter): Waiter {
    const { typical } = this.#placing;
    const known = { workers: this.#workers, whereabouts: this.whereabouts, typical };
    return { ...waiter, workUs: workUs(nowUs, waiter.request, known) };
  }

  /** `held`: the gate keeps it back; `full`: nobody has a slot for it. */
  #place(nowUs: number, waiter: Waiter, orders: Order[]): 'placed' | 'held' | 'full' {
    const admission = this.#gating.admit(nowUs, waiter);
    if (admission.kind === 'held') return 'held';
    const among = admission.kind === 'some' ? admission.workers : undefined;
    const isKin = this.#gating.siblings(waiter.request) > 1;
    const decision = this.#placing.place(nowUs, waiter, { orders, among, isKin });
    if (decision === undefined) return 'full';
    this.#queues.served(waiter, decision, this.#workers.get(decision.chosen)?.worker.slots ?? 1);
    const { id } = waiter.request;
    const dueUs = this.#gating.placed(nowUs, waiter, decision.chosen);
    const dispatch = { kind: 'dispatch', request: id, worker: decision.chosen, decision } as const;
    orders.push(dueUs === undefined ? dispatch : { ...dispatch, dueUs });
    return 'placed';
  }

  #prefilled(nowUs: number, fact: Extract<Fact, { kind: 'prefilled' }>, orders: Order[]): void {
    const waiter = this.#placing.prefilled(nowUs, fact);
    if (waiter !== undefined) this.#serve(nowUs, waiter, orders);
  }

  #finished(nowUs: number, fact: Extract<Fact, { kind: 'finished' }>, orders: Order[]): void {
    const change = this.#confidence.reported(fact.request, fact.cachedTokens);
    const ended = this.#ended(nowUs, fact.request, fact);
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
    const ended = this.#ended(nowUs, fact.request, undefined);
    if (ended === undefined || !fact.retry) return;
    const waiter = this.#wellness.retries.next(ended.waiter, fact, orders);
    if (waiter !== undefined) this.#serve(nowUs, waiter, orders);
  }

  #ended(nowUs: number, request: RequestId, answer: Parameters<Placing['ended']>[2]) {
    const ended = this.#placing.ended(nowUs, request, answer);
    if (ended !== undefined) this.#queues.slots.ended(nowUs, ended.waiter.request.model);
    return ended;
  }

  /** Whoever finds no room may be meant for some workers only: others may find some elsewhere. */
  #serveWaiting(nowUs: number, orders: Order[]): void {
    const full = new Set<string>();
    const models = this.#queues.modelsInTurn;
    for (const waiter of this.#queues.inTurn(nowUs)) {
      const { id, model } = waiter.request;
      if (full.size === models) break;
      if (full.has(model)) continue;
      const found = this.#place(nowUs, waiter, orders);
      if (found === 'placed') this.#queues.slots.remove(id);
      else if (found === 'held') this.#queues.toLine(waiter);
      else if (!this.#placing.hasRoom(model)) full.add(model);
    }
    this.#serveLine(nowUs, orders);
  }

  /** Who may pass the gate now: to a slot, or to wait for one. */
  #serveLine(nowUs: number, orders: Order[]): void {
    const { line } = this.#queues;
    if (line.size === 0) return;
    for (const waiter of this.#gating.inOrder(nowUs, line.inOrder())) {
      const found = this.#place(nowUs, waiter, orders);
      if (found !== 'held') this.#queues.passed(nowUs, waiter, found);
    }
  }

  /** Nobody waits for these, so nobody may wait because of them. */
  #serveIdle(nowUs: number, orders: Order[]): void {
    const { idle } = this.#queues;
    if (this.#queues.size === 0) this.#ahead.serve(nowUs, orders);
    while (this.#queues.size === 0) {
      const turn = idle.next(nowUs);
      if (turn === undefined) return;
      const { waiter, worker } = turn;
      const decision = this.#placing.place(nowUs, waiter, { orders, among: new Set([worker]) });
      if (decision === undefined) return;
      idle.placed(nowUs, turn);
      orders.push({ kind: 'dispatch', request: waiter.request.id, worker, decision });
    }
  }

  #expire(nowUs: number, orders: Order[]): void {
    for (const { request } of this.#queues.takeExpired(nowUs)) {
      const reason = whyNobody(request, this.#workers.serving(request.model));
      const waitUs = this.#waitUs(request, this.#settings.queueUsMax / 10);
      const why = 'All engines were busy for as long as a request may wait';
      if (reason === undefined) orders.push(refusal.busy(request, why, waitUs));
      else orders.push(refusal.nobody(request, reason, waitUs));
    }
  }

  #policyNamed(name: string): Policy {
    return must(makePolicy(name, this.#settings), `the policy ${name} exists`);
  }
}

/** Where one waits that was not placed. */
const QUEUE_OF = { held: 'line', full: 'slots', idle: 'idle' } as const;
