/**
 * One worker's KV events, from numbered batches to facts.
 *
 *   live ─► queue (bounded in bytes) ─► in order? ──yes──► feed-events ─► facts
 *                                          │ no
 *                                          ▼
 *             replay from the last batch taken: the proof that it is the same engine, then what is
 *             missing, or all that the engine holds (see wire/kv-event-log.ts)
 *
 * The worker is *complete* when all it holds is known: its batches were heard from number 0 on, or it
 * told all it holds, or that it told nothing yet. Until then, and after a loss, its cache is predicted,
 * and all is asked for again and again, ever less often.
 */
import type { WorkerId } from '../../model/ids.ts';
import type { Cancel, Clock, FeedAddress, FeedLink, KvFeed, Sink } from '../../ports.ts';
import type { NumberedBatch } from '../../wire/kv-event-log.ts';
import { KvEventReader } from '../../wire/kv-event-reader.ts';
import type { FeedReport } from './account.ts';
import { BatchQueue } from './batch-queue.ts';
import type { FeedEvents } from './events.ts';
import { FeedSequence } from './sequence.ts';
import type { FeedTurns, FeedWork } from './turns.ts';

export interface SourceSettings {
  /** Bytes that wait, of one worker; batches beyond are left out, and asked for again. */
  queueBytesMax: number;
  /** Without news for so long the engine is asked whether something was missed. */
  quietUs: number;
  /** Before all is asked for again, doubling up to the second. */
  resyncUsMin: number;
  resyncUsMax: number;
}

export interface SourceParts {
  worker: WorkerId;
  address: FeedAddress;
  blockTokens: number;
  feed: KvFeed;
  events: FeedEvents;
  turns: FeedTurns;
  clock: Clock;
  sink: Sink;
  settings: SourceSettings;
}

/** Memory of what waits comes in pieces of so much. */
const PIECE_BYTES = 64 * 1024;

/** Serves all sources: it is done with a batch before the next comes. */
const READER = new KvEventReader();

export class FeedSource implements FeedWork {
  readonly #parts: SourceParts;
  readonly #link: FeedLink;
  readonly #sequence = new FeedSequence();
  readonly #queue: BatchQueue;
  #heardUs: number;
  #lagMs: number | undefined;
  #isAsking = false;
  /** When it answered last, as the engine that we know. */
  #provenUs: number | undefined;
  /** A batch that came early, for which was asked already. */
  #askedFor: number | undefined;
  /** Whether the loss was told of, and whether the engine cannot tell all it holds. */
  #isLost = false;
  #cannotTell = false;
  #resyncUs: number;
  #cancelResync: Cancel | undefined;
  #cancelQuiet: Cancel = () => {};
  #isClosed = false;
  #unfit: string | undefined;

