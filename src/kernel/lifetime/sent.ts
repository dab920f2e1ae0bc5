/** Requests of threads while they are open, and the room that those sent to a worker will still take there. */
import { assert } from '../../base/assert.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { Arrival } from '../../model/kernel-io.ts';

export interface Open {
  readonly request: Arrival;
  readonly arrivedUs: number;
  /** Where it was sent; undefined: it waits. */
  worker: WorkerId | undefined;
  /** Of its prompt, what others have there as well. */
  sharedTokens: number;
  /** Room it takes there that no event told of yet. */
  owedTokens: number;
}

export class Sent {
  readonly #open = new Map<RequestId, Open>();
  /** In the order in which they were sent. */
  readonly #byWorker = new Map<WorkerId, Set<Open>>();

  of(request: RequestId): Open | undefined {
    return this.#open.get(request);
  }

  /** Any of the thread's. */
  ofThread(named: { tenant: TenantId; thread: ThreadId }): Open | undefined {
    for (const open of this.#open.values()) {
      const { tenant, thread } = open.request;
      if (thread === named.thread && tenant === named.tenant) return open;
    }
    return undefined;
  }

  arrived(nowUs: number, request: Arrival): void {
    const nowhere = { worker: undefined, sharedTokens: 0, owedTokens: 0 };
    this.#open.set(request.id, { request, arrivedUs: nowUs, ...nowhere });
  }

  /** Also again, elsewhere. */
  sent(open: Open, worker: WorkerId, expects: { sharedTokens: number; owedTokens: number }): void {
    this.takenBack(open);
    Object.assign(open, { worker, ...expects });
    const there = this.#byWorker.get(worker);
    if (there === undefined) this.#byWorker.set(worker, new Set([open]));
    else there.add(open);
  }

  /** It waits again. */
  takenBack(open: Open): void {
    const there = open.worker === undefined ? undefined : this.#byWorker.get(open.worker);
    there?.delete(open);
    if (there?.size === 0 && open.worker !== undefined) this.#byWorker.delete(open.worker);
    open.worker = undefined;
    open.owedTokens = 0;
  }

  over(open: Open): void {
    this.takenBack(open);
    this.#open.delete(open.request.id);
  }

  /** What is in the worker's cache is owed no more; who came first is computed first. */
  stored(worker: WorkerId, tokens: number): void {
    let left = tokens;
    for (const open of this.#byWorker.get(worker) ?? []) {
      const paid = Math.min(left, open.owedTokens);
      open.owedTokens -= paid;
      left -= paid;
      if (left === 0) return;
    }
  }

  owedTokens(worker: WorkerId): number {
    let tokens = 0;
    for (const open of this.#byWorker.get(worker) ?? []) tokens += open.owedTokens;
    return tokens;
  }

  check(): void {
    let sent = 0;
    for (const { worker } of this.#open.values()) if (worker !== undefined) sent++;
    for (const opens of this.#byWorker.values()) sent -= opens.size;
    assert(sent === 0, 'what was sent is open');
  }
}
