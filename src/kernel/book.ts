/**
 * Who runs where. A request is booked when it is dispatched, moves from prefill to decode with its
 * first token, and is released exactly once. What a worker still has to do follows from its bookings.
 */
import { assert, must } from '../base/assert.ts';
import type { RequestId, WorkerId } from '../model/ids.ts';

export interface Booking {
  readonly request: RequestId;
  readonly worker: WorkerId;
  /** Predicted time of its prefill. */
  readonly prefillUs: number;
  readonly promptTokens: number;
  /** Predicted matched tokens. */
  readonly matchedTokens: number;
  phase: 'prefill' | 'decode';
  /** When its prefill could begin: at dispatch, or when the one before it was done. */
  startedUs: number;
  outputTokens: number;
}

/** What a worker has on its hands. */
export interface Load {
  requests: number;
  decoding: number;
  /** Predicted prefill that is queued or in progress. */
  prefillUsLeft: number;
}

export class Book {
  readonly #byRequest = new Map<RequestId, Booking>();
  /** In order of dispatch: engines prefill first come, first served. */
  readonly #byWorker = new Map<WorkerId, Booking[]>();

  get size(): number {
    return this.#byRequest.size;
  }

  get(request: RequestId): Booking | undefined {
    return this.#byRequest.get(request);
  }

  count(worker: WorkerId): number {
    return this.#byWorker.get(worker)?.length ?? 0;
  }

  reserve(nowUs: number, booked: Omit<Booking, 'phase' | 'startedUs' | 'outputTokens'>): void {
    assert(!this.#byRequest.has(booked.request), 'a request is booked once');
    const booking: Booking = { ...booked, phase: 'prefill', startedUs: nowUs, outputTokens: 0 };
    this.#byRequest.set(booked.request, booking);
    const there = this.#byWorker.get(booked.worker);
    if (there === undefined) this.#byWorker.set(booked.worker, [booking]);
    else there.push(booking);
  }

  firstToken(nowUs: number, request: RequestId): void {
    const booking = this.#byRequest.get(request);
    if (booking === undefined || booking.phase === 'decode') return;
    booking.phase = 'decode';
    const next = this.#firstPrefill(booking.worker);
    if (next !== undefined) next.startedUs = nowUs;
  }

  progress(request: RequestId, outputTokens: number): void {
    const booking = this.#byRequest.get(request);
    if (booking !== undefined) booking.outputTokens = outputTokens;
  }

  /** Undefined where it was released before: an end and an abort may cross. */
  release(nowUs: number, request: RequestId): Booking | undefined {
    const booking = this.#byRequest.get(request);
    if (booking === undefined) return undefined;
    this.#byRequest.delete(request);
    const there = must(this.#byWorker.get(booking.worker), 'a booking is with its worker');
    const wasFirst = this.#firstPrefill(booking.worker) === booking;
    there.splice(there.indexOf(booking), 1);
    if (there.length === 0) this.#byWorker.delete(booking.worker);
    const next = this.#firstPrefill(booking.worker);
    if (wasFirst && next !== undefined) next.startedUs = nowUs;
    return booking;
  }

  load(nowUs: number, worker: WorkerId): Load {
    const load: Load = { requests: 0, decoding: 0, prefillUsLeft: 0 };
    let first = true;
    for (const booking of this.#byWorker.get(worker) ?? []) {
      load.requests++;
      if (booking.phase === 'decode') {
        load.decoding++;
        continue;
      }
      const done = first ? Math.min(booking.prefillUs, nowUs - booking.startedUs) : 0;
      load.prefillUsLeft += booking.prefillUs - done;
      first = false;
    }
    return load;
  }

  /** Output tokens so far of those that decode there, most first. */
  outputs(worker: WorkerId): number[] {
    const there = this.#byWorker.get(worker) ?? [];
    return there.map((booking) => booking.outputTokens).sort((a, b) => b - a);
  }

  check(): void {
    let count = 0;
    for (const [worker, bookings] of this.#byWorker) {
      assert(bookings.length > 0, 'a worker without bookings has no page');
      for (const booking of bookings) {
        assert(booking.worker === worker, 'a booking is with its worker');
        assert(
          this.#byRequest.get(booking.request) === booking,
          'a booking is known by its request',
        );
        count++;
      }
    }
    assert(count === this.#byRequest.size, 'each booking is counted once');
  }

  #firstPrefill(worker: WorkerId): Booking | undefined {
    return this.#byWorker.get(worker)?.find((booking) => booking.phase === 'prefill');
  }
}
