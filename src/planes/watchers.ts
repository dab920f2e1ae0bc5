/** Who is up, told to whoever watches: those present first, then each change once. */
import type { WorkerId } from '../model/ids.ts';
import type { Cancel, WorkerChange } from '../ports.ts';

export class Watchers {
  readonly #watchers = new Set<(change: WorkerChange) => void>();
  readonly #present = new Map<WorkerId, Extract<WorkerChange, { kind: 'up' }>>();
  readonly #draining = new Set<WorkerId>();

  watch(on: (change: WorkerChange) => void): Cancel {
    this.#watchers.add(on);
    for (const change of this.#present.values()) on(change);
    for (const worker of this.#draining) on({ kind: 'draining', worker, draining: true });
    return () => this.#watchers.delete(on);
  }

  /** What is told of a worker that is not up is left out. */
  tell(change: WorkerChange): void {
    if (change.kind === 'up') this.#present.set(change.worker.id, change);
    else if (!this.#isNews(change)) return;
    for (const on of this.#watchers) on(change);
  }

  #isNews(change: Exclude<WorkerChange, { kind: 'up' }>): boolean {
    const { worker } = change;
    if (change.kind !== 'draining') {
      this.#draining.delete(worker);
      return this.#present.delete(worker);
    }
    if (!this.#present.has(worker) || this.#draining.has(worker) === change.draining) return false;
    if (change.draining) this.#draining.add(worker);
    else this.#draining.delete(worker);
    return true;
  }
}
