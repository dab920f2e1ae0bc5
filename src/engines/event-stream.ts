/**
 * The server-sent events of one answer, as undici hands over its bytes: no stream object between, since
 * each layer costs every token of every stream. What its reader does not take yet is bounded: beyond
 * it the socket is not read, and the engine feels it.
 */
import type { Dispatcher } from 'undici';
import { LineReader } from '../wire/lines.ts';
import { type SseEvent, SseReader } from '../wire/sse.ts';
import type { Refusal } from '../wire/upstream-error.ts';

type Controller = Dispatcher.DispatchController;

type Refused = (refusal: Refusal) => Error;

interface Waiting {
  resolve(result: IteratorResult<SseEvent[], undefined>): void;
  reject(error: unknown): void;
}

/** So many bytes wait for their reader before the socket is left alone. */
const AHEAD_BYTES_MAX = 64 * 1024;

const EVENT_BYTES_MAX = 8 * 1024 * 1024;

/** What an engine says when it refuses is a sentence, not a stream. */
const REFUSAL_BYTES_MAX = 64 * 1024;

const OVER: IteratorResult<SseEvent[], undefined> = { done: true, value: undefined };

/**
 * A handler for `Dispatcher.dispatch`, and an iterator over what came together: one list of events for
 * each piece of the answer that the network brought.
 */
export class EventStream implements Dispatcher.DispatchHandler, AsyncIterableIterator<SseEvent[]> {
  readonly #reader: SseReader | LineReader;
  readonly #refused: Refused;
  readonly #lost: (error: unknown) => Error;
  #controller: Controller | undefined;
  #status = 0;
  #retryAfter: unknown;
  #refusal = '';
  #events: SseEvent[] = [];
  #aheadBytes = 0;
  #waiting: Waiting | undefined;
  /** How it ended; what came before is still handed on. */
  #end: { error: Error | undefined } | undefined;
  /** Why it is to end, where that was decided before it began. */
  #reason: Error | undefined;
  #forget = () => {};

  /** `refused`, `lost`: our words for an answer other than 200, and for a connection that broke. */
  constructor(given: {
    signal: AbortSignal;
    refused: Refused;
    lost: (error: unknown) => Error;
    framing?: 'events' | 'lines';
  }) {
    const { signal, framing = 'events' } = given;
    const Reader = framing === 'events' ? SseReader : LineReader;
    this.#reader = new Reader(EVENT_BYTES_MAX);
    this.#refused = given.refused;
    this.#lost = given.lost;
    const leave = () => this.#abort(new Error('the client left'));
    signal.addEventListener('abort', leave, { once: true });
    this.#forget = () => signal.removeEventListener('abort', leave);
    if (signal.aborted) leave();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<SseEvent[], undefined>> {
    if (this.#events.length > 0) return Promise.resolve({ done: false, value: this.#take() });
    if (this.#end?.error !== undefined) return Promise.reject(this.#end.error);
    if (this.#end !== undefined) return Promise.resolve(OVER);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** Its reader leaves: the engine is told by the connection that closes. */
  return(): Promise<IteratorResult<SseEvent[], undefined>> {
    if (this.#end === undefined) this.#abort(new Error('nobody reads the answer any more'));
    return Promise.resolve(OVER);
  }

  onRequestStart(controller: Controller): void {
    if (this.#reason !== undefined) return controller.abort(this.#reason);
    this.#controller = controller;
  }

  onResponseStart(
    _controller: Controller,
    status: number,
    headers: Readonly<Record<string, unknown>>,
  ): void {
    this.#status = status;
    this.#retryAfter = headers['retry-after'];
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#status !== 200) {
      if (this.#refusal.length < REFUSAL_BYTES_MAX) this.#refusal += chunk.toString();
      return;
    }
    try {
      const events = this.#reader.push(chunk);
      if (events.length === 0) return;
      this.#events = this.#events.length === 0 ? events : this.#events.concat(events);
    } catch (error) {
      return this.#abort(error as Error);
    }
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      return waiting.resolve({ done: false, value: this.#take() });
    }
    this.#aheadBytes += chunk.length;
    if (this.#aheadBytes > AHEAD_BYTES_MAX) controller.pause();
  }

  onResponseEnd(): void {
    this.#over(
      this.#status === 200
        ? undefined
        : this.#refused({
            status: this.#status,
            body: this.#refusal,
            retryAfter: this.#retryAfter,
          }),
    );
  }

  onResponseError(_controller: Controller | undefined, error: Error): void {
    this.#over(this.#lost(error));
  }

  #take(): SseEvent[] {
    const events = this.#events;
    this.#events = [];
    const isPaused = this.#aheadBytes > AHEAD_BYTES_MAX;
    this.#aheadBytes = 0;
    // Last: it may hand over more at once, and pause again.
    if (isPaused) this.#controller?.resume();
    return events;
  }

  #abort(reason: Error): void {
    this.#reason = reason;
    this.#over(this.#lost(reason));
    this.#controller?.abort(reason);
  }

  #over(error: Error | undefined): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    this.#forget();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (error === undefined) waiting?.resolve(OVER);
    else waiting?.reject(error);
  }
}
