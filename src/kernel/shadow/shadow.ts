/**
 * Shadow policies: other policies decide beside the live one, on the same facts, each in a fleet of its
 * own that only it filled. Nothing of theirs is carried out, and nothing here can change what is: facts
 * and orders of the kernel go in, a report comes out. The live policy's own choices go through the same
 * model, so that rows compare.
 */
import type { Prng } from '../../base/prng.ts';
import type { RequestId, WorkerId } from '../../model/ids.ts';
import type { Arrival, Fact, Order } from '../../model/kernel-io.ts';
import type { PolicyReport } from '../../model/policy-report.ts';
import type { Worker } from '../../model/worker.ts';
import type { Policy } from '../policy.ts';
import { Curve } from '../route/curve.ts';
import { makePolicy } from '../route/policies.ts';
import { chainOf, type PromptCacheLimits, type PromptChain } from './prompt-cache.ts';
import { Tally } from './tally.ts';
import { type Expected, type Shared, WouldBe } from './would-be.ts';

export interface ShadowSettings {
  /** Names of policies; those that do not exist are left out. */
  shadows: readonly string[];
  /** The live policy at first. */
  policy: string;
  threadsMax: number;
  /** Distinct blocks one policy's whole fleet is remembered with. */
  shadowBlocksMax: number;
  /** Who would wait for longer would have been refused. */
  queueUsMax: number;
}

/** A request that was not answered yet. */
interface Open {
  request: Arrival;
  chain: PromptChain;
  arrivedUs: number;
  firstUs: number | undefined;
}

interface Shadow {
  policy: Policy;
  rng: Prng;
  fleet: WouldBe;
  tally: Tally;
}

/** A look-up in a would-be cache compares with so many prompts at most. */
const PROMPTS_MAX = 512;
/** Prompts that share blocks are each kept in full, up to so many times what fits. */
const WORDS_PER_BLOCK = 4;
/** New values count this much in running means. */
const NEWS_SHARE = 0.02;

export class Shadows {
  readonly #settings: ShadowSettings;
  readonly #workers = new Map<WorkerId, Shared>();
  readonly #open = new Map<RequestId, Open>();
  readonly #shadows: Shadow[];
  readonly #live: WouldBe;
  /** One for each policy that was live, in order. */
  readonly #liveTallies = new Map<string, Tally>();
  #policy: string;
  /** At least as many as there are workers: each gets such a share of the memory. */
  #sharers = 1;
  readonly #expected: Expected;

