/**
 * KV events out, as vLLM publishes them: a ZeroMQ PUB socket with `[topic, sequence, payload]`, and a
 * ROUTER socket that repeats recent batches from a sequence number on.
 */
import { Publisher, Router } from 'zeromq';
import { must } from '../base/assert.ts';
import type { KvEvent } from '../model/block.ts';
import type { KvEvents } from '../ports.ts';
import { packEvents } from '../wire/kv-events.ts';

export const KV_TOPIC = 'kv-events';

/** Ends a replay, as vLLM marks it: sequence -1. */
const END_OF_REPLAY = sequenceBytes(-1n);

export class EventPublisher implements KvEvents {
  readonly endpoint: string;
  readonly replay: string;
  readonly #publisher: Publisher;
  readonly #router: Router;
  readonly #kept: { sequence: bigint; payload: Uint8Array }[] = [];
  readonly #batchesKept: number;
  #next = 0n;
  #sending: Promise<void> = Promise.resolve();

  static async start(batchesKept: number): Promise<EventPublisher> {
    // A subscriber that is slow must not make us forget: it asks for a replay instead.
    const publisher = new Publisher({ sendHighWaterMark: 100_000, linger: 0 });
    // Without a bound, since a replay that is cut is none; what is kept is bounded already.
    const router = new Router({ sendHighWaterMark: 0, linger: 0 });
    await publisher.bind('tcp://127.0.0.1:*');
    await router.bind('tcp://127.0.0.1:*');
    return new EventPublisher(publisher, router, batchesKept);
  }

  private constructor(publisher: Publisher, router: Router, batchesKept: number) {
    this.#publisher = publisher;
    this.#router = router;
    this.#batchesKept = batchesKept;
    this.endpoint = must(publisher.lastEndpoint, 'a bound socket has an address');
    this.replay = must(router.lastEndpoint, 'a bound socket has an address');
    void this.#answerReplays();
  }

  publish(events: readonly KvEvent[]): void {
    const sequence = this.#next++;
    const payload = packEvents(events, Date.now() / 1000);
    this.#kept.push({ sequence, payload });
    if (this.#kept.length > this.#batchesKept) this.#kept.shift();
    this.#sending = this.#sending
      .then(() => this.#publisher.send([KV_TOPIC, sequenceBytes(sequence), payload]))
      .catch(() => {}); // Only a closed socket fails here, and then nobody listens any more.
  }

  close(): void {
    this.#publisher.close();
    this.#router.close();
  }

  /** A request is `[client, '', first sequence]`. */
  async #answerReplays(): Promise<void> {
    for await (const frames of this.#router) {
      const [client, , from] = frames;
      if (from === undefined || from.length !== 8) continue;
      const first = from.readBigUInt64BE();
      for (const { sequence, payload } of this.#kept) {
        if (sequence < first) continue;
        await this.#router.send([client, '', sequenceBytes(sequence), payload]);
      }
      await this.#router.send([client, '', END_OF_REPLAY, '']);
    }
  }
}

function sequenceBytes(sequence: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(sequence);
  return bytes;
}
