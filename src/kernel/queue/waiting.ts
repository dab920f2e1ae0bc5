/** Requests that no worker can take yet: first come, first served, bounded, each with a deadline. */
import type { RequestId, WorkerId } from '../../model/ids.ts';
import type { Arrival } from '../../model/kernel-io.ts';

export interface Waiter {
  readonly request: Arrival;
  readonly arrivedUs: number;
  /** Workers that failed it before. */
  readonly excluded: ReadonlySet<WorkerId>;
  readonly attempt: number;
}

export class Waiting {
  readonly #waiters = new Map<RequestId, Waiter>();
  readonly #limits: { requestsMax: number; waitUsMax: number };

  constructor(limits: { requestsMax: number; waitUsMax: number }) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#waiters.size;
  }

  push(waiter: Waiter): 'taken' | 'full' {
    if (this.#waiters.size >= this.#limits.requestsMax) return 'full';
    this.#waiters.set(waiter.request.id, waiter);
    return 'taken';
  }

  has(request: RequestId): boolean {
    return this.#waiters.has(request);
  }

  remove(request: RequestId): boolean {
    return this.#waiters.delete(request);
  }

  inOrder(): Waiter[] {
    return [...this.#waiters.values()];
  }

  /** Takes out those who have waited for too long. */
  takeExpired(nowUs: number): Waiter[] {
    const expired = this.inOrder().filter((w) => w.arrivedUs + this.#limits.waitUsMax <= nowUs);
    for (const waiter of expired) this.#waiters.delete(waiter.request.id);
    return expired;
  }

  /** When the next one will have waited for too long. */
  nextDeadlineUs(): number | undefined {
    let least: number | undefined;
    for (const { arrivedUs } of this.#waiters.values()) {
      const deadline = arrivedUs + this.#limits.waitUsMax;
      if (least === undefined || deadline < least) least = deadline;
    }
    return least;
  }
}
