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
import { RunningMean } from '../../base/running-mean.ts';
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
  arrivedUs: number;
}

/** The threads that sit on a worker. Live: they come and go. */
export interface LiveThreads {
  /** Held by them alone. */
  readonly tokens: number;
  readonly threads: number;
  /** Of the threads, those that run something. */
  readonly running: number;
}

/** How threads spend their time, as running means; both 0 before anything is known. */
export interface Pace {
  /** From a request's arrival to the end of its answer. */
  serviceUs: number;
  /** From there to the next request, as long as a thread sits somewhere. */
  gapUs: number;
}

/** Fewer gaps than this say nothing about how long threads stay away. */
const GAPS_MIN = 20;
/** Unless so few came out of so many turns. */
const TURNS_MIN = 50 * GAPS_MIN;
/** Running means look back so many requests. */
const MEMORY = 200;
const KEPT = 1 - 1 / MEMORY;

export class Threads {
  readonly #byTenant: Lru<TenantId, Lru<ThreadId, Thread>>;
  readonly #threadsMax: number;
  readonly #seats = new Map<WorkerId, Seats>();
  /** By all that sit somewhere. */
  readonly #held = new Map<TenantId, number>();
  /** Of all that sit somewhere and run nothing, the one longest away first. */
  readonly #idle = new Set<Thread>();
  readonly #gaps = new Histogram();
  #threadsSeen = 0;
  #turnsSeen = 0;
  /** Of the gaps and turns seen so far; undefined where it must be reckoned anew. */
  #lapseUs: number | undefined = Number.POSITIVE_INFINITY;
  readonly #service = new RunningMean({ memory: MEMORY, prior: 0 });
  /** Time that threads were away for, summed over those that sit somewhere, and how many came back. */
  #awayUs = 0;
  #returns = 0;
  #countedUs = 0;

  constructor(limits: { tenantsMax: number; threadsMax: number }) {
    this.#byTenant = new Lru(limits.tenantsMax);
    this.#threadsMax = limits.threadsMax;
  }

  of({ tenant, thread }: { tenant: TenantId; thread: ThreadId | undefined }): Thread | undefined {
    return thread === undefined ? undefined : this.#byTenant.peek(tenant)?.peek(thread);
  }

  /** A request of the thread arrived. */
  arrived(nowUs: number, tenant: TenantId, id: ThreadId): Thread {
    this.#countAway(nowUs);
    this.#turnsSeen++;
    this.#lapseUs = undefined;
    const known = this.#threadsOf(tenant).get(id);
    if (known !== undefined) {
      if (known.running === 0) this.#gapEnded(nowUs - known.lastUs);
      known.turns++;
      known.lastUs = nowUs;
      known.arrivedUs = nowUs;
      // Whoever lost its seat gets one when it is placed.
      if (this.seatOf(known) !== undefined) this.#seat(known);
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
      arrivedUs: nowUs,
    };
    const evicted = this.#threadsOf(tenant).set(id, thread);
    if (evicted !== undefined) this.#dismiss(evicted.value);
    return thread;
  }

  placed(
    thread: Thread,
    worker: WorkerId,
    given: { promptTokens: number; matchedTokens: number },
  ): void {
    if (thread.home !== worker) {
      this.#dismiss(thread);
      thread.home = worker;
      thread.sharedTokens = given.matchedTokens;
      this.#seatsOf(worker);
    }
    thread.contextTokens = given.promptTokens;
    // A shorter prompt than before (a title, a compaction) shares no more than it has.
    thread.sharedTokens = Math.min(thread.sharedTokens, given.promptTokens);
    thread.running++;
    this.#seat(thread);
  }

  ended(nowUs: number, thread: Thread, outputTokens: number): void {
    assert(thread.running > 0, 'a thread ends what it runs');
    this.#countAway(nowUs);
    thread.running--;
    thread.contextTokens += outputTokens;
    thread.lastUs = nowUs;
    this.#service.add(nowUs - thread.arrivedUs);
    this.#seat(thread);
  }

