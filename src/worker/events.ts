/**
 * KV events out, as vLLM publishes them: a ZeroMQ PUB socket with `[topic, number, payload]`, and a
 * ROUTER socket that repeats batches from a number on; where those are not kept any more it tells all
 * that is held instead (wire/kv-event-log.ts).
 */
import { Publisher, Router } from 'zeromq';
import { must } from '../base/assert.ts';
import { END_OF_REPLAY, numberBytes, readNumber } from '../wire/kv-event-frame.ts';
import type { KvEventLog } from '../wire/kv-event-log.ts';

export const KV_TOPIC = 'kv-events';

/** Of an answer, so many batches go out before the event loop turns. */
const ANSWER_BATCHES = 16;

export class EventPublisher {
  readonly endpoint: string;
  readonly replay: string;
  readonly #publisher: Publisher;
  readonly #router: Router;
  readonly #log: KvEventLog;
  readonly #cancel: () => void;
  #sending: Promise<void> = Promise.resolve();

  static async start(log: KvEventLog): Promise<EventPublisher> {
    // A subscriber that is slow must not make us forget: it asks for a replay instead.
    const publisher = new Publisher({ sendHighWaterMark: 100_000, linger: 0 });
    // Without a bound, since a replay that is cut is none; what is held is bounded already.
    const router = new Router({ sendHighWaterMark: 0, linger: 0 });
    await publisher.bind('tcp://127.0.0.1:*');
    await router.bind('tcp://127.0.0.1:*');
    return new EventPublisher(publisher, router, log);
  }

  private constructor(publisher: Publisher, router: Router, log: KvEventLog) {
    this.#publisher = publisher;
    this.#router = router;
    this.#log = log;
    this.endpoint = must(publisher.lastEndpoint, 'a bound socket has an address');
    this.replay = must(router.lastEndpoint, 'a bound socket has an address');
    this.#cancel = log.listen(({ number, payload }) => {
      this.#sending = this.#sending
        .then(() => this.#publisher.send([KV_TOPIC, numberBytes(number), payload]))
        .catch(() => {}); // Only a closed socket fails here, and then nobody listens any more.
    });
    void this.#answerReplays();
  }

  close(): void {
    this.#cancel();
    this.#publisher.close();
    this.#router.close();
  }

  /** A request is `[client, '', first number]`. */
  async #answerReplays(): Promise<void> {
    for await (const [client, , from] of this.#router) {
      const first = from === undefined ? undefined : readNumber(from);
      if (first === undefined) continue;
      try {
        await this.#replay(client, first);
      } catch {
        return; // The socket was closed meanwhile.
      }
    }
  }

  async #replay(client: Buffer, from: number): Promise<void> {
    let sent = 0;
    for (const { number, payload } of this.#log.since(from)) {
      await this.#router.send([client, '', numberBytes(number), payload]);
      if (++sent % ANSWER_BATCHES === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await this.#router.send([client, '', numberBytes(END_OF_REPLAY), '']);
  }
}
