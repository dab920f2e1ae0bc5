/** The recent past in buckets of some seconds, for the page: requests, tokens, what was cached, TTFT. */
import type { Clock, Note, Sink } from '../ports.ts';

export interface Moment {
  /** Start of the bucket, milliseconds since 1970. */
  atMs: number;
  requests: number;
  promptTokens: number;
  cachedTokens: number;
  outputTokens: number;
  /** Mean over the bucket's requests. */
  ttftMs: number | null;
}

interface Bucket extends Moment {
  ttftUsSum: number;
  ttftCount: number;
}

export class History implements Sink {
  readonly #clock: Clock;
  readonly #bucketMs: number;
  readonly #bucketsMax: number;
  readonly #buckets: Bucket[] = [];

  constructor(given: { clock: Clock; bucketMs: number; bucketsMax: number }) {
    this.#clock = given.clock;
    this.#bucketMs = given.bucketMs;
    this.#bucketsMax = given.bucketsMax;
  }

  note(note: Note): void {
    if (note.kind !== 'request' || note.receipt.actual.status !== 'done') return;
    const { promptTokens, actual } = note.receipt;
    const bucket = this.#now();
    bucket.requests++;
    bucket.promptTokens += promptTokens ?? 0;
    bucket.cachedTokens += actual.cachedTokens ?? 0;
    bucket.outputTokens += actual.outputTokens;
    if (actual.ttftUs === null) return;
    bucket.ttftUsSum += actual.ttftUs;
    bucket.ttftCount++;
    bucket.ttftMs = bucket.ttftUsSum / bucket.ttftCount / 1000;
  }

  moments(): Moment[] {
    return this.#buckets.map(({ ttftUsSum: _sum, ttftCount: _count, ...moment }) => moment);
  }

  #now(): Bucket {
    const atMs = Math.floor(this.#clock.wallMs() / this.#bucketMs) * this.#bucketMs;
    const last = this.#buckets[this.#buckets.length - 1];
    if (last?.atMs === atMs) return last;
    const bucket: Bucket = {
      atMs,
      requests: 0,
      promptTokens: 0,
      cachedTokens: 0,
      outputTokens: 0,
      ttftMs: null,
      ttftUsSum: 0,
      ttftCount: 0,
    };
    this.#buckets.push(bucket);
    if (this.#buckets.length > this.#bucketsMax) this.#buckets.shift();
    return bucket;
  }
}