  /** Nobody will go on from it: its seat is free. */
  over(gone: { tenant: TenantId; thread: ThreadId }): void {
    const thread = this.of(gone);
    // What still runs there takes it again when it ends, and lapses.
    if (thread !== undefined && thread.running === 0) this.#dismiss(thread);
  }

  workerLeft(worker: WorkerId): void {
    const seats = this.#seats.get(worker);
    for (const thread of [...(seats?.threadsSeated() ?? [])]) {
      seats?.give(thread);
      thread.home = undefined;
      this.#idle.delete(thread);
    }
    this.#seats.delete(worker);
  }

  /** Tokens that each tenant's threads hold where they sit, over all workers. */
  heldTokens(): ReadonlyMap<TenantId, number> {
    return this.#held;
  }

  /** Takes the seats of those that lapsed: from then on, who sits somewhere is live. */
  lapse(nowUs: number): void {
    this.#countAway(nowUs);
    const lapsedUs = nowUs - this.lapseUs();
    for (const thread of this.#idle) {
      if (thread.lastUs >= lapsedUs) return;
      this.#idle.delete(thread);
      if (thread.home !== undefined) this.#seats.get(thread.home)?.give(thread);
    }
  }

  /** Takes its seat. It is still at home there: its KV may be found. */
  unseat(thread: Thread): void {
    if (thread.home === undefined) return;
    assert(thread.running === 0, 'who runs keeps its seat');
    this.#idle.delete(thread);
    this.#seats.get(thread.home)?.give(thread);
  }

  /** Who sits on a worker. */
  seated(worker: WorkerId): Iterable<Thread> {
    return this.#seats.get(worker)?.threadsSeated() ?? [];
  }

  /** The live threads that sit on a worker: the same object until the worker leaves. */
  live(worker: WorkerId): LiveThreads {
    return this.#seatsOf(worker);
  }

  /** What `thread` counts for where it sits; undefined where it sits nowhere. */
  seatOf(thread: Thread): { worker: WorkerId; tokens: number } | undefined {
    if (thread.home === undefined) return undefined;
    const tokens = this.#seats.get(thread.home)?.tokensOf(thread);
    return tokens === undefined ? undefined : { worker: thread.home, tokens };
  }

  /** The gap after which a thread is more likely gone than thinking. */
  lapseUs(): number {
    if (this.#lapseUs === undefined) {
      this.#lapseUs = this.#plausibleUs();
    }
    return this.#lapseUs;
  }

