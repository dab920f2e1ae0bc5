/**
 * The fast simulator: the real kernel in virtual time, before modelled engines.
 *
 *   demand ──arrive──► kernel.handle(arrived) ──dispatch──(routing lag)──► engine ──► first token, end ──► kernel, demand
 *                            ▲                                              │
 *                            └───────────────(event lag)────────── blocks stored, removed
 *
 * Everything is a call at an instant of virtual time; instants tie by order of scheduling. The same
 * options give the same run, to the microsecond.
 */
import { assert, must } from '../base/assert.ts';
import { Heap } from '../base/heap.ts';
import { Prng } from '../base/prng.ts';
import { Kernel, type KernelSettings } from '../kernel/kernel.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../model/ids.ts';
import type { Arrival, Fact, Order } from '../model/kernel-io.ts';
import type { Worker } from '../model/worker.ts';
import { BlockSpace } from './block-space.ts';
import { ChainCache } from './chain-cache.ts';
import { ModelledEngine } from './modelled-engine.ts';
import type { Profile } from './profile.ts';

export interface FleetOptions {
  seed: number;
  world: World;
  workers: number;
  profile: Profile;
  blockTokens: number;
  deviceTokens: number;
  hostTokens: number;
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
  path: Int32Array;
  /** The same and the full blocks that its answer adds; undefined: nobody will ask for those. */
  answeredPath?: Int32Array;
  promptTokens: number;
  outputTokens: number;
}

/** What became of it. Times are virtual microseconds. */
export interface Outcome {
  arrivedUs: number;
  promptTokens: number;
  outputTokens: number;
  /** In the gateway, before it was placed. */
  queuedUs: number;
  worker: number | undefined;
  cachedTokens: number;
  firstUs: number;
  endedUs: number;
  rejected: boolean;
}

interface Request {
  demanded: Demanded;
  outcome: Outcome;
  done: (outcome: Outcome) => void;
}

const MODEL = 'simulated';
const TENANT = 'default' as TenantId;
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
  #nowUs = 0;
  #next = 0;
  #wakeUs = Number.POSITIVE_INFINITY;

  constructor(options: FleetOptions) {
    this.#options = options;
    const { workers, world, kernel, seed } = options;
    this.#kernel = new Kernel({ settings: kernel, rng: new Prng(seed).fork('kernel') });
    this.#deviceBlocks = Math.floor(options.deviceTokens / options.blockTokens);
    const hostBlocks = Math.floor(options.hostTokens / options.blockTokens);
    const sizes = { deviceBlocks: this.#deviceBlocks, hostBlocks };
    const whole = { deviceBlocks: workers * sizes.deviceBlocks, hostBlocks: workers * hostBlocks };
    this.#caches =
      world === 'shared'
        ? [new ChainCache(this.space, whole)]
        : Array.from({ length: workers }, () => new ChainCache(this.space, sizes));
    this.#workerIds = Array.from({ length: workers }, (_, i) => `worker-${i + 1}` as WorkerId);
    this.#indexOf = new Map(this.#workerIds.map((id, index) => [id, index]));
    for (const [index, id] of this.#workerIds.entries()) {
      this.#engines.push(this.#makeEngine(index));
      this.#tell({ kind: 'workerJoined', worker: this.#describe(id) });
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
    const outcome: Outcome = {
      arrivedUs: this.#nowUs,
      promptTokens,
      outputTokens,
      queuedUs: 0,
      worker: undefined,
      cachedTokens: 0,
      firstUs: 0,
      endedUs: 0,
      rejected: false,
    };
    this.#requests.set(id, { demanded, outcome, done });
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
      promptTokens,
      hashes: this.space.hashes(path),
      blockTokens,
      outputTokensMax: OUTPUT_TOKENS_MAX,
      priority: 0,
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
      reuses: world !== 'none',
    };
    return new ModelledEngine<RequestId>(this.#cacheOf(index), settings, {
      firstToken: (id, atUs, cachedTokens) => {
        const { outcome } = this.#request(id);
        outcome.firstUs = atUs;
        outcome.cachedTokens = cachedTokens;
        this.#tell({ kind: 'firstTokenSent', request: id });
      },
      ended: (id, atUs) => this.#ended(id, atUs),
    });
  }

  #describe(id: WorkerId): Worker {
    const { profile, blockTokens, deviceTokens, hostTokens, world } = this.#options;
    const { curve, sequencesMax } = profile;
    return {
      id,
      models: [MODEL],
      blockTokens,
      contextTokens: deviceTokens,
      slots: sequencesMax,
      requestsMax: Number.MAX_SAFE_INTEGER,
      cacheTokens: deviceTokens + hostTokens,
      hasEvents: world === 'private',
      class: profile.name,
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
      request.outcome.worker = worker;
      request.outcome.queuedUs = order.decision.queuedUs;
      const submit = () => this.#submit(order.request, worker);
      this.#agenda.push(this.#nowUs + this.#options.routingLagUs, submit);
    } else if (order.kind === 'reject') {
      this.#refused(order.request);
    } else if (order.kind === 'wake' && order.atUs < this.#wakeUs) {
      this.#wakeUs = order.atUs;
      this.at(Math.max(order.atUs, this.#nowUs), () => {
        this.#wakeUs = Number.POSITIVE_INFINITY;
        this.#tell({ kind: 'ticked' });
      });
    }
  }

  #submit(id: RequestId, worker: number): void {
    const { demanded } = this.#request(id);
    const { promptTokens, outputTokens } = demanded;
    const path = demanded.answeredPath ?? demanded.path;
    this.#engines[worker].submit(this.#nowUs, { of: id, path, promptTokens, outputTokens });
    this.#moved(worker);
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
    const { outcome, done } = this.#request(id);
    this.#requests.delete(id);
    outcome.endedUs = atUs;
    const { outputTokens, cachedTokens } = outcome;
    this.#tell({ kind: 'finished', request: id, outputTokens, cachedTokens });
    done(outcome);
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
