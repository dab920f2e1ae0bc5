/** A worker's KV events out over NATS; what is said there stands in nats-connection.ts. */
import { END_OF_REPLAY, frame, numberBytes, readNumber } from '../wire/kv-event-frame.ts';
import type { KvEventLog } from '../wire/kv-event-log.ts';
import {
  type NatsConnect,
  type NatsConnection,
  type NatsMessage,
  natsAddress,
  replaySubject,
} from './nats-connection.ts';

/** Batches of an answer between two waits for the server to have taken them. */
const ANSWER_BATCHES = 64;

export class NatsPublisher {
  readonly #connection: NatsConnection;
  readonly #log: KvEventLog;
  readonly #cancel: () => void;

  /** Rejects with one sentence where the library or the server is not there. */
  static async start(
    endpoint: string,
    log: KvEventLog,
    load: () => Promise<NatsConnect>,
  ): Promise<NatsPublisher> {
    const { options, subject } = natsAddress(endpoint);
    const connect = await load();
    const connection = await connect({ ...options, waitOnFirstConnect: false });
    return new NatsPublisher(connection, subject, log);
  }

  private constructor(connection: NatsConnection, subject: string, log: KvEventLog) {
    this.#connection = connection;
    this.#log = log;
    this.#cancel = log.listen((batch) => connection.publish(subject, frame(batch)));
    void this.#answer(replaySubject(subject));
  }

  async close(): Promise<void> {
    this.#cancel();
    await this.#connection.close();
  }

  async #answer(subject: string): Promise<void> {
    for await (const request of this.#connection.subscribe(subject)) {
      // One that cannot be answered asks again; the connection's end ends the loop.
      await this.#replay(request).catch(() => {});
    }
  }

  async #replay({ data, reply }: NatsMessage): Promise<void> {
    const from = readNumber(data);
    if (from === undefined || reply === undefined) return;
    let sent = 0;
    for (const batch of this.#log.since(from)) {
      this.#connection.publish(reply, frame(batch));
      if (++sent % ANSWER_BATCHES === 0) await this.#connection.flush();
    }
    this.#connection.publish(reply, numberBytes(END_OF_REPLAY));
  }
}
