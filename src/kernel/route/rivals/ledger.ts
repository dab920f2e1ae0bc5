/**
 * What a router books by itself: each request it placed, from placement to first token to end. Routers
 * that are told nothing by their engines live by this.
 */
import type { RequestId, WorkerId } from '../../../model/ids.ts';
import type { Arrival, Fact } from '../../../model/kernel-io.ts';

export interface Account {
  requests: number;
  /** Requests without a first token. */
  prefilling: number;
  /** What those have to compute, as booked: in tokens, or in microseconds. */
  prefillWork: number;
  /** Prompt tokens of all of them. */
  promptTokens: number;
  /** Ever placed there. */
  placed: number;
}

interface Entry {
  worker: WorkerId;
  prefillWork: number;
  promptTokens: number;
  isPrefilling: boolean;
}

/** Hears what ended where: for whoever keeps more books than these. */
export interface Closed {
  request: RequestId;
  worker: WorkerId;
}

export class Ledger {
  readonly #accounts = new Map<WorkerId, Account>();
  readonly #entries = new Map<RequestId, Entry>();

  of(worker: WorkerId): Readonly<Account> {
    return this.#accounts.get(worker) ?? NOTHING;
  }

  /** `prefillWork`: what is not cached, as believed now. */
  placed(request: Arrival, worker: WorkerId, prefillWork: number): void {
    const { id, promptTokens } = request;
    this.#entries.set(id, { worker, prefillWork, promptTokens, isPrefilling: true });
    let account = this.#accounts.get(worker);
    if (account === undefined) this.#accounts.set(worker, (account = { ...NOTHING }));
    account.requests++;
    account.prefilling++;
    account.prefillWork += prefillWork;
    account.promptTokens += promptTokens;
    account.placed++;
  }

  /** Which request ended, if one that was placed here did. */
  hears(fact: Fact): Closed | undefined {
    switch (fact.kind) {
      case 'firstTokenSent':
        this.#prefilled(fact.request);
        return undefined;
      case 'finished':
      case 'failed':
      case 'cancelled':
        return this.#close(fact.request);
      case 'workerLeft':
        this.#accounts.delete(fact.worker);
        return undefined;
      default:
        return undefined;
    }
  }

  #prefilled(request: RequestId): void {
    const entry = this.#entries.get(request);
    if (entry === undefined || !entry.isPrefilling) return;
    entry.isPrefilling = false;
    const account = this.#accounts.get(entry.worker);
    if (account === undefined) return;
    account.prefilling--;
    account.prefillWork -= entry.prefillWork;
  }

  #close(request: RequestId): Closed | undefined {
    const entry = this.#entries.get(request);
    if (entry === undefined) return undefined;
    this.#prefilled(request);
    this.#entries.delete(request);
    const { worker, promptTokens } = entry;
    const account = this.#accounts.get(worker);
    if (account !== undefined) {
      account.requests--;
      account.promptTokens -= promptTokens;
    }
    return { request, worker };
  }
}

const NOTHING: Account = {
  requests: 0,
  prefilling: 0,
  prefillWork: 0,
  promptTokens: 0,
  placed: 0,
};
