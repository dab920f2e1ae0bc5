/** Requests that no worker can take yet, in the order they came: bounded, each with a deadline. */
import type { RequestId, WorkerId } from '../../model/ids.ts';
import type { Arrival } from '../../model/kernel-io.ts';
import type { Outlook } from './outlook.ts';
import { Turnover } from './turnover.ts';

export interface Waiter {
  readonly request: Arrival;
  readonly arrivedUs: number;
  /** Workers that failed it before. */
  readonly excluded: ReadonlySet<WorkerId>;
  readonly attempt: number;
  /** Placements in a row that failed and gave no token; undefined: none. */
  readonly inVain?: number | undefined;
  /** Tokens of its answer that its client has, and that its prompt ends with; undefined: none. */
  readonly saidTokens?: number | undefined;
  /** Predicted time that engines take for it; undefined where it did not have to wait. */
  readonly workUs?: number | undefined;
  /** Who computed its prompt, where its answer is still to be made by another. */
  readonly prefilledOn?: WorkerId | undefined;
}

export class Waiting {
  readonly #waiters = new Map<RequestId, Waiter>();
  readonly #turnover = new Turnover();
  readonly #limits: { requestsMax: number; waitUsMax: number };

  constructor(limits: { requestsMax: number; waitUsMax: number }) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#waiters.size;
  }

  /** Models that somebody waits for. */
  get modelCount(): number {
    return this.#turnover.modelCount;
  }

  push(waiter: Waiter): 'taken' | 'full' {
    if (this.#waiters.size >= this.#limits.requestsMax) return 'full';
    this.#waiters.set(waiter.request.id, waiter);
    this.#turnover.joined(waiter.request.model);
    return 'taken';
  }

  /** A request of the model ended; to be told before somebody takes its place. */
  ended(nowUs: number, model: string): void {
    this.#turnover.ended(nowUs, model);
  }

  /**
   * How long one more request would wait until a slot computes it: those before it, one by one.
   * `ahead`: how many of those who wait are; undefined: all that wait for the model.
   */
  predictedUs(model: string, { beyondSlots, gapUs }: Outlook, ahead?: number): number {
    const before = beyondSlots + (ahead ?? this.#turnover.waiting(model)) + 1;
    return Math.round(Math.max(0, before) * this.#turnover.gapUs(model, gapUs));
  }

  has(request: RequestId): boolean {
    return this.#waiters.has(request);
  }

  remove(request: RequestId): boolean {
    const waiter = this.#waiters.get(request);
    if (waiter === undefined) return false;
    this.#waiters.delete(request);
    this.#turnover.left(waiter.request.model);
    return true;
  }

  inOrder(): Waiter[] {
    return [...this.#waiters.values()];
  }

  /** Takes out those who have waited for too long. */
  takeExpired(nowUs: number): Waiter[] {
    const expired = this.inOrder().filter((waiter) => this.deadlineUs(waiter) <= nowUs);
    for (const { request } of expired) this.remove(request.id);
    return expired;
  }

  /** When the next one will have waited for too long. */
  nextDeadlineUs(): number | undefined {
    let least: number | undefined;
    for (const waiter of this.#waiters.values()) {
      const deadline = this.deadlineUs(waiter);
      if (least === undefined || deadline < least) least = deadline;
    }
    return least;
  }

  deadlineUs({ request, arrivedUs }: Waiter): number {
    return arrivedUs + (request.patienceUs ?? this.#limits.waitUsMax);
  }
}