  constructor(parts: SourceParts) {
    const { worker, address, blockTokens, feed, events, clock, settings } = parts;
    this.#parts = parts;
    this.#queue = new BatchQueue({ bytesMax: settings.queueBytesMax, pieceBytes: PIECE_BYTES });
    this.#heardUs = clock.nowUs();
    this.#resyncUs = settings.resyncUsMin;
    // An address that says nothing proves nothing.
    events.forget();
    this.#link = feed.subscribe(
      { id: worker, blockTokens, ...address },
      {
        batch: (number, payload) => this.#heard({ number, payload }),
        reconnected: () => void this.#ask(),
        failed: (sentence) => this.close(sentence),
      },
    );
    if (this.#isClosed || !this.#link.replays) return;
    void this.#ask();
    if (!this.#link.isReliable) this.#watchQuiet();
  }

  report(): FeedReport {
    const { events } = this.#parts;
    return {
      complete: events.isComplete,
      unfit: this.#unfit ?? null,
      counts: { ...events.account.counts },
      blocks: events.names.size,
      lagMs: this.#lagMs,
      queuedBytes: this.#queue.bytes,
    };
  }

  /** With a reason, one sentence: it can never be used. */
  close(sentence?: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelQuiet();
    this.#cancelResync?.();
    this.#queue.clear();
    // Where it failed at once there is no link yet.
    this.#link?.close();
    if (sentence === undefined) return;
    this.#unfit = sentence;
    this.#parts.sink.note({ kind: 'warning', sentence });
    this.#parts.events.forget();
  }

  work(): boolean {
    const batch = this.#queue.first();
    // While somebody is asked, what comes live waits.
    if (this.#isClosed || this.#isAsking || batch === undefined) return false;
    const { number, payload } = batch;
    const place = this.#sequence.place(number, payload);
    if (place === 'foreign' || (place === 'ancient' && !this.#link.replays)) {
      this.#restarted();
      return true;
    }
    // What lay on its way for long is old; but now and then it is asked whether the engine is.
    if (place === 'ancient' && !this.#isProven) {
      void this.#ask();
      return false;
    }
    if (place === 'early' && this.#link.replays && this.#askedFor !== number) {
      this.#askedFor = number;
      this.#parts.events.account.add('gaps');
      void this.#ask();
      return false;
    }
    this.#queue.shift();
    if (place === 'old' || place === 'ancient') this.#parts.events.account.add('duplicates');
    else this.#take(number, payload, { isAnswer: false });
    return this.#queue.count > 0;
  }

  get #isProven(): boolean {
    const { clock, settings } = this.#parts;
    return this.#provenUs !== undefined && clock.nowUs() - this.#provenUs < settings.quietUs;
  }

  #heard(batch: NumberedBatch): void {
    const { events, sink, turns, clock, worker } = this.#parts;
    if (this.#isClosed) return;
    this.#heardUs = clock.nowUs();
    if (!this.#queue.push(batch)) {
      if (!events.account.add('overflowed')) return;
      const sentence = `${worker} tells of its cache faster than it can be heard; what is left out is asked for again`;
      sink.note({ kind: 'warning', sentence });
      return;
    }
    turns.ready(this);
  }

  /** The next batch, or one after some that are lost. */
  #take(number: number, payload: Uint8Array, { isAnswer }: { isAnswer: boolean }): void {
    const { events } = this.#parts;
    const missing = number - this.#sequence.next;
    // Before number 0 there was nothing.
    if (number === 0) this.#startOver();
    else if (missing > 0) {
      this.#sequence.skipTo(number);
      if (!this.#link.replays) events.account.add('gaps');
      events.names.clear();
    }
    const { counts } = events.account;
    const { cleared } = counts;
    this.#read(payload);
    const startsOver = counts.cleared > cleared;
    // The state comes in the place of a batch, and is another one each time.
    this.#sequence.taken(isAnswer && startsOver ? undefined : payload);
    // What is missing is void where the engine starts over after it.
    if (missing > 0 && !startsOver) this.#lose(missing);
    else if (events.isComplete) this.#synced();
  }

  #read(payload: Uint8Array): void {
    const { events, sink, worker, clock } = this.#parts;
    events.account.add('batches');
    try {
      READER.read(payload, (head) => events.begin(head), events);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      if (events.account.add('decodeErrors')) {
        const sentence = `${worker} sent a KV event we cannot read: ${error.message}`;
        sink.note({ kind: 'warning', sentence });
      }
      this.#lose(1);
    }
    if (events.atS !== undefined) this.#lagMs = Math.max(0, clock.wallMs() - 1000 * events.atS);
  }

  #startOver(): void {
    this.#parts.events.startOver();
    this.#synced();
  }

  #synced(): void {
    const { events, sink, worker, settings } = this.#parts;
    this.#resyncUs = settings.resyncUsMin;
    this.#cancelResync?.();
    this.#cancelResync = undefined;
    if (!this.#isLost) return;
    this.#isLost = false;
    events.account.add('resyncs');
    sink.note({ kind: 'feedSynced', worker });
  }