  /**
   * A gap is what all were away for, those included who may never come back, by those who did: so whoever
   * has been idle for long is expected to run less, also before anybody came back.
   */
  pace(nowUs: number): Pace {
    this.#countAway(nowUs);
    return { serviceUs: this.#service.mean, gapUs: this.#awayUs / Math.max(1, this.#returns) };
  }

  /** For the page: over all workers. */
  liveCount(): number {
    let count = 0;
    for (const { threads } of this.#seats.values()) count += threads;
    return count;
  }

  check(): void {
    let held = 0;
    for (const tokens of this.#held.values()) held += tokens;
    for (const [worker, seats] of this.#seats) {
      seats.check();
      held -= seats.tokens;
      for (const thread of seats.threadsSeated()) {
        assert(thread.home === worker, 'a thread sits at home');
        const idle = thread.running === 0;
        assert(this.#idle.has(thread) === idle, 'who sits and runs nothing may lapse');
      }
    }
    assert(held === 0, 'what sits somewhere is held by some tenant');
    let lastUs = Number.NEGATIVE_INFINITY;
    for (const thread of this.#idle) {
      assert(thread.lastUs >= lastUs, 'the one longest away lapses first');
      lastUs = thread.lastUs;
    }
  }

  #plausibleUs(): number {
    const goneShare = this.#threadsSeen / Math.max(1, this.#turnsSeen);
    const gapS = this.#gaps.quantile(1 - goneShare);
    if (gapS !== undefined && this.#gaps.count >= GAPS_MIN) return gapS * 1e6;
    // Where hardly anybody ever came back, nobody is waited for longer than a turn takes.
    return this.#turnsSeen < TURNS_MIN ? Number.POSITIVE_INFINITY : this.#service.mean;
  }

  /** Before anybody goes or comes. */
  #countAway(nowUs: number): void {
    this.#awayUs += this.#idle.size * Math.max(0, nowUs - this.#countedUs);
    this.#countedUs = nowUs;
  }

  #gapEnded(us: number): void {
    this.#gaps.record(us / 1e6);
    this.#awayUs *= KEPT;
    this.#returns = this.#returns * KEPT + 1;
  }

  #seatsOf(worker: WorkerId): Seats {
    let seats = this.#seats.get(worker);
    if (seats === undefined) this.#seats.set(worker, (seats = new Seats(this.#held)));
    return seats;
  }

  #threadsOf(tenant: TenantId): Lru<ThreadId, Thread> {
    const known = this.#byTenant.get(tenant);
    if (known !== undefined) return known;
    const threads = new Lru<ThreadId, Thread>(this.#threadsMax);
    const evicted = this.#byTenant.set(tenant, threads);
    for (const thread of evicted?.value.values() ?? []) this.#dismiss(thread);
    return threads;
  }

  #seat(thread: Thread): void {
    this.#idle.delete(thread);
    if (thread.home === undefined) return;
    const seats = this.#seats.get(thread.home);
    if (seats === undefined) {
      thread.home = undefined; // Its worker left while it was away.
      return;
    }
    seats.take(thread);
    if (thread.running === 0) this.#idle.add(thread);
  }

  #dismiss(thread: Thread): void {
    this.#idle.delete(thread);
    if (thread.home === undefined) return;
    this.#seats.get(thread.home)?.give(thread);
    thread.home = undefined;
  }
}

/** Of one worker: its live threads, and the sums of what they hold. */
class Seats implements LiveThreads {
  tokens = 0;
  running = 0;
  readonly #seated = new Map<Thread, { tokens: number; runs: boolean }>();
  readonly #held: Map<TenantId, number>;

  /** `held`: of each tenant, on all workers. */
  constructor(held: Map<TenantId, number>) {
    this.#held = held;
  }

  get threads(): number {
    return this.#seated.size;
  }

  threadsSeated(): Iterable<Thread> {
    return this.#seated.keys();
  }

  tokensOf(thread: Thread): number | undefined {
    return this.#seated.get(thread)?.tokens;
  }

  /** Anew where it has a seat. */
  take(thread: Thread): void {
    this.give(thread);
    const tokens = thread.contextTokens - thread.sharedTokens;
    const runs = thread.running > 0;
    this.#seated.set(thread, { tokens, runs });
    this.#add(thread, tokens);
    if (runs) this.running++;
  }

  give(thread: Thread): void {
    const seat = this.#seated.get(thread);
    if (seat === undefined) return;
    this.#seated.delete(thread);
    this.#add(thread, -seat.tokens);
    if (seat.runs) this.running--;
  }

  #add({ tenant }: Thread, tokens: number): void {
    this.tokens += tokens;
    const held = (this.#held.get(tenant) ?? 0) + tokens;
    if (held === 0) this.#held.delete(tenant);
    else this.#held.set(tenant, held);
  }

  check(): void {
    let tokens = 0;
    let running = 0;
    for (const [thread, seat] of this.#seated) {
      assert(seat.tokens >= 0, 'no thread holds less than nothing');
      assert(seat.runs === thread.running > 0, 'who runs is known');
      tokens += seat.tokens;
      if (seat.runs) running++;
    }
    assert(tokens === this.tokens, 'what sits here is what it sums to');
    assert(running === this.running, 'who runs here is counted');
  }
}
