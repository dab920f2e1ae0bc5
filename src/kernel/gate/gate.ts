/**
 * Which programs may run at once. A gate stands between a request and its place: it lets it go anywhere,
 * or to some workers only, or lets it wait in line. Those in line are tried again whenever something
 * ended, and at the time the gate names.
 */
import type { RequestId, TenantId, WorkerId } from '../../model/ids.ts';
import type { Fact } from '../../model/kernel-io.ts';
import type { Programs } from '../program/programs.ts';
import type { Waiter } from '../queue/waiting.ts';
import type { Threads } from '../session/threads.ts';
import type { Workers } from '../workers.ts';

export interface Gate {
  /** Whoever is let in holds room from then on. Asked again for each turn of those who are in. */
  admit(nowUs: number, waiter: Waiter): Admission;
  /** Of those in line, whom to try now, in this order. */
  inOrder(nowUs: number, line: readonly Waiter[]): readonly Waiter[];
  /** When those in line should be tried though nothing happened; undefined: never. */
  nextUs(nowUs: number): number | undefined;
  /** It got its place. By when it should begin there, where the worker minds; undefined: now. */
  placed?(nowUs: number, waiter: Waiter, worker: WorkerId): number | undefined;
  /** It waits no longer, and nobody serves it. */
  refused?(nowUs: number, request: RequestId): void;
  /** What became of requests and workers, before the kernel acts on it: for books of its own. */
  hears?(nowUs: number, fact: Fact): void;
}

export type Admission =
  | { kind: 'open' }
  /** One of these. */
  | { kind: 'some'; workers: ReadonlySet<WorkerId> }
  | { kind: 'held' };

/** What the kernel knows and a gate may see; rivals look at the cards of workers only. */
export interface GateView {
  readonly workers: Workers;
  readonly threads: Threads;
  readonly programs: Programs;
  /** What a tenant's share of memory counts for; 1 where nothing is said. */
  weightOf(tenant: TenantId): number;
  /** Output tokens that an answer has on average. */
  outputTokens(): number;
}

export const OPEN: Admission = { kind: 'open' };
export const HELD: Admission = { kind: 'held' };

export function some(workers: Iterable<WorkerId>): Admission {
  return { kind: 'some', workers: new Set(workers) };
}
