/** KV events in over ZeroMQ, from any engine that publishes like vLLM: `[topic, number, payload]`. */
import { Dealer, Subscriber } from 'zeromq';
import type { Clock, FeedAddress, FeedLink, FeedListener, KvFeed } from '../ports.ts';
import type { NumberedBatch } from '../wire/kv-event-log.ts';

export interface ZeromqSettings {
  /** A replay is silent for no longer than this. */
  replayUs: number;
  /**
   * A publisher that answers no sign of life for so long is connected anew: one that is gone without a
   * word, as when a firewall forgot the connection, looks like one that has nothing to say.
   */
  silenceUs: number;
}

/** So many signs of life before that. */
const HEARTBEATS = 3;

/** So long at a stretch, at most, the event loop takes messages in, of all engines together. */
const WORK_US_MAX = 1_000;
/** Messages between two looks at the clock. */
const LOOK_MESSAGES = 8;
/** What waits in the library; beyond, the engine is made to wait, or leaves out. */
const MESSAGES_MAX = 10_000;
const ANSWERS_MAX = 1_000;

export class ZeromqFeed implements KvFeed {
  readonly #clock: Clock;
  readonly #settings: ZeromqSettings;
  /** When the event loop last turned, and who waits for it to turn. */
  #turnUs = 0;
  #turn: Promise<void> | undefined;

  constructor(given: { clock: Clock; settings: ZeromqSettings }) {
    this.#clock = given.clock;
    this.#settings = given.settings;
  }

  subscribe(address: FeedAddress, on: FeedListener): FeedLink {
    const pause = () => this.#pause();
    return new ZeromqLink(address, on, { pause, ...this.#settings });
  }

  /** Messages that are all there already would keep everybody else waiting: the loop turns in between. */
  #pause(): Promise<void> | undefined {
    if (this.#turn !== undefined) return this.#turn;
    if (this.#clock.nowUs() - this.#turnUs < WORK_US_MAX) return undefined;
    this.#turn = new Promise((resolve) => {
      setImmediate(() => {
        this.#turn = undefined;
        this.#turnUs = this.#clock.nowUs();
        resolve();
      });
    });
    return this.#turn;
  }
}

interface LinkParts extends ZeromqSettings {
  pause: () => Promise<void> | undefined;
}

class ZeromqLink implements FeedLink {
  readonly replays: boolean;
  readonly isReliable = false;
  readonly #address: FeedAddress;
  readonly #on: FeedListener;
  readonly #parts: LinkParts;
  readonly #live: Subscriber;
  readonly #asking = new Set<Dealer>();
  #isClosed = false;

  constructor(address: FeedAddress, on: FeedListener, parts: LinkParts) {
    this.#address = address;
    this.#on = on;
    this.#parts = parts;
    this.replays = address.replay !== undefined;
    const silenceMs = Math.ceil(parts.silenceUs / 1000);
    this.#live = new Subscriber({
      ...{ receiveHighWaterMark: MESSAGES_MAX, linger: 0 },
      heartbeatInterval: Math.ceil(silenceMs / HEARTBEATS),
      heartbeatTimeout: silenceMs,
    });
    try {
      this.#watchConnection();
      this.#live.connect(address.endpoint);
    } catch (error) {
      this.close();
      const { message } = error as Error;
      on.failed(`KV events cannot be had at ${address.endpoint}: ${message}`);
      return;
    }
    this.#live.subscribe();
    void this.#listen();
  }

  async *replay(from: number): AsyncGenerator<NumberedBatch> {
    const { replay } = this.#address;
    if (replay === undefined || this.#isClosed) return;
    const receiveTimeout = this.#parts.replayUs / 1000;
    const dealer = new Dealer({ receiveHighWaterMark: ANSWERS_MAX, linger: 0, receiveTimeout });
    this.#asking.add(dealer);
    try {
      dealer.connect(replay);
      const first = Buffer.alloc(8);
      first.writeBigUInt64BE(BigInt(from));
      await dealer.send(['', first]);
      for await (const [, ...frames] of dealer) {
        // Newer vLLM says the topic first, as in what it publishes; older vLLM and our workers do not.
        const [sequence, payload] = frames.length > 2 ? frames.slice(1) : frames;
        if (sequence?.length !== 8) throw new RangeError('a replay is of numbered batches');
        const number = Number(sequence.readBigInt64BE());
        if (number < 0) return;
        if (payload !== undefined) yield { number, payload };
      }
    } finally {
      this.#asking.delete(dealer);
      dealer.close();
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#live.close();
    for (const dealer of this.#asking) dealer.close();
  }

  async #listen(): Promise<void> {
    try {
      // Not `for await`: the library's iterator makes two more promises a message.
      for (let messages = 1; !this.#isClosed; messages++) {
        const [, sequence, payload] = await this.#live.receive();
        if (sequence?.length === 8 && payload !== undefined) {
          const number = sequence.readUInt32BE(0) * 0x1_0000_0000 + sequence.readUInt32BE(4);
          this.#on.batch(number, payload);
        }
        if (messages % LOOK_MESSAGES === 0) await this.#parts.pause();
      }
    } catch (error) {
      if (this.#isClosed) return;
      const { message } = error as Error;
      this.#on.failed(`KV events of ${this.#address.endpoint} broke off: ${message}`);
    }
  }

  /** Whoever is there after a break may be another engine. */
  #watchConnection(): void {
    let isBroken = false;
    this.#live.events.on('disconnect', () => {
      isBroken = true;
    });
    this.#live.events.on('handshake', () => {
      if (isBroken && !this.#isClosed) this.#on.reconnected();
      isBroken = false;
    });
  }
}
