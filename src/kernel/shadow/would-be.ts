/**
 * The fleet as it would be had one policy decided all along: where it would have sent each request, what
 * each worker would hold then, and when its first token would have come. One request at a time is
 * prefilled on a worker, decodes run beside it, and an answer takes as long as it really took.
 */
import { assert } from '../../base/assert.ts';
import type { Prng } from '../../base/prng.ts';
import type { RequestId, WorkerId } from '../../model/ids.ts';
import type { Arrival, Candidate } from '../../model/kernel-io.ts';
import type { Worker } from '../../model/worker.ts';
import { type Policy, type Seen, seenAs } from '../policy.ts';
import { blankCandidate } from '../route/candidate.ts';
import type { Curve } from '../route/curve.ts';
import { obstacle } from '../route/filter.ts';
import { PromptCache, type PromptCacheLimits, type PromptChain } from './prompt-cache.ts';

/** A request where it would run. */
interface Run {
  worker: WorkerId;
  matchedTokens: number;
  firstUs: number;
  /** Expected, until its real answer has ended. */
  endUs: number;
  isEnded: boolean;
  /** What the best other place would have saved. */
  regretUs: number;
}

/** What came of one request. */
export interface Outcome {
  matchedTokens: number;
  /** Of the prefill's end, from arrival on. */
  firstUs: number;
  regretUs: number;
}

/** What all fleets share of a worker. */
export interface Shared {
  worker: Worker;
  healthy: boolean;
  draining: boolean;
  /** Follows what the kernel has learned of its speed. */
  curve: Curve;
}

export interface Expected {
  /** From first token to last. */
  decodeUs: number;
}

/** Regret looks at so many other workers; in larger fleets at every n-th. */
const ALTERNATIVES_MAX = 64;

export class WouldBe {
  readonly #fleet: ReadonlyMap<WorkerId, Shared>;
  readonly #waitUsMax: number;
  readonly #places = new Map<WorkerId, Place>();
  readonly #runs = new Map<RequestId, Run>();

  /** `waitUsMax`: who would wait for longer would have been refused. */
  constructor(fleet: ReadonlyMap<WorkerId, Shared>, waitUsMax: number) {
    this.#fleet = fleet;
    this.#waitUsMax = waitUsMax;
  }

  joined(worker: WorkerId, limits: PromptCacheLimits): void {
    this.#places.set(worker, new Place(limits));
  }

