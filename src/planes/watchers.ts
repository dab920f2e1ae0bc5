/** Who is up, told to whoever watches: those present first, then each change once. */
import type { WorkerId } from '../model/ids.ts';
import type { Cancel, WorkerChange } from '../ports.ts';

export class Watchers {
  readonly #watchers = new Set<(change: WorkerChange) => void>();
  readonly #present = new Map<WorkerId, Extract<WorkerChange, { kind: 'up' }>>();

  watch(on: (change: WorkerChange) => void): Cancel {
    this.#watchers.add(on);
    for (const change of this.#present.values()) on(change);
    return () => this.#watchers.delete(on);
  }

  tell(change: WorkerChange): void {
    if (change.kind === 'up') this.#present.set(change.worker.id, change);
    else if (!this.#present.delete(change.worker)) return;
    for (const on of this.#watchers) on(change);
  }
}
