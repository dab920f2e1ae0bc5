/**
 * Threads: the unit of prefix reuse. Each live thread sits on one worker, and the sum of what sits
 * there says how full a worker's cache really is, before anything is evicted.
 *
 * Nobody tells when a session ends. A thread lapses when it has been away for longer than a live one
 * plausibly would be: when gaps that long are rarer than threads that never come back. It then gives
 * up its seat, and gets it back when it returns.
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

export interface LiveThreads {
  /** Held by them alone. */
  tokens: number;
  threads: number;
}

/** Fewer gaps than this say nothing about how long threads stay away. */
const GAPS_MIN = 20;

export class Threads {
  readonly #byTenant: Lru<TenantId, Lru<ThreadId, Thread>>;
  readonly #threadsMax: number;
  readonly #seats = new Map<WorkerId, Seats>();
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
      this.#seat(known);
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
      if (!this.#seats.has(worker)) this.#seats.set(worker, new Seats());
    }
    thread.contextTokens = given.promptTokens;
    // A shorter prompt than before (a title, a compaction) shares no more than it has.
    thread.sharedTokens = Math.min(thread.sharedTokens, given.promptTokens);
    thread.running++;
    this.#seat(thread);
  }

  ended(nowUs: number, thread: Thread, outputTokens: number): void {
    assert(thread.running > 0, 'a thread ends what it runs');
    thread.running--;
    thread.contextTokens += outputTokens;
    thread.lastUs = nowUs;
    this.#seat(thread);
  }

  workerLeft(worker: WorkerId): void {
    for (const thread of this.#seats.get(worker)?.threads() ?? []) thread.home = undefined;
    this.#seats.delete(worker);
  }

  /** Takes the seats of those that lapsed: whoever asks who is live need not pass them again. */
  lapse(nowUs: number): void {
    const lapsedUs = nowUs - this.lapseUs();
    for (const seats of this.#seats.values()) {
      for (const thread of seats.lapsed(lapsedUs)) seats.give(thread);
    }
  }

  /** The live threads that sit on a worker, `except` one. */
  live(nowUs: number, worker: WorkerId, except: Thread | undefined): LiveThreads {
    const seats = this.#seats.get(worker);
    return seats?.live(nowUs - this.lapseUs(), except) ?? { tokens: 0, threads: 0 };
  }

  /** The gap after which a thread is more likely gone than thinking. */
  lapseUs(): number {
    const goneShare = this.#threadsSeen / Math.max(1, this.#turnsSeen);
    const gapS = this.#gaps.quantile(1 - goneShare);
    if (gapS === undefined || this.#gaps.count < GAPS_MIN) return Number.POSITIVE_INFINITY;
    return gapS * 1e6;
  }

  /** For the page: over all workers. */
  liveCount(nowUs: number): number {
    let count = 0;
    for (const worker of this.#seats.keys()) count += this.live(nowUs, worker, undefined).threads;
    return count;
  }

  check(): void {
    for (const [worker, seats] of this.#seats) {
      seats.check();
      for (const thread of seats.threads()) assert(thread.home === worker, 'a thread sits at home');
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

  #seat(thread: Thread): void {
    if (thread.home === undefined) return;
    const seats = this.#seats.get(thread.home);
    if (seats !== undefined) seats.take(thread);
    else thread.home = undefined; // Its worker left while it was away.
  }

  #unseat(thread: Thread): void {
    if (thread.home === undefined) return;
    this.#seats.get(thread.home)?.give(thread);
    thread.home = undefined;
  }
}

/** Of one worker: its live threads, the one longest away first, and the sum of what they hold. */
class Seats {
  /** Tokens each was counted with. */
  readonly #seated = new Map<Thread, number>();
  #tokens = 0;

  threads(): Iterable<Thread> {
    return this.#seated.keys();
  }

  /** Anew, at the end, where it has a seat. */
  take(thread: Thread): void {
    this.give(thread);
    const tokens = thread.contextTokens - thread.sharedTokens;
    this.#seated.set(thread, tokens);
    this.#tokens += tokens;
  }

  give(thread: Thread): void {
    const tokens = this.#seated.get(thread);
    if (tokens === undefined) return;
    this.#seated.delete(thread);
    this.#tokens -= tokens;
  }

  /** Those that run nothing and were last heard of before. */
  *lapsed(beforeUs: number): Generator<Thread> {
    for (const thread of this.#seated.keys()) {
      if (thread.running > 0) continue;
      if (thread.lastUs >= beforeUs) return;
      yield thread;
    }
  }

  /** Of those heard of since, `except` one. */
  live(sinceUs: number, except: Thread | undefined): LiveThreads {
    const live = { tokens: this.#tokens, threads: this.#seated.size };
    const leave = (thread: Thread) => {
      const tokens = this.#seated.get(thread);
      if (tokens === undefined) return;
      live.tokens -= tokens;
      live.threads--;
    };
    for (const thread of this.lapsed(sinceUs)) if (thread !== except) leave(thread);
    if (except !== undefined) leave(except);
    return live;
  }

  check(): void {
    let tokens = 0;
    for (const counted of this.#seated.values()) {
      assert(counted >= 0, 'no thread holds less than nothing');
      tokens += counted;
    }
    assert(tokens === this.#tokens, 'what sits here is what it sums to');
  }
}
