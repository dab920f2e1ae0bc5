/** The workers of the fleet, as the kernel knows them now. */
import type { WorkerId } from '../model/ids.ts';
import type { Worker, WorkerMode } from '../model/worker.ts';

export interface WorkerState {
  worker: Worker;
  healthy: boolean;
  mode: WorkerMode;
}

export class Workers {
  readonly #states = new Map<WorkerId, WorkerState>();

  get size(): number {
    return this.#states.size;
  }

  joined(worker: Worker): void {
    const mode = worker.hasEvents ? 'exact' : 'predicted';
    this.#states.set(worker.id, { worker, healthy: true, mode });
  }

  left(worker: WorkerId): void {
    this.#states.delete(worker);
  }

  get(worker: WorkerId): WorkerState | undefined {
    return this.#states.get(worker);
  }

  /** The longest context a worker of the model has; undefined where there is none. */
  contextMax(model: string): number | undefined {
    let most: number | undefined;
    for (const { worker } of this.#states.values()) {
      if (!worker.models.includes(model)) continue;
      most = Math.max(most ?? 0, worker.contextTokens);
    }
    return most;
  }

  values(): IterableIterator<WorkerState> {
    return this.#states.values();
  }
}
