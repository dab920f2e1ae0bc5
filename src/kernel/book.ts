/**
 * Who runs where. A request is booked when it is dispatched, moves from prefill to decode with its
 * first token, and is released exactly once. What a worker still has to do follows from its bookings;
 * the sums are kept as bookings come and go, so that a price costs the same for a full worker as for
 * an empty one.
 */
import { assert } from '../base/assert.ts';
import type { RequestId, WorkerId } from '../model/ids.ts';

/** What is known of a request when it is dispatched. */
export interface Reservation {
  readonly request: RequestId;
  readonly worker: WorkerId;
  /** Predicted time of its prefill. */
  readonly prefillUs: number;
  readonly promptTokens: number;
  /** Predicted matched tokens, and those of them that lie in lower tiers. */
  readonly matchedTokens: number;
  readonly hostTokens: number;
  readonly diskTokens: number;
  /** It gives way to all others: they are priced as if it were not there. */
  readonly whenIdle?: boolean | undefined;
}

export interface Booking extends Reservation {
  phase: 'prefill' | 'decode';
  readonly dispatchedUs: number;
  /** When its prefill could begin: at dispatch, or when the one before it was done. */
  startedUs: number;
  outputTokens: number;
  /** Whether no other prompt was computed there between its dispatch and its first token. */
  alone: boolean;
  /** Who decoded there when it was dispatched. */
  readonly beside: number;
  /** Undefined before its first token. */
  first: Moment | undefined;
}

/** The page's running sums at one time: their differences are means over a while. */
export interface Moment {
  atUs: number;
  /** Sequences that decode, summed over time. */
  decodeSequenceUs: number;
  /** Time in which some prompt was computed. */
  prefillBusyUs: number;
}

/** What a worker has on its hands. Live: it changes with every booking. */
export interface Load {
  readonly requests: number;
  readonly decoding: number;
  /** Predicted prefill of those that still wait for a first token. */
  readonly prefillUs: number;
  /** Uncached prompt tokens of the same. */
  readonly prefillTokens: number;
  /** Prompts and outputs of all that run there. */
  readonly contextTokens: number;
  /** Those that give way, which nothing above counts, and of them those without a first token. */
  readonly idleRequests: number;
  readonly idlePrompts: number;
  /** Predicted prefill that is queued or in progress. */
  prefillUsLeft(nowUs: number): number;
  /** Output tokens so far of the request that was dispatched there n-th, counted from 0. */
  outputTokens(rank: number): number;
}

export class Book {
  readonly #byRequest = new Map<RequestId, Booking>();
  readonly #pages = new Map<WorkerId, Page>();

  get size(): number {
    return this.#byRequest.size;
  }

  /** Undefined where it does not run. */
  get(request: RequestId): Readonly<Booking> | undefined {
    return this.#byRequest.get(request);
  }

  /** What runs there. */
  on(worker: WorkerId): RequestId[] {
    const page = this.#pages.get(worker);
    return page === undefined ? [] : Array.from(page.bookings(), ({ request }) => request);
  }

  count(worker: WorkerId): number {
    return this.#pages.get(worker)?.requests ?? 0;
  }

  /** The same object for as long as the worker is known: whoever asks often may keep it. */
  load(worker: WorkerId): Load {
    const page = this.#page(worker);
    page.closed = false;
    return page;
  }

  reserve(nowUs: number, reservation: Reservation): void {
    assert(!this.#byRequest.has(reservation.request), 'a request is booked once');
    const page = this.#page(reservation.worker);
    const booking: Booking = {
      ...reservation,
      phase: 'prefill',
      dispatchedUs: nowUs,
      startedUs: nowUs,
      outputTokens: 0,
      alone: page.requests === page.decoding,
      beside: page.decoding,
      first: undefined,
    };
    this.#byRequest.set(booking.request, booking);
    page.add(nowUs, booking);
  }

  firstToken(nowUs: number, request: RequestId): void {
    const booking = this.#byRequest.get(request);
    if (booking?.phase === 'prefill') this.#page(booking.worker).firstToken(nowUs, booking);
  }

  progress(request: RequestId, outputTokens: number): void {
    const booking = this.#byRequest.get(request);
    if (booking !== undefined) this.#page(booking.worker).progress(booking, outputTokens);
  }

  /** Undefined where it was released before: an end and an abort may cross. */
  release(nowUs: number, request: RequestId): { booking: Booking; end: Moment } | undefined {
    const booking = this.#byRequest.get(request);
    if (booking === undefined) return undefined;
    this.#byRequest.delete(request);
    const page = this.#page(booking.worker);
    page.remove(nowUs, booking);
    const end = page.moment(nowUs);
    if (page.isEmpty && page.closed) this.#pages.delete(booking.worker);
    return { booking, end };
  }

  /** Its page goes with the last request that still runs there. */
  workerLeft(worker: WorkerId): void {
    const page = this.#pages.get(worker);
    if (page === undefined) return;
    page.closed = true;
    if (page.isEmpty) this.#pages.delete(worker);
  }

  check(): void {
    let count = 0;
    for (const [worker, page] of this.#pages) {
      page.check();
      for (const booking of page.bookings()) {
        assert(booking.worker === worker, 'a booking is with its worker');
        const known = this.#byRequest.get(booking.request);
        assert(known === booking, 'a booking is known by its request');
        count++;
      }
    }
    assert(count === this.#byRequest.size, 'each booking is counted once');
  }

  #page(worker: WorkerId): Page {
    let page = this.#pages.get(worker);
    if (page === undefined) this.#pages.set(worker, (page = new Page()));
    return page;
  }
}

/** One worker's bookings and their sums. */
class Page implements Load {
  requests = 0;
  decoding = 0;
  prefillUs = 0;
  prefillTokens = 0;
  contextTokens = 0;
  idlePrompts = 0;
  closed = false;
  /** In order of dispatch: engines prefill first come, first served. */
  readonly #bookings: Booking[] = [];
  readonly #idle = new Set<Booking>();
  /** The first that waits for its first token: the one that is computed. */
  #head: Booking | undefined;
  #sinceUs = 0;
  #decodeSequenceUs = 0;
  #prefillBusyUs = 0;

