/**
 * The fast simulator: the real kernel in virtual time, before modelled engines.
 *
 *   demand ──arrive──► kernel.handle(arrived) ──dispatch──(routing lag)──► engine ──► first token, end ──► kernel, demand
 *                            ▲                                              │
 *                            └───────────────(event lag)────────── blocks stored, removed
 *
 * A prompt that another worker computes goes there first; then its engine fetches what it lacks (what
 * stays of it at the other may be evicted there meanwhile, which is not modelled).
 *
 * Everything is a call at an instant of virtual time; instants tie by order of scheduling. The same
 * options give the same run, to the microsecond.
 */
import { assert, must } from '../base/assert.ts';
import { Heap } from '../base/heap.ts';
import { Prng } from '../base/prng.ts';
import { Kernel, type KernelSettings } from '../kernel/kernel.ts';
import type { RequestId, SessionId, TenantId, ThreadId, WorkerId } from '../model/ids.ts';
import type { Arrival, Fact, Order, TurnEnd } from '../model/kernel-io.ts';
import type { Worker, WorkerRules } from '../model/worker.ts';
import { Belady } from './belady.ts';
import { BlockSpace } from './block-space.ts';
import { ChainCache } from './chain-cache.ts';
import { ModelledEngine } from './modelled-engine.ts';
import { type Outcome, openOutcome } from './outcome.ts';
import type { Profile } from './profile.ts';
import { Wishes } from './wishes.ts';

export type { Outcome } from './outcome.ts';

export interface FleetOptions {
  seed: number;
  world: World;
  workers: number;
  /** So many of the workers compute prompts only, and others answer some of those; undefined: none. */
  prefillWorkers?: number | undefined;
  profile: Profile;
  blockTokens: number;
  deviceTokens: number;
  hostTokens: number;
  /** KV that nobody used for so long is lost; undefined: kept as long as there is room. */
  ttlUs?: number | undefined;
  /** Whose KV leaves first is decided by an oracle that knows when threads return. */
  knowsReturns?: boolean | undefined;
  /** From the kernel's decision until the engine has the request. */
  routingLagUs: number;
  /** From a change of an engine's cache until the kernel hears of it. */
  eventLagUs: number;
  kernel: KernelSettings;
}

/**
 * `private`: each worker caches for itself. `shared`: the oracle, one cache as large as all of them
 * together that every worker reads as its own. `none`: every prompt is computed in full.
 */
export type World = 'private' | 'shared' | 'none';

/** One prompt, as whoever demands it tells the fleet. */
export interface Demanded {
  /** The unit of prefix reuse it belongs to; undefined where nobody knows. */
  thread: string | undefined;
  /** The agent with its sub-agents that the thread belongs to. */
  session?: string | undefined;
  parent?: string | undefined;
  end?: TurnEnd | undefined;
  /** Larger is more urgent; undefined: 0. */
  priority?: number | undefined;
  /** It gives way to all others. */
  whenIdle?: true | undefined;
  path: Int32Array;
  /** The same and the full blocks that its answer adds; undefined: nobody will ask for those. */
  answeredPath?: Int32Array;
  promptTokens: number;
  outputTokens: number;
  newTokens?: number | undefined;
  /** When its thread sends its next turn; infinite: never. */
  returnsUs?: () => number;
}

interface Request {
  demanded: Demanded;
  outcome: Outcome;
  /** The part of it that runs now; undefined: all of it. */
  stage: 'prefill' | 'decode' | undefined;
  /** Prompt tokens that its engine did not compute. */
  reportedTokens: number;
  done: (outcome: Outcome) => void;
}

const MODEL = 'simulated';
const TENANT = 'default' as TenantId;
const PREFILL: WorkerRules = { adapters: [], role: 'prefill', tenants: [], taints: [], labels: {} };
/** What clients ask for at most: agents leave it at the model's limit. */
const OUTPUT_TOKENS_MAX = 32_000;