  #lose(missing: number): void {
    const { events, sink, worker } = this.#parts;
    events.account.add('lost', missing);
    if (events.isComplete || !this.#isLost) {
      events.forget();
      this.#isLost = true;
      sink.note({ kind: 'feedLost', worker, missing });
    }
    this.#resyncLater();
  }

  /** Another engine at the same address: it holds nothing of what the first held. */
  #restarted(): void {
    const { events } = this.#parts;
    events.account.add('restarts');
    events.forget();
    this.#sequence.restart();
    this.#askedFor = undefined;
    this.#cannotTell = false;
  }

  #watchQuiet(): void {
    const { clock, settings } = this.#parts;
    this.#cancelQuiet = clock.after(settings.quietUs, () => {
      this.#watchQuiet();
      const isQuiet = clock.nowUs() - this.#heardUs >= settings.quietUs;
      if (isQuiet && this.#queue.count === 0) void this.#ask();
    });
  }

  #resyncLater(): void {
    const { clock, settings } = this.#parts;
    if (this.#isClosed || this.#cannotTell || !this.#link.replays) return;
    if (this.#cancelResync !== undefined) return;
    this.#cancelResync = clock.after(this.#resyncUs, () => {
      this.#cancelResync = undefined;
      if (this.#parts.events.isComplete) return;
      this.#resyncUs = Math.min(settings.resyncUsMax, 2 * this.#resyncUs);
      if (this.#isAsking) return this.#resyncLater();
      this.#sequence.restart();
      void this.#ask();
    });
  }

  /** Asks for the last batch taken and all after it, or for all. */
  async #ask(): Promise<void> {
    if (this.#isAsking || this.#isClosed || !this.#link.replays) return;
    this.#isAsking = true;
    const { events, turns, clock } = this.#parts;
    const { cleared } = events.account.counts;
    try {
      // A second time, from the start, where another engine answers.
      if ((await this.#replay()) === 'foreign') await this.#replay();
    } catch {
      // No answer: what is missing, if anything, shows with the next batch. Half of all that is held
      // is worth nothing.
      this.#provenUs = clock.nowUs();
      if (!this.#isClosed && events.account.counts.cleared > cleared) this.#lose(1);
    } finally {
      this.#isAsking = false;
      if (!this.#isClosed) {
        if (!events.isComplete) this.#resyncLater();
        turns.ready(this);
      }
    }
  }

  async #replay(): Promise<'same' | 'foreign'> {
    const { events, turns, clock } = this.#parts;
    const { next } = this.#sequence;
    const from = Math.max(0, next - 1);
    events.account.add('replays');
    let first: number | undefined;
    let isForeign = false;
    for await (const { number, payload } of this.#link.replay(from)) {
      if (this.#isClosed) return 'same';
      const isProof = first === undefined && number < next;
      first ??= number;
      if (isProof) isForeign = this.#sequence.place(number, payload) === 'foreign';
      if (isForeign) break;
      if (!isProof) await turns.share(() => this.#replayed(number, payload));
    }
    if (this.#isClosed) return 'same';
    if (isForeign || (first === undefined && next > 0)) {
      this.#restarted();
      return 'foreign';
    }
    if (first === undefined && !events.isComplete) this.#startOver();
    const beginsLate = next === 0 && first !== undefined && first > 0;
    if (beginsLate && !events.isComplete) this.#tellsNothing();
    this.#provenUs = clock.nowUs();
    return 'same';
  }

  #replayed(number: number, payload: Uint8Array): void {
    if (this.#isClosed) return;
    if (number >= this.#sequence.next) this.#take(number, payload, { isAnswer: true });
    // Within an answer a number that repeats continues its batch.
    else if (number === this.#sequence.next - 1) this.#read(payload);
  }

  /** It was asked for all, and what it told begins in the middle. */
  #tellsNothing(): void {
    if (this.#cannotTell) return;
    this.#cannotTell = true;
    const { sink, worker } = this.#parts;
    const sentence = `${worker} cannot tell all that it holds; its cache is predicted until it is cleared`;
    sink.note({ kind: 'warning', sentence });
  }
}
