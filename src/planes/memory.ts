/** Workers and their KV events within one process: for simulation, where events may lag. */
import type { KvEvent } from '../model/block.ts';
import type { WorkerId } from '../model/ids.ts';
import type {
  Cancel,
  Clock,
  Directory,
  FeedListener,
  KvEvents,
  KvFeed,
  WorkerChange,
} from '../ports.ts';
import { Watchers } from './watchers.ts';

export class MemoryPlane implements Directory, KvFeed {
  readonly #clock: Clock;
  readonly #lagUs: number;
  readonly #watchers = new Watchers();
  readonly #listeners = new Map<WorkerId, FeedListener>();

  constructor(given: { clock: Clock; lagUs: number }) {
    this.#clock = given.clock;
    this.#lagUs = given.lagUs;
  }

  watch(on: (change: WorkerChange) => void): Cancel {
    return this.#watchers.watch(on);
  }

  tell(change: WorkerChange): void {
    this.#watchers.tell(change);
  }

  subscribe(worker: { id: WorkerId }, on: FeedListener): Cancel {
    this.#listeners.set(worker.id, on);
    return () => this.#listeners.delete(worker.id);
  }

  publisher(worker: WorkerId): KvEvents {
    return {
      publish: (events: readonly KvEvent[]) => {
        this.#clock.after(this.#lagUs, () => this.#listeners.get(worker)?.events(events));
      },
    };
  }
}