export class Fleet {
  readonly space = new BlockSpace();
  readonly #options: FleetOptions;
  readonly #kernel: Kernel;
  readonly #caches: ChainCache[];
  readonly #engines: ModelledEngine<RequestId>[] = [];
  readonly #workerIds: WorkerId[];
  readonly #indexOf: Map<WorkerId, number>;
  readonly #requests = new Map<RequestId, Request>();
  readonly #agenda = new Heap<() => void>();
  readonly #deviceBlocks: number;
  readonly #wishes: Wishes;
  readonly #belady: Belady | undefined;
  /** Caches whose next expiry is on the agenda. */
  readonly #expiring = new Set<ChainCache>();
  #nowUs = 0;
  #next = 0;
  #wakeUs = Number.POSITIVE_INFINITY;

  constructor(options: FleetOptions) {
    this.#options = options;
    const { workers, world, kernel, seed } = options;
    this.#kernel = new Kernel({ settings: kernel, rng: new Prng(seed).fork('kernel') });
    this.#deviceBlocks = Math.floor(options.deviceTokens / options.blockTokens);
    const hostBlocks = Math.floor(options.hostTokens / options.blockTokens);
    const sizes = { deviceBlocks: this.#deviceBlocks, hostBlocks, ttlUs: options.ttlUs };
    const whole = {
      ...sizes,
      deviceBlocks: workers * sizes.deviceBlocks,
      hostBlocks: workers * hostBlocks,
    };
    this.#caches =
      world === 'shared'
        ? [new ChainCache(this.space, whole)]
        : Array.from({ length: workers }, () => new ChainCache(this.space, sizes));
    this.#workerIds = Array.from({ length: workers }, (_, i) => `worker-${i + 1}` as WorkerId);
    this.#indexOf = new Map(this.#workerIds.map((id, index) => [id, index]));
    this.#wishes = this.#makeWishes();
    this.#belady = options.knowsReturns ? new Belady(this.#caches) : undefined;
    for (const [index, id] of this.#workerIds.entries()) {
      this.#engines.push(this.#makeEngine(index));
      const isPrefiller = index >= workers - (options.prefillWorkers ?? 0);
      const worker = this.#describe(id);
      this.#tell({
        kind: 'workerJoined',
        worker: isPrefiller ? { ...worker, rules: PREFILL } : worker,
      });
    }
  }

  get nowUs(): number {
    return this.#nowUs;
  }

  at(atUs: number, run: () => void): void {
    assert(Number.isInteger(atUs) && atUs >= this.#nowUs, 'virtual time is whole and ahead');
    this.#agenda.push(atUs, run);
  }

  /** Sends a request now; `done` is called once, when it ended or was refused. */
  arrive(demanded: Demanded, done: (outcome: Outcome) => void): void {
    const { blockTokens } = this.#options;
    const { thread, path, promptTokens, outputTokens } = demanded;
    const id = `r${this.#next++}` as RequestId;
    const outcome = openOutcome(this.#nowUs, demanded);
    this.#requests.set(id, { demanded, outcome, stage: undefined, reportedTokens: 0, done });
    // An engine would wait for ever for room it does not have.
    if (Math.ceil((promptTokens + outputTokens) / blockTokens) > this.#deviceBlocks) {
      this.#refused(id);
      return;
    }
    const request: Arrival = {
      id,
      tenant: TENANT,
      model: MODEL,
      thread: thread as ThreadId | undefined,
      session: demanded.session as SessionId | undefined,
      parent: demanded.parent as ThreadId | undefined,
      promptTokens,
      hashes: this.space.hashes(path),
      blockTokens,
      outputTokensMax: OUTPUT_TOKENS_MAX,
      priority: demanded.priority ?? 0,
      whenIdle: demanded.whenIdle,
    };
    this.#tell({ kind: 'arrived', request });
  }

  /** Plays on until that instant; what is due then has happened. */
  run(untilUs: number): void {
    for (;;) {
      const next = this.#agenda.peek();
      if (next === undefined || next.key > untilUs) break;
      this.#agenda.pop();
      this.#nowUs = next.key;
      next.value();
    }
    this.#nowUs = untilUs;
  }

  /** How long the one longest without a place has waited for it so far. */
  waitsUs(): number {
    let longestUs = 0;
    for (const { outcome } of this.#requests.values()) {
      const isPlaced = outcome.worker !== undefined || outcome.prefilledOn !== undefined;
      if (!isPlaced) longestUs = Math.max(longestUs, this.#nowUs - outcome.arrivedUs);
    }
    return longestUs;
  }

  check(): void {
    this.#kernel.check();
    for (const cache of this.#caches) cache.check();
  }

  #makeEngine(index: number): ModelledEngine<RequestId> {
    const { profile, blockTokens, world } = this.#options;
    const settings = {
      profile,
      blockTokens,
      // A cache of its own is limit enough, and counts what requests share once.
      runningBlocksMax: world === 'shared' ? this.#deviceBlocks : Number.POSITIVE_INFINITY,
      // PCIe 5 and 400 Gb/s networks both move 50 GB a second.
      transferPerTokenUs: profile.hostFetchPerTokenUs,
      reuses: world !== 'none',
    };
    return new ModelledEngine<RequestId>(this.#cacheOf(index), settings, {
      firstToken: (id, atUs, cachedTokens) => {
        const request = this.#request(id);
        const { outcome, stage } = request;
        outcome.firstUs = atUs;
        request.reportedTokens = cachedTokens;
        // What was brought was computed all the same: once, where it came from.
        if (stage !== 'decode') outcome.cachedTokens = cachedTokens;
        if (stage !== 'prefill') this.#tell({ kind: 'firstTokenSent', request: id });
      },
      ended: (id, atUs) => {
        if (this.#request(id).stage === 'prefill') this.#prefilled(id);
        else this.#ended(id, atUs);
      },
    });
  }

  #makeWishes(): Wishes {
    const indexOf = (id: WorkerId) => must(this.#indexOf.get(id), 'the kernel knows the fleet');
    return new Wishes({
      space: this.space,
      blockTokens: this.#options.blockTokens,
      at: (id) => ({ cache: this.#cacheOf(indexOf(id)), engine: this.#engines[indexOf(id)] }),
      nowUs: () => this.#nowUs,
      after: (us, run) => this.#agenda.push(this.#nowUs + us, run),
      changed: (id) => this.#publish(indexOf(id)),
      tell: (fact) => this.#tell(fact),
    });
  }

  #describe(id: WorkerId): Worker {
    const { profile, blockTokens, deviceTokens, hostTokens, world, prefillWorkers } = this.#options;
    const { curve, sequencesMax } = profile;
    return {
      id,
      models: [MODEL],
      blockTokens,
      contextTokens: deviceTokens,
      slots: sequencesMax,
      requestsMax: Number.MAX_SAFE_INTEGER,
      cacheTokens: deviceTokens + hostTokens,
      deviceTokens: hostTokens > 0 ? deviceTokens : undefined,
      takesWishes: world === 'private' ? true : undefined,
      hasEvents: world === 'private',
      class: profile.name,
      kvLayout: prefillWorkers === undefined ? undefined : profile.name,
      prefill: { perTokenUs: curve.perTokenUs, perTokenContextUs: curve.perTokenContextUs },
      decode: { stepUs: curve.baseUs, perSequenceUs: curve.perSequenceUs },
    };
  }

  #tell(fact: Fact): void {
    for (const order of this.#kernel.handle(this.#nowUs, fact)) this.#perform(order);
  }

  #perform(order: Order): void {
    if (order.kind === 'dispatch') {
      const request = this.#request(order.request);
      const worker = must(this.#indexOf.get(order.worker), 'the kernel knows the fleet');
      const { stage, queuedUs } = order.decision;
      request.stage = stage?.kind;
      if (stage?.kind === 'prefill') request.outcome.prefilledOn = worker;
      else request.outcome.worker = worker;
      if (stage?.kind !== 'decode') request.outcome.queuedUs = queuedUs;
      const submit = () => this.#submit(order.request, worker, order.dueUs);
      this.#agenda.push(this.#nowUs + this.#options.routingLagUs, submit);
    } else if (order.kind === 'reject') {
      this.#refused(order.request);
    } else if (order.kind === 'keep') {
      this.at(this.#nowUs + this.#options.routingLagUs, () => this.#wishes.carryOut(order));
    } else if (order.kind === 'wake' && order.atUs < this.#wakeUs) {
      this.#wakeUs = order.atUs;
      this.at(Math.max(order.atUs, this.#nowUs), () => {
        this.#wakeUs = Number.POSITIVE_INFINITY;
        this.#tell({ kind: 'ticked' });
      });
    }
  }

  #submit(id: RequestId, worker: number, dueUs: number | undefined): void {
    const { demanded, stage } = this.#request(id);
    const { promptTokens, outputTokens, path: prompt, whenIdle, priority } = demanded;
    const path = demanded.answeredPath ?? prompt;
    const fromUs = whenIdle ? Number.POSITIVE_INFINITY : dueUs;
    const due = fromUs === undefined ? {} : { dueUs: fromUs };
    const whole = { of: id, path, promptTokens, outputTokens, priority, ...due };
    const engine = this.#engines[worker];
    if (demanded.thread !== undefined) {
      this.#wishes.sent(demanded.thread, prompt);
      this.#belady?.began(demanded.thread, this.#cacheOf(worker), prompt);
    }
    // Its first token ends a prompt: whoever answers says it.
    if (stage === 'prefill')
      engine.submit(this.#nowUs, { ...whole, path: prompt, outputTokens: 1 });
    else if (stage === undefined) engine.submit(this.#nowUs, whole);
    else engine.submit(this.#nowUs, { ...whole, broughtBlocks: prompt.length });
    this.#moved(worker);
  }

  #prefilled(id: RequestId): void {
    const { reportedTokens: cachedTokens } = this.#request(id);
    this.#tell({ kind: 'prefilled', request: id, cachedTokens });
  }

  /** The engine's plans changed, and perhaps its cache. */
  #moved(worker: number): void {
    const { nextUs } = this.#engines[worker];
    if (nextUs !== undefined) {
      this.#agenda.push(nextUs, () => {
        // It may have been cut short since, and have planned anew.
        if (this.#engines[worker].nextUs !== this.#nowUs) return;
        this.#engines[worker].advance(this.#nowUs);
        this.#moved(worker);
      });
    }
    this.#publish(worker);
    this.#expireLater(worker);
  }

  /** What was unused for too long goes when its time comes, whoever asks. */
  #expireLater(worker: number): void {
    const cache = this.#cacheOf(worker);
    const { expiryUs } = cache;
    if (expiryUs === undefined || this.#expiring.has(cache)) return;
    this.#expiring.add(cache);
    this.#agenda.push(expiryUs, () => {
      this.#expiring.delete(cache);
      cache.expire(this.#nowUs);
      this.#publish(worker);
      this.#expireLater(worker);
    });
  }

  #publish(worker: number): void {
    const news = this.#cacheOf(worker).takeNews();
    if (news.length === 0 || this.#options.world !== 'private') return;
    const id = this.#workerIds[worker];
    const facts = news.map((one): Fact => {
      const hashes = this.space.hashes(Int32Array.from(one.blocks));
      const { kind, tier } = one;
      if (kind === 'removed') return { kind: 'blocksRemoved', worker: id, hashes, tier };
      const before = one.before === undefined ? undefined : this.space.hash(one.before);
      return { kind: 'blocksStored', worker: id, hashes, tier, before };
    });
    this.#agenda.push(this.#nowUs + this.#options.eventLagUs, () => {
      for (const fact of facts) this.#tell(fact);
    });
  }

  #ended(id: RequestId, atUs: number): void {
    const { demanded, outcome, reportedTokens, done } = this.#request(id);
    this.#requests.delete(id);
    outcome.endedUs = atUs;
    const { outputTokens, thread, path, returnsUs, end: turn } = demanded;
    const ended = { kind: 'finished', request: id, outputTokens, turn } as const;
    this.#tell({ ...ended, cachedTokens: reportedTokens });
    done(outcome);
    if (thread === undefined || returnsUs === undefined) return;
    const cache = this.#cacheOf(must(outcome.worker, 'what ended was placed'));
    this.#belady?.ended(thread, { path, cache, returnsUs });
  }

  #refused(id: RequestId): void {
    const { outcome, done } = this.#request(id);
    this.#requests.delete(id);
    outcome.endedUs = this.#nowUs;
    outcome.rejected = true;
    done(outcome);
  }

  #cacheOf(worker: number): ChainCache {
    return this.#caches[this.#caches.length === 1 ? 0 : worker];
  }

  #request(id: RequestId): Request {
    return must(this.#requests.get(id), 'a request is known until it ends');
  }
}
