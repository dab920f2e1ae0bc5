/** What decides where a request runs, and what it may see: rivals must not profit from our index. */
import type { Prng } from '../base/prng.ts';
import type { ThreadId, WorkerId } from '../model/ids.ts';
import type { Arrival, Candidate } from '../model/kernel-io.ts';
import type { Book } from './book.ts';

export interface Policy {
  readonly name: string;
  /** `load`: who is there and how busy. `price`: also what each holds, and the price of running there. */
  readonly view: 'load' | 'price';
  /**
   * One of `seen`, which is never empty. Choosing touches nothing but the policy's own memory, and
   * `placed` tells it what came of it.
   */
  choose(request: Arrival, seen: readonly Seen[], rng: Prng): WorkerId;
  placed?(request: Arrival, worker: WorkerId): void;
}

export interface Seen {
  worker: WorkerId;
  requests: number;
  /** Only where the view is `price`. */
  price: Candidate | undefined;
}

export function seenBy(policy: Policy, candidate: Candidate, book: Book): Seen {
  const { worker } = candidate;
  const price = policy.view === 'price' ? candidate : undefined;
  return { worker, requests: book.count(worker), price };
}

/** How a request is told apart by policies that stick: its thread, or else how its prompt begins. */
export function stickyKey(request: Arrival): string {
  const thread: ThreadId | undefined = request.thread;
  if (thread !== undefined) return `${request.tenant}/${thread}`;
  return request.hashes.length > 0 ? `${request.tenant}#${request.hashes[0]}` : request.tenant;
}