  left(worker: WorkerId): void {
    this.#places.delete(worker);
    for (const [request, run] of this.#runs) if (run.worker === worker) this.#runs.delete(request);
  }

  resize(worker: WorkerId, limits: PromptCacheLimits): void {
    this.#places.get(worker)?.cache.resize(limits);
  }

  /** Where `policy` would send the request; undefined where nobody could serve it. */
  choose(
    nowUs: number,
    given: { request: Arrival; chain: PromptChain; expected: Expected; policy: Policy; rng: Prng },
  ): WorkerId | undefined {
    const { request, policy, rng } = given;
    const seen: Seen[] = [];
    for (const [id, shared] of this.#fleet) {
      const place = this.#places.get(id);
      if (place === undefined || !serves(shared, request)) continue;
      place.settle(nowUs);
      const looks = policy.view === 'events' || policy.view === 'price';
      const candidate = looks ? this.#price(nowUs, id, given) : undefined;
      seen.push(seenAs(policy, shared.worker, { requests: place.runs.length, candidate }));
    }
    if (seen.length === 0) return undefined;
    const worker = policy.choose(request, seen, rng);
    policy.placed?.(request, worker);
    return worker;
  }

  /**
   * The request would run there; not where it would wait for too long, or the worker is not there (any
   * more). Without that limit a policy that cannot keep up would fall behind for ever, since what
   * arrives is paced by the live one.
   */
  place(
    nowUs: number,
    worker: WorkerId,
    given: { request: Arrival; chain: PromptChain; expected: Expected },
  ): void {
    const place = this.#places.get(worker);
    const shared = this.#fleet.get(worker);
    if (place === undefined || shared === undefined) return;
    const { request, chain, expected } = given;
    place.settle(nowUs);
    const there = this.#cost(nowUs, worker, request, chain);
    if (there.startUs - nowUs > this.#waitUsMax) return;
    const least = this.#leastCost(nowUs, request, chain);
    place.prefillUntilUs = there.firstUs;
    const run: Run = {
      worker,
      matchedTokens: there.matchedTokens,
      firstUs: there.firstUs,
      endUs: there.firstUs + expected.decodeUs,
      isEnded: false,
      regretUs: Math.max(0, there.firstUs - Math.min(least, there.firstUs)),
    };
    this.drop(request.id);
    this.#runs.set(request.id, run);
    place.runs.push(run);
    place.cache.hold(chain);
  }

  /** Its real answer has ended and took `decodeUs` from first token to last. */
  ended(nowUs: number, request: RequestId, decodeUs: number): Outcome | undefined {
    const run = this.#runs.get(request);
    if (run === undefined) return undefined;
    this.#runs.delete(request);
    run.endUs = run.firstUs + decodeUs;
    run.isEnded = true;
    this.#places.get(run.worker)?.leaves(run, nowUs);
    return { matchedTokens: run.matchedTokens, firstUs: run.firstUs, regretUs: run.regretUs };
  }

  /** There is no answer to count. */
  drop(request: RequestId): void {
    const run = this.#runs.get(request);
    if (run === undefined) return;
    this.#runs.delete(request);
    const place = this.#places.get(run.worker);
    place?.runs.splice(place.runs.indexOf(run), 1);
  }

  check(): void {
    for (const place of this.#places.values()) {
      place.cache.check();
      for (const run of place.runs) assert(this.#places.get(run.worker) === place, 'runs are here');
    }
    for (const run of this.#runs.values()) {
      assert(!run.isEnded, 'what ended is counted once');
      assert(this.#places.get(run.worker)?.runs.includes(run) === true, 'what runs has a place');
    }
  }

  /** When the first token would come, and what of the prompt would be there. */
  #cost(nowUs: number, id: WorkerId, request: Arrival, chain: PromptChain) {
    const place = this.#places.get(id);
    const shared = this.#fleet.get(id);
    assert(
      place !== undefined && shared !== undefined,
      'costs are asked of workers that are there',
    );
    const { worker, curve } = shared;
    const { promptTokens, blockTokens } = request;
    const usable = Math.max(0, Math.floor((promptTokens - 1) / blockTokens));
    const matchedTokens = Math.min(place.cache.depth(chain), usable) * blockTokens;
    const prefillUs = curve.prefillUs({
      uncachedTokens: promptTokens - matchedTokens,
      contextTokens: promptTokens,
      hostTokens: 0,
      diskTokens: 0,
      decoding: 0,
    });
    const startUs = Math.max(nowUs, place.prefillUntilUs, place.slotFreeUs(worker.slots));
    return { matchedTokens, startUs, firstUs: Math.round(startUs + prefillUs) };
  }

  /** When the first token would come at the best of the others. */
  #leastCost(nowUs: number, request: Arrival, chain: PromptChain): number {
    const stride = Math.ceil(this.#fleet.size / ALTERNATIVES_MAX);
    let least = Number.POSITIVE_INFINITY;
    let i = 0;
    for (const [id, shared] of this.#fleet) {
      if (i++ % stride !== 0 || !this.#places.has(id) || !serves(shared, request)) continue;
      least = Math.min(least, this.#cost(nowUs, id, request, chain).firstUs);
    }
    return least;
  }

  /** What a first token costs there: of the kernel's prices those that this model can tell. */
  #price(
    nowUs: number,
    id: WorkerId,
    { request, chain }: { request: Arrival; chain: PromptChain },
  ): Candidate {
    const { matchedTokens, startUs, firstUs } = this.#cost(nowUs, id, request, chain);
    const candidate = blankCandidate(id);
    candidate.mode = 'predicted';
    candidate.matchedTokens = matchedTokens;
    candidate.terms.waiting = Math.round(startUs - nowUs);
    candidate.terms.prefill = firstUs - nowUs - candidate.terms.waiting;
    candidate.totalUs = firstUs - nowUs;
    return candidate;
  }
}

function serves(shared: Shared, request: Arrival): boolean {
  return shared.worker.models.includes(request.model) && obstacle(request, shared) === undefined;
}

/** One worker of the fleet. */
class Place {
  readonly cache: PromptCache;
  readonly runs: Run[] = [];
  /** When all prefills that were sent here are done. */
  prefillUntilUs = 0;
  /** The earliest known end of a run. */
  #nextEndUs = Number.POSITIVE_INFINITY;

  constructor(limits: PromptCacheLimits) {
    this.cache = new PromptCache(limits);
  }

  /** It leaves when its time is up. */
  leaves(run: Run, nowUs: number): void {
    this.#nextEndUs = Math.min(this.#nextEndUs, run.endUs);
    this.settle(nowUs);
  }

  settle(nowUs: number): void {
    if (this.#nextEndUs > nowUs) return;
    this.#nextEndUs = Number.POSITIVE_INFINITY;
    let kept = 0;
    for (const run of this.runs) {
      if (run.isEnded && run.endUs <= nowUs) continue;
      if (run.isEnded) this.#nextEndUs = Math.min(this.#nextEndUs, run.endUs);
      this.runs[kept++] = run;
    }
    this.runs.length = kept;
  }

  /** When enough of those here have ended that one more has a slot. */
  slotFreeUs(slots: number): number {
    const toEnd = this.runs.length - slots;
    if (toEnd < 0) return 0;
    return this.runs.map(({ endUs }) => endUs).sort((a, b) => a - b)[toEnd];
  }
}
