/**
 * KV events in over HTTP, as server-sent events: for engines behind firewalls. `GET <address>` streams
 * what is published from now on, and with `Last-Event-ID: n` all after batch n; `?from=n&follow=0`
 * answers all from batch n on and ends. An event's data is the batch's number, a space, and the batch
 * in base64; its id is the number too. Our workers answer so at /stator/v1/kv-events.
 */
import { KV_SECRET_HEADER } from '../model/worker.ts';
import type { Cancel, Clock, FeedAddress, FeedLink, FeedListener, KvFeed } from '../ports.ts';
import type { NumberedBatch } from '../wire/kv-event-log.ts';
import { readSseBatch } from '../wire/kv-event-sse.ts';
import { SseReader } from '../wire/sse.ts';

export interface SseFeedSettings {
  /** After a connection broke off, until it is tried again. */
  againUs: number;
  /** A replay takes at most this between two chunks. */
  silenceUsMax: number;
  /** For engines that ask for it. */
  kvSecret: string | undefined;
}

/** A batch in base64 may be so long. */
const EVENT_CHARACTERS_MAX = 256 * 1024 * 1024;

export class SseFeed implements KvFeed {
  readonly #parts: { clock: Clock; settings: SseFeedSettings };

  constructor(parts: { clock: Clock; settings: SseFeedSettings }) {
    this.#parts = parts;
  }

  subscribe(address: FeedAddress, on: FeedListener): FeedLink {
    return new SseLink(address.endpoint, on, this.#parts);
  }
}

class SseLink implements FeedLink {
  readonly replays = true;
  readonly isReliable = true;
  readonly #endpoint: string;
  readonly #on: FeedListener;
  readonly #parts: { clock: Clock; settings: SseFeedSettings };
  readonly #leaving = new AbortController();
  #cancelAgain: Cancel = () => {};
  #last: number | undefined;

  constructor(
    endpoint: string,
    on: FeedListener,
    parts: { clock: Clock; settings: SseFeedSettings },
  ) {
    this.#endpoint = endpoint;
    this.#on = on;
    this.#parts = parts;
    void this.#listen();
  }

  async *replay(from: number): AsyncGenerator<NumberedBatch> {
    const url = new URL(this.#endpoint);
    url.searchParams.set('from', String(from));
    url.searchParams.set('follow', '0');
    yield* this.#batches(url, {}, this.#parts.settings.silenceUsMax);
  }

  close(): void {
    this.#leaving.abort();
    this.#cancelAgain();
  }

  /** Follows the stream, and connects again whenever it ends. */
  async #listen(): Promise<void> {
    const isAgain = this.#last !== undefined;
    const resume: Record<string, string> = isAgain ? { 'last-event-id': String(this.#last) } : {};
    try {
      const live = this.#batches(new URL(this.#endpoint), resume, undefined);
      for await (const { number, payload } of live) {
        this.#last = number;
        this.#on.batch(number, payload);
      }
    } catch {
      // It is tried again: an engine that is not there tells nothing, and proves nothing.
    }
    if (this.#leaving.signal.aborted) return;
    const { clock, settings } = this.#parts;
    this.#cancelAgain = clock.after(settings.againUs, () => {
      this.#on.reconnected();
      void this.#listen();
    });
  }

  async *#batches(
    url: URL,
    headers: Record<string, string>,
    silenceUsMax: number | undefined,
  ): AsyncGenerator<NumberedBatch> {
    const { clock, settings } = this.#parts;
    const stalling = new AbortController();
    const signal = AbortSignal.any([this.#leaving.signal, stalling.signal]);
    const { kvSecret } = settings;
    if (kvSecret !== undefined) headers[KV_SECRET_HEADER] = kvSecret;
    let cancel: Cancel = () => {};
    const heard = () => {
      cancel();
      if (silenceUsMax !== undefined) cancel = clock.after(silenceUsMax, () => stalling.abort());
    };
    try {
      heard();
      const response = await fetch(url, { headers, signal });
      if (!response.ok || response.body === null) {
        throw new Error(`${url.origin} answered ${response.status}`);
      }
      const reader = new SseReader(EVENT_CHARACTERS_MAX);
      for await (const chunk of response.body) {
        heard();
        for (const { data } of reader.push(chunk)) {
          const batch = readSseBatch(data);
          if (batch !== undefined) yield batch;
        }
      }
    } finally {
      cancel();
      stalling.abort();
    }
  }
}
