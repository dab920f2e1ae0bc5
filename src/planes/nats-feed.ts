/** KV events in over NATS; what is said there stands in nats-connection.ts. */
import { randomUUID } from 'node:crypto';
import type { Clock, FeedAddress, FeedLink, FeedListener, KvFeed } from '../ports.ts';
import { numberBytes, unframe } from '../wire/kv-event-frame.ts';
import type { NumberedBatch } from '../wire/kv-event-log.ts';
import {
  type NatsConnect,
  type NatsConnection,
  type NatsSubscription,
  natsAddress,
  replaySubject,
} from './nats-connection.ts';

export interface NatsFeedParts {
  clock: Clock;
  /** Loads the client library. */
  connect: () => Promise<NatsConnect>;
  /** A replay is silent for no longer than this. */
  replayUs: number;
}

export class NatsFeed implements KvFeed {
  readonly #parts: NatsFeedParts;

  constructor(parts: NatsFeedParts) {
    this.#parts = parts;
  }

  subscribe(address: FeedAddress, on: FeedListener): FeedLink {
    return new NatsLink(address.endpoint, on, this.#parts);
  }
}

class NatsLink implements FeedLink {
  readonly replays = true;
  readonly isReliable = false;
  readonly #on: FeedListener;
  readonly #parts: NatsFeedParts;
  readonly #connection: Promise<{ connection: NatsConnection; subject: string }>;
  readonly #asking = new Set<NatsSubscription>();
  #isClosed = false;

  constructor(endpoint: string, on: FeedListener, parts: NatsFeedParts) {
    this.#on = on;
    this.#parts = parts;
    this.#connection = this.#connect(endpoint);
    this.#connection.then(
      ({ connection, subject }) => {
        void this.#listen(connection, subject);
        void this.#watch(connection);
      },
      (error: Error) => on.failed(`KV events cannot be had at ${endpoint}: ${error.message}`),
    );
  }

  async *replay(from: number): AsyncGenerator<NumberedBatch> {
    const { connection, subject } = await this.#connection;
    if (this.#isClosed) return;
    const inbox = `_INBOX.${randomUUID()}`;
    const answers = connection.subscribe(inbox);
    this.#asking.add(answers);
    const { clock, replayUs } = this.#parts;
    const giveUp = () => answers.unsubscribe();
    let cancel = clock.after(replayUs, giveUp);
    try {
      connection.publish(replaySubject(subject), numberBytes(from), { reply: inbox });
      for await (const { data } of answers) {
        cancel();
        const batch = unframe(data);
        // Nobody listens there, says the server with an empty message.
        if (batch === undefined) break;
        if (batch.number < 0) return;
        yield batch;
        cancel = clock.after(replayUs, giveUp);
      }
      throw new Error('the answer broke off');
    } finally {
      cancel();
      answers.unsubscribe();
      this.#asking.delete(answers);
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const answers of this.#asking) answers.unsubscribe();
    this.#connection.then(
      ({ connection }) => connection.close(),
      () => {}, // It was told of as failed.
    );
  }

  async #connect(endpoint: string) {
    const { options, subject } = natsAddress(endpoint);
    const connect = await this.#parts.connect();
    return { connection: await connect(options), subject };
  }

  async #listen(connection: NatsConnection, subject: string): Promise<void> {
    for await (const { data } of connection.subscribe(subject)) {
      const batch = unframe(data);
      if (batch !== undefined && batch.number >= 0) this.#on.batch(batch.number, batch.payload);
    }
  }

  async #watch(connection: NatsConnection): Promise<void> {
    for await (const { type } of connection.status()) {
      if (type === 'reconnect') this.#on.reconnected();
    }
  }
}