  get isEmpty(): boolean {
    return this.requests + this.idleRequests === 0;
  }

  get idleRequests(): number {
    return this.#idle.size;
  }

  bookings(): Iterable<Booking> {
    return [...this.#bookings, ...this.#idle];
  }

  prefillUsLeft(nowUs: number): number {
    const head = this.#head;
    if (head === undefined) return 0;
    return this.prefillUs - Math.min(head.prefillUs, nowUs - head.startedUs);
  }

  outputTokens(rank: number): number {
    return this.#bookings[rank]?.outputTokens ?? 0;
  }

  add(nowUs: number, booking: Booking): void {
    this.moment(nowUs);
    if (booking.whenIdle) {
      this.#idle.add(booking);
      this.idlePrompts++;
      return;
    }
    if (!booking.alone) {
      for (const other of this.#bookings) if (other.phase === 'prefill') other.alone = false;
    }
    this.#bookings.push(booking);
    this.#head ??= booking;
    this.requests++;
    this.prefillUs += booking.prefillUs;
    this.prefillTokens += booking.promptTokens - booking.matchedTokens;
    this.contextTokens += booking.promptTokens;
  }

  firstToken(nowUs: number, booking: Booking): void {
    booking.first = this.moment(nowUs);
    booking.phase = 'decode';
    if (booking.whenIdle) {
      this.idlePrompts--;
      return;
    }
    this.#prefilled(booking);
    this.decoding++;
    this.#setHead(nowUs);
  }

  progress(booking: Booking, outputTokens: number): void {
    if (booking.whenIdle) return;
    this.contextTokens += outputTokens - booking.outputTokens;
    booking.outputTokens = outputTokens;
  }

  remove(nowUs: number, booking: Booking): void {
    this.moment(nowUs);
    if (this.#idle.delete(booking)) {
      if (booking.phase === 'prefill') this.idlePrompts--;
      return;
    }
    this.#bookings.splice(this.#bookings.indexOf(booking), 1);
    this.requests--;
    this.contextTokens -= booking.promptTokens + booking.outputTokens;
    if (booking.phase === 'decode') this.decoding--;
    else this.#prefilled(booking);
    if (this.#head === booking) this.#setHead(nowUs);
  }

  /** Brings the running sums up to now. */
  moment(nowUs: number): Moment {
    const us = nowUs - this.#sinceUs;
    this.#decodeSequenceUs += us * this.decoding;
    if (this.#head !== undefined) this.#prefillBusyUs += us;
    this.#sinceUs = nowUs;
    return {
      atUs: nowUs,
      decodeSequenceUs: this.#decodeSequenceUs,
      prefillBusyUs: this.#prefillBusyUs,
    };
  }

  check(): void {
    const prefills = this.#bookings.filter((one) => one.phase === 'prefill');
    const sum = (bookings: Booking[], of: (booking: Booking) => number) =>
      bookings.reduce((total, booking) => total + of(booking), 0);
    assert(this.requests === this.#bookings.length, 'each request on a page is counted');
    assert(this.decoding === this.requests - prefills.length, 'who has no first token decodes not');
    assert(this.#head === prefills[0], 'the first prompt without an answer is the one computed');
    assert(this.prefillUs === sum(prefills, (one) => one.prefillUs), 'prefill sums up');
    const uncached = sum(prefills, (one) => one.promptTokens - one.matchedTokens);
    assert(this.prefillTokens === uncached, 'prefill tokens sum up');
    const context = sum(this.#bookings, (one) => one.promptTokens + one.outputTokens);
    assert(this.contextTokens === context, 'contexts sum up');
    const prompts = [...this.#idle].filter((one) => one.phase === 'prefill');
    assert(this.idlePrompts === prompts.length, 'who gives way has a first token or not');
  }

  #prefilled(booking: Booking): void {
    this.prefillUs -= booking.prefillUs;
    this.prefillTokens -= booking.promptTokens - booking.matchedTokens;
  }

  #setHead(nowUs: number): void {
    this.#head = this.#bookings.find((one) => one.phase === 'prefill');
    if (this.#head !== undefined) this.#head.startedUs = nowUs;
  }
}
