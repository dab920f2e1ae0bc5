/** Workers and their KV events within one process: for simulation, where events may lag and get lost. */
import type { Prng } from '../base/prng.ts';
import type { KvEvent } from '../model/block.ts';
import type { WorkerId } from '../model/ids.ts';
import type {
  Cancel,
  Clock,
  Directory,
  FeedLink,
  FeedListener,
  KvEvents,
  KvFeed,
  WorkerChange,
} from '../ports.ts';
import { KvEventLog, type NumberedBatch } from '../wire/kv-event-log.ts';
import { Watchers } from './watchers.ts';

/** What happens to live batches: the share of them that is lost, comes twice, or comes after the next. */
export interface FeedFaults {
  rng: Prng;
  dropped: number;
  doubled: number;
  late: number;
  /** Batches an engine keeps, to repeat them when asked. */
  batchesKept: number;
}

export class MemoryPlane implements Directory, KvFeed {
  readonly #clock: Clock;
  readonly #lagUs: number;
  readonly #faults: FeedFaults | undefined;
  readonly #watchers = new Watchers();
  readonly #listeners = new Map<WorkerId, FeedListener>();
  readonly #logs = new Map<WorkerId, KvEventLog>();

  constructor(given: { clock: Clock; lagUs: number; faults?: FeedFaults | undefined }) {
    this.#clock = given.clock;
    this.#lagUs = given.lagUs;
    this.#faults = given.faults;
  }

  watch(on: (change: WorkerChange) => void): Cancel {
    return this.#watchers.watch(on);
  }

  tell(change: WorkerChange): void {
    this.#watchers.tell(change);
  }

  subscribe({ id }: { id: WorkerId }, on: FeedListener): FeedLink {
    const log = this.#log(id);
    this.#listeners.set(id, on);
    // Its first words, at once, so that all is known from the start.
    if (log.next === 0) {
      log.publish([{ kind: 'cleared' }]);
      for (const { number, payload } of log.since(0)) {
        this.#clock.after(0, () => on.batch(number, payload));
      }
    }
    const deliver = (batch: NumberedBatch) => {
      this.#clock.after(this.#delayUs(), () => {
        if (this.#listeners.get(id) === on) on.batch(batch.number, batch.payload);
      });
    };
    const cancel = log.listen((batch) => {
      for (let i = this.#copies(); i > 0; i--) deliver(batch);
    });
    return {
      replays: this.#faults !== undefined,
      isReliable: this.#faults === undefined,
      async *replay(from) {
        yield* log.since(from);
      },
      close: () => {
        cancel();
        if (this.#listeners.get(id) === on) this.#listeners.delete(id);
      },
    };
  }

  publisher(worker: WorkerId): KvEvents {
    return { publish: (events: readonly KvEvent[]) => this.#log(worker).publish(events) };
  }

  /** Who can say what the worker holds, as `KvEventLog.tellsState`. */
  tellsState(worker: WorkerId, held: () => Iterable<readonly KvEvent[]>): void {
    this.#log(worker).tellsState(held);
  }

  #log(worker: WorkerId): KvEventLog {
    let log = this.#logs.get(worker);
    if (log === undefined) {
      const nowS = () => this.#clock.nowUs() / 1e6;
      log = new KvEventLog({ batchesMax: this.#faults?.batchesKept ?? 1, nowS });
      this.#logs.set(worker, log);
    }
    return log;
  }

  #copies(): number {
    if (this.#faults === undefined) return 1;
    const { rng, dropped, doubled } = this.#faults;
    const chance = rng.next();
    return chance < dropped ? 0 : chance < dropped + doubled ? 2 : 1;
  }

  #delayUs(): number {
    const faults = this.#faults;
    if (faults === undefined || faults.rng.next() >= faults.late) return this.#lagUs;
    return 3 * this.#lagUs + 1;
  }
}
