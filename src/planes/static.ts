/** Workers named in the configuration: asked for their card until they answer, never started or stopped. */
import type { WorkerId } from '../model/ids.ts';
import { aboutOf, WorkerCard, workerOf } from '../model/worker-card.ts';
import type { Cancel, Clock, Directory, Engine, Sink, WorkerChange } from '../ports.ts';
import { Watchers } from './watchers.ts';

export interface StaticWorkersSettings {
  workers: readonly { url: string; events: string | undefined }[];
  fetchCard: (url: string) => Promise<unknown>;
  engine: (worker: WorkerId, url: string) => Engine;
  retryUs: number;
}

export class StaticWorkers implements Directory {
  readonly #watchers = new Watchers();
  readonly #parts: { clock: Clock; sink: Sink; settings: StaticWorkersSettings };
  readonly #cancels = new Set<Cancel>();

  constructor(parts: { clock: Clock; sink: Sink; settings: StaticWorkersSettings }) {
    this.#parts = parts;
    parts.settings.workers.forEach((worker, i) => {
      void this.#meet(`worker-${i + 1}` as WorkerId, worker, true);
    });
  }

  watch(on: (change: WorkerChange) => void): Cancel {
    return this.#watchers.watch(on);
  }

  close(): void {
    for (const cancel of this.#cancels) cancel();
  }

  async #meet(
    id: WorkerId,
    worker: { url: string; events: string | undefined },
    first: boolean,
  ): Promise<void> {
    const { clock, sink, settings } = this.#parts;
    try {
      const card = WorkerCard.parse(await settings.fetchCard(worker.url));
      const events =
        worker.events === undefined
          ? (card.events ?? undefined)
          : { endpoint: worker.events, replay: undefined };
      this.#watchers.tell({
        kind: 'up',
        worker: workerOf(id, card),
        engine: settings.engine(id, worker.url),
        events,
        about: aboutOf(card),
      });
    } catch (error) {
      const reason = (error as Error).message.split('\n')[0];
      if (first) {
        sink.note({
          kind: 'warning',
          sentence: `${worker.url} shows no worker card yet: ${reason}`,
        });
      }
      const cancel = clock.after(settings.retryUs, () => {
        this.#cancels.delete(cancel);
        void this.#meet(id, worker, false);
      });
      this.#cancels.add(cancel);
    }
  }
}
