/**
 * Threads: the unit of prefix reuse. Each live thread sits on one worker, and the sum of what sits
 * there says how full a worker's cache really is, before anything is evicted.
 *
 * Nobody tells when a session ends. A thread lapses when it has been away for longer than a live one
 * plausibly would be: when gaps that long are rarer than threads that never come back.
 */
import { assert } from '../../base/assert.ts';
import { Histogram } from '../../base/histogram.ts';
import { Lru } from '../../base/lru.ts';
import type { TenantId, ThreadId, WorkerId } from '../../model/ids.ts';

export interface Thread {
  readonly id: ThreadId;
  readonly tenant: TenantId;
  /** Where its last request ran. */
  home: WorkerId | undefined;
  /** Its last prompt and answer. */
  contextTokens: number;
  /** Of them, those it found on its worker when it first came: shared with others. */
  sharedTokens: number;
  turns: number;
  running: number;
  lastUs: number;
}

/** Fewer gaps than this say nothing about how long threads stay away. */
const GAPS_MIN = 20;

export class Threads {
  readonly #byTenant: Lru<TenantId, Lru<ThreadId, Thread>>;
  readonly #threadsMax: number;
  readonly #seats = new Map<WorkerId, Set<Thread>>();
  readonly #gaps = new Histogram();
  #threadsSeen = 0;
  #turnsSeen = 0;

  constructor(limits: { tenantsMax: number; threadsMax: number }) {
    this.#byTenant = new Lru(limits.tenantsMax);
    this.#threadsMax = limits.threadsMax;
  }

  of({ tenant, thread }: { tenant: TenantId; thread: ThreadId | undefined }): Thread | undefined {
    return thread === undefined ? undefined : this.#byTenant.peek(tenant)?.peek(thread);
  }

  /** A request of the thread arrived. */
  arrived(nowUs: number, tenant: TenantId, id: ThreadId): Thread {
    this.#turnsSeen++;
    const known = this.#threadsOf(tenant).get(id);
    if (known !== undefined) {
      if (known.running === 0) this.#gaps.record((nowUs - known.lastUs) / 1e6);
      known.turns++;
      known.lastUs = nowUs;
      return known;
    }
    this.#threadsSeen++;
    const thread: Thread = {
      id,
      tenant,
      home: undefined,
      contextTokens: 0,
      sharedTokens: 0,
      turns: 1,
      running: 0,
      lastUs: nowUs,
    };
    const evicted = this.#threadsOf(tenant).set(id, thread);
    if (evicted !== undefined) this.#unseat(evicted.value);
    return thread;
  }

  placed(
    thread: Thread,
    worker: WorkerId,
    given: { promptTokens: number; matchedTokens: number },
  ): void {
    if (thread.home !== worker) {
      this.#unseat(thread);
      thread.home = worker;
      thread.sharedTokens = given.matchedTokens;
      const seats = this.#seats.get(worker);
      if (seats === undefined) this.#seats.set(worker, new Set([thread]));
      else seats.add(thread);
    }
    thread.contextTokens = given.promptTokens;
    thread.running++;
  }

  ended(nowUs: number, thread: Thread, outputTokens: number): void {
    assert(thread.running > 0, 'a thread ends what it runs');
    thread.running--;
    thread.contextTokens += outputTokens;
    thread.lastUs = nowUs;
  }

  workerLeft(worker: WorkerId): void {
    for (const thread of this.#seats.get(worker) ?? []) thread.home = undefined;
    this.#seats.delete(worker);
  }

  /** Tokens and number of the live threads that sit on a worker, `except` one. */
  live(
    nowUs: number,
    worker: WorkerId,
    except: Thread | undefined,
  ): { tokens: number; threads: number } {
    const live = { tokens: 0, threads: 0 };
    const lapseUs = this.lapseUs();
    for (const thread of this.#seats.get(worker) ?? []) {
      if (thread === except) continue;
      if (thread.running === 0 && nowUs - thread.lastUs > lapseUs) continue;
      live.tokens += thread.contextTokens - thread.sharedTokens;
      live.threads++;
    }
    return live;
  }

  /** The gap after which a thread is more likely gone than thinking. */
  lapseUs(): number {
    const goneShare = this.#threadsSeen / Math.max(1, this.#turnsSeen);
    const gapS = this.#gaps.quantile(1 - goneShare);
    if (gapS === undefined || this.#gaps.count < GAPS_MIN) return Number.POSITIVE_INFINITY;
    return gapS * 1e6;
  }

  /** For the page: live threads over all workers. */
  liveCount(nowUs: number): number {
    let count = 0;
    for (const worker of this.#seats.keys()) count += this.live(nowUs, worker, undefined).threads;
    return count;
  }

  check(): void {
    for (const [worker, seats] of this.#seats) {
      for (const thread of seats) assert(thread.home === worker, 'a thread sits at home');
    }
  }

  #threadsOf(tenant: TenantId): Lru<ThreadId, Thread> {
    const known = this.#byTenant.get(tenant);
    if (known !== undefined) return known;
    const threads = new Lru<ThreadId, Thread>(this.#threadsMax);
    const evicted = this.#byTenant.set(tenant, threads);
    for (const thread of evicted?.value.values() ?? []) this.#unseat(thread);
    return threads;
  }

  #unseat(thread: Thread): void {
    if (thread.home === undefined) return;
    this.#seats.get(thread.home)?.delete(thread);
    thread.home = undefined;
  }
}
