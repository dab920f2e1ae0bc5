/** What decides where a request runs, and what it may see: rivals must not profit from our index. */
import type { Prng } from '../base/prng.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Arrival, Candidate, Fact } from '../model/kernel-io.ts';
import type { Worker } from '../model/worker.ts';
import type { Gate, GateView } from './gate/gate.ts';

export interface Policy {
  readonly name: string;
  readonly view: View;
  /**
   * One of `seen`, which is never empty. Choosing touches nothing but the policy's own memory, and
   * `placed` tells it what came of it.
   */
  choose(request: Arrival, seen: readonly Seen[], rng: Prng): WorkerId;
  placed?(request: Arrival, worker: WorkerId): void;
  /** Which programs may run at once; without one, all that find a slot. */
  gate?: ((view: GateView) => Gate) | undefined;
  /**
   * What it also says of how long threads' KV stays. `ended`: what nobody comes back for goes first;
   * `all`: so does what is least worth keeping, as room is needed. Undefined: engines' own order.
   */
  readonly keepsKv?: 'ended' | 'all' | undefined;
  /** Whether KV is copied from worker to worker for what it places. */
  readonly movesKv?: true | undefined;
  /** What became of requests and workers, before the kernel acts on it: for books of its own. */
  hears?(nowUs: number, fact: Fact): void;
}

/**
 * `load`: who is there and how busy. `placements`: the same; what workers hold it guesses from prompts
 * it placed itself. `events`: what KV events say each holds. `price`: also our price of running there.
 */
export type View = 'load' | 'placements' | 'events' | 'price';

export interface Seen {
  worker: WorkerId;
  /** Its card: sizes and curves, which any router may be told. */
  about: Worker;
  requests: number;
  /** Leading prompt tokens it holds; 0 where the view has no events. */
  matchedTokens: number;
  /** Of them, those in lower tiers. */
  hostTokens: number;
  diskTokens: number;
  /** Only where the view is `price`. */
  price: Candidate | undefined;
}

/** What the policy's view lets through of what is known. */
export function seenAs(
  { view }: Policy,
  about: Worker,
  known: { requests: number; candidate: Candidate | undefined },
): Seen {
  const { requests, candidate } = known;
  const events = view === 'events' || view === 'price' ? candidate : undefined;
  return {
    worker: about.id,
    about,
    requests,
    matchedTokens: events?.matchedTokens ?? 0,
    hostTokens: events?.hostTokens ?? 0,
    diskTokens: events?.diskTokens ?? 0,
    price: view === 'price' ? candidate : undefined,
  };
}

/** How policies that stick tell a request apart: by its thread; undefined where nobody knows it. */
export function stickyKey({ tenant, thread }: Arrival): string | undefined {
  return thread === undefined ? undefined : `${tenant}/${thread}`;
}

/** How gates tell programs apart: by the session, or the thread where it is of none. */
export function programKey({ tenant, thread, session }: Arrival): string | undefined {
  const name = session ?? thread;
  return name === undefined ? undefined : `${tenant}/${name}`;
}
