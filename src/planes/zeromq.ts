/**
 * KV events in, from any engine that publishes like vLLM. Batches are numbered: what arrives twice is
 * dropped, and what is missing is asked for again at the replay socket. Only what cannot be had there
 * either is reported as lost. Live numbers only rise: where one does not, the engine was started anew
 * at the same address and holds nothing of what it held.
 */
import { Dealer, Subscriber } from 'zeromq';
import type { WorkerId } from '../model/ids.ts';
import type { Cancel, Clock, FeedListener, KvFeed, Sink } from '../ports.ts';
import { unpackEvents } from '../wire/kv-events.ts';

export interface ZeromqSettings {
  /** With nothing heard for so long, the replay socket is asked whether something was missed. */
  quietUs: number;
  /** A replay takes at most this. */
  replayUs: number;
}

/** So long at a stretch, at most, the event loop reads events. */
const WORK_US_MAX = 2_000;

export class ZeromqFeed implements KvFeed {
  readonly #parts: { clock: Clock; sink: Sink; settings: ZeromqSettings };

  constructor(parts: { clock: Clock; sink: Sink; settings: ZeromqSettings }) {
    this.#parts = parts;
  }

  subscribe(
    worker: { id: WorkerId; endpoint: string; replay: string | undefined },
    on: FeedListener,
  ): Cancel {
    const subscription = new Subscription(worker, on, this.#parts);
    return () => subscription.close();
  }
}

class Subscription {
  readonly #worker: { id: WorkerId; endpoint: string; replay: string | undefined };
  readonly #on: FeedListener;
  readonly #parts: { clock: Clock; sink: Sink; settings: ZeromqSettings };
  readonly #live = new Subscriber({ receiveHighWaterMark: 100_000, linger: 0 });
  #next = 0n;
  #lastLive: bigint | undefined;
  /** When the event loop last turned for us. */
  #turnUs = 0;
  #closed = false;
  #cancelQuiet: Cancel = () => {};
  /** Batches are taken one after the other, replays in between. */
  #work: Promise<void> = Promise.resolve();

  constructor(
    worker: { id: WorkerId; endpoint: string; replay: string | undefined },
    on: FeedListener,
    parts: { clock: Clock; sink: Sink; settings: ZeromqSettings },
  ) {
    this.#worker = worker;
    this.#on = on;
    this.#parts = parts;
    try {
      this.#live.connect(worker.endpoint);
    } catch (error) {
      const sentence = `KV events of ${worker.id} cannot be had at ${worker.endpoint}: ${(error as Error).message}`;
      parts.sink.note({ kind: 'warning', sentence });
      this.close();
      // Later: whoever subscribes has not told of the worker yet.
      queueMicrotask(() => on.lost(0));
      return;
    }
    this.#live.subscribe();
    this.#queue(() => this.#replay());
    void this.#listen();
  }

  close(): void {
    this.#closed = true;
    this.#cancelQuiet();
    this.#live.close();
  }

  async #listen(): Promise<void> {
    for await (const [, sequence, payload] of this.#live) {
      if (sequence?.length !== 8 || payload === undefined) continue;
      const number = sequence.readBigUInt64BE();
      this.#queue(async () => {
        if (this.#lastLive !== undefined && number <= this.#lastLive) this.#restarted();
        this.#lastLive = number;
        if (number > this.#next) await this.#replay();
        if (number > this.#next) this.#lose(number);
        this.#take(number, payload);
      });
    }
  }

  #queue(job: () => Promise<void>): void {
    this.#work = this.#work.then(async () => {
      await this.#pause();
      if (this.#closed) return;
      await job().catch((error: unknown) => this.#fail(error));
      this.#cancelQuiet();
      if (this.#closed || this.#worker.replay === undefined) return;
      this.#cancelQuiet = this.#parts.clock.after(this.#parts.settings.quietUs, () =>
        this.#queue(() => this.#replay()),
      );
    });
  }

  /** Batches that are all there already would keep everybody else waiting: the loop turns in between. */
  async #pause(): Promise<void> {
    const { clock } = this.#parts;
    if (clock.nowUs() - this.#turnUs < WORK_US_MAX) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#turnUs = clock.nowUs();
  }

  /** Takes a batch if it is the next one; others are old, or come too early to be of use. */
  #take(number: bigint, payload: Uint8Array): void {
    if (number !== this.#next) return;
    this.#next++;
    try {
      this.#on.events(unpackEvents(payload));
    } catch (error) {
      const { sink } = this.#parts;
      const reason = (error as Error).message;
      sink.note({
        kind: 'warning',
        sentence: `${this.#worker.id} sent a KV event we cannot read: ${reason}`,
      });
      this.#on.lost(1);
    }
  }

  #fail(error: unknown): void {
    const sentence = `events of ${this.#worker.id} met an error of ours: ${(error as Error).message}`;
    this.#parts.sink.note({ kind: 'warning', sentence });
  }

  #restarted(): void {
    this.#next = 0n;
    this.#on.events([{ kind: 'cleared' }]);
  }

  #lose(number: bigint): void {
    const missing = Number(number - this.#next);
    this.#next = number;
    this.#on.lost(missing);
  }

  /** Asks for everything from the next batch on; whatever the socket still has is taken. */
  async #replay(): Promise<void> {
    const { replay } = this.#worker;
    if (replay === undefined) return;
    const { settings } = this.#parts;
    const receiveTimeout = settings.replayUs / 1000;
    const dealer = new Dealer({ receiveHighWaterMark: 0, linger: 0, receiveTimeout });
    try {
      dealer.connect(replay);
      const from = Buffer.alloc(8);
      from.writeBigUInt64BE(this.#next);
      await dealer.send(['', from]);
      for await (const [, sequence, payload] of dealer) {
        if (sequence === undefined || payload === undefined) return;
        const number = sequence.readBigInt64BE();
        if (number < 0n || this.#closed) return;
        if (number > this.#next) this.#lose(number);
        this.#take(number, payload);
        await this.#pause();
      }
    } catch {
      // No answer: the gap, if there is one, shows with the next live batch.
    } finally {
      dealer.close();
    }
  }
}