  constructor(settings: ShadowSettings, rng: Prng) {
    this.#settings = settings;
    this.#policy = settings.policy;
    this.#live = new WouldBe(this.#workers, settings.queueUsMax);
    this.#expected = { decodeUs: 0 };
    this.#shadows = settings.shadows.flatMap((name) => {
      const policy = makePolicy(name, settings);
      if (policy === undefined) return [];
      const fleet = new WouldBe(this.#workers, settings.queueUsMax);
      return [{ policy, rng: rng.fork(name), fleet, tally: new Tally() }];
    });
  }

  handle(nowUs: number, fact: Fact, orders: readonly Order[]): void {
    if (this.#shadows.length === 0) return;
    // What nobody waits for is no matter of placing well.
    if (fact.kind === 'arrived' && !fact.request.whenIdle) {
      this.#open.set(fact.request.id, openOf(nowUs, fact.request));
    }
    for (const order of orders) if (order.kind === 'dispatch') this.#learn(order);
    for (const { policy } of this.#shadows) policy.hears?.(nowUs, fact);
    this.#heard(nowUs, fact);
    for (const order of orders) {
      if (order.kind === 'dispatch') this.#dispatched(nowUs, order);
      else if (order.kind === 'reject') this.#drop(order.request);
    }
  }

  /** The live policy first, then its shadows, then those that were live before. */
  report(nowUs: number): PolicyReport[] {
    const rows: PolicyReport[] = [];
    const live = this.#liveTallies.get(this.#policy) ?? new Tally();
    rows.push({ policy: this.#policy, role: 'live', wouldBe: live.report(nowUs), actual: null });
    for (const { policy, tally } of this.#shadows) {
      const wouldBe = tally.report(nowUs);
      rows.push({ policy: policy.name, role: 'shadow', wouldBe, actual: null });
    }
    for (const [policy, tally] of this.#liveTallies) {
      const wouldBe = tally.report(nowUs);
      if (policy !== this.#policy) rows.push({ policy, role: 'former', wouldBe, actual: null });
    }
    return rows;
  }

  check(): void {
    for (const fleet of this.#fleets()) fleet.check();
  }

  #heard(nowUs: number, fact: Fact): void {
    switch (fact.kind) {
      case 'workerJoined':
        this.#joined(fact.worker);
        break;
      case 'workerLeft':
        this.#workers.delete(fact.worker);
        for (const fleet of this.#fleets()) fleet.left(fact.worker);
        break;
      case 'healthChanged':
        this.#setHealth(fact.worker, fact.healthy);
        break;
      case 'drainChanged':
        this.#setDraining(fact.worker, fact.draining);
        break;
      case 'arrived':
        this.#arrived(nowUs, fact.request.id);
        break;
      case 'firstTokenSent':
        this.#firstToken(nowUs, fact.request);
        break;
      case 'finished':
        this.#finished(nowUs, fact.request);
        break;
      case 'cancelled':
        this.#drop(fact.request);
        break;
      case 'failed':
        if (!fact.retry) this.#drop(fact.request);
        break;
      case 'policyChanged':
        this.#policy = fact.policy;
        break;
    }
  }

  #arrived(nowUs: number, id: RequestId): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    const given = { ...open, expected: this.#expected };
    for (const { policy, rng, fleet } of this.#shadows) {
      const worker = fleet.choose(nowUs, { ...given, policy, rng });
      if (worker !== undefined) fleet.place(nowUs, worker, given);
    }
  }

  /** Whatever the kernel knows of a worker's speed holds in every fleet. */
  #learn({ request: id, decision }: Extract<Order, { kind: 'dispatch' }>): void {
    const request = this.#open.get(id)?.request;
    const shared = this.#workers.get(decision.chosen);
    if (request === undefined || shared === undefined) return;
    const chosen = decision.candidates.find(({ worker }) => worker === decision.chosen);
    if (chosen === undefined || chosen.terms.prefill <= 0) return;
    const { promptTokens } = request;
    const uncachedTokens = promptTokens - chosen.matchedTokens;
    const none = { hostTokens: 0, diskTokens: 0, decoding: 0 };
    const work = { uncachedTokens, contextTokens: promptTokens, ...none };
    shared.curve.sawPrefill(work, chosen.terms.prefill);
  }

  #dispatched(nowUs: number, order: Extract<Order, { kind: 'dispatch' }>): void {
    const open = this.#open.get(order.request);
    if (open === undefined) return;
    this.#live.place(nowUs, order.worker, { ...open, expected: this.#expected });
  }

  #firstToken(nowUs: number, id: RequestId): void {
    const open = this.#open.get(id);
    if (open !== undefined) open.firstUs ??= nowUs;
  }

  #finished(nowUs: number, id: RequestId): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    const decodeUs = nowUs - (open.firstUs ?? nowUs);
    const expected = this.#expected;
    expected.decodeUs += (decodeUs - expected.decodeUs) * NEWS_SHARE;
    const rows = [
      ...this.#shadows.map(({ fleet, tally }) => ({ fleet, tally })),
      { fleet: this.#live, tally: this.#liveTally() },
    ];
    for (const { fleet, tally } of rows) {
      const outcome = fleet.ended(nowUs, id, decodeUs);
      if (outcome === undefined) {
        tally.refused(nowUs);
        continue;
      }
      tally.count(nowUs, {
        promptTokens: open.request.promptTokens,
        cachedTokens: outcome.matchedTokens,
        ttftUs: outcome.firstUs - open.arrivedUs,
        regretUs: outcome.regretUs,
      });
    }
  }

  #drop(id: RequestId): void {
    this.#open.delete(id);
    for (const fleet of this.#fleets()) fleet.drop(id);
  }

  #liveTally(): Tally {
    let tally = this.#liveTallies.get(this.#policy);
    if (tally === undefined) this.#liveTallies.set(this.#policy, (tally = new Tally()));
    return tally;
  }

  #setHealth(worker: WorkerId, healthy: boolean): void {
    const shared = this.#workers.get(worker);
    if (shared !== undefined) shared.healthy = healthy;
  }

  #setDraining(worker: WorkerId, draining: boolean): void {
    const shared = this.#workers.get(worker);
    if (shared !== undefined) shared.draining = draining;
  }

  #fleets(): WouldBe[] {
    return [this.#live, ...this.#shadows.map(({ fleet }) => fleet)];
  }

  #joined(worker: Worker): void {
    this.#workers.set(worker.id, sharedOf(worker));
    for (const fleet of this.#fleets()) fleet.joined(worker.id, this.#limits(worker));
    if (this.#workers.size <= this.#sharers) return;
    // In steps of two, or each of ten thousand that join would touch all others.
    this.#sharers *= 2;
    for (const { worker: one } of this.#workers.values()) {
      for (const fleet of this.#fleets()) fleet.resize(one.id, this.#limits(one));
    }
  }

  #limits({ cacheTokens, blockTokens }: Worker): PromptCacheLimits {
    const share = Math.floor(this.#settings.shadowBlocksMax / this.#sharers);
    const blocksMax = Math.max(1, Math.min(Math.floor(cacheTokens / blockTokens), share));
    return { blocksMax, promptsMax: PROMPTS_MAX, wordsMax: WORDS_PER_BLOCK * blocksMax };
  }
}

function sharedOf(worker: Worker): Shared {
  return { worker, healthy: true, draining: false, curve: new Curve(worker) };
}

function openOf(nowUs: number, request: Arrival): Open {
  return { request, chain: chainOf(request.hashes), arrivedUs: nowUs, firstUs: undefined };
}
