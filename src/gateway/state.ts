/** The whole gateway's state as one plain object, for the page, `top` and `doctor`. */
import type { Evidence } from '../kernel/confidence.ts';
import type { WorkerId } from '../model/ids.ts';
import type { PolicyReport } from '../model/policy-report.ts';
import type { WorkerAbout, WorkerMode } from '../model/worker.ts';
import type { Clock, EngineReport, MissingWorker } from '../ports.ts';
import type { FeedReport } from './feed/account.ts';
import type { Feed } from './feed/feed.ts';
import type { Host } from './host.ts';
import type { Models } from './models.ts';
import type { Roster } from './roster.ts';

export interface Snapshot {
  version: string;
  atMs: number;
  upMs: number;
  policy: string;
  waiting: number;
  running: number;
  liveThreads: number;
  models: { name: string; demo: boolean; tokens: 'exact' | 'passThrough'; contextTokens: number }[];
  workers: WorkerSnapshot[];
  /** Whom the configuration names, or somebody found, and who cannot be had now. */
  missing: readonly MissingWorker[];
  /** The live policy and its shadows, over the last day. */
  policies: PolicyReport[];
  /** Of the last minutes, oldest first. */
  history: unknown;
}

export interface WorkerSnapshot {
  id: WorkerId;
  about: WorkerAbout;
  healthy: boolean;
  /** It takes nothing new. */
  draining: boolean;
  /** As its answers show: `trial`: one request at a time, `unfit`: none. */
  fitness: 'fit' | 'trial' | 'unfit';
  /** Something before it holds its streams back. */
  heldBack: boolean;
  /** Why its last request failed, where it did by a fault of its own. */
  trouble: string | null;
  mode: WorkerMode;
  /** How far its predictions came true. */
  confidence: Evidence;
  requests: number;
  indexedBlocks: number;
  liveThreads: number;
  liveTokens: number;
  blockTokens: number;
  /** How its KV events fare; null where it publishes none that can be used. */
  feed: FeedReport | null;
  /** As the engine itself tells; null where it does not. */
  engine: EngineReport | null;
}

export class State {
  readonly #parts: StateParts;
  readonly #startedMs: number;

  constructor(parts: StateParts) {
    this.#parts = parts;
    this.#startedMs = parts.clock.wallMs();
  }

  async snapshot(): Promise<Snapshot> {
    const { version, clock, host, roster, models, history, policies } = this.#parts;
    const kernel = host.state();
    const members = new Map(roster.about().map((member) => [member.worker, member]));
    const workers = await Promise.all(
      kernel.workers.map(async (worker): Promise<WorkerSnapshot | undefined> => {
        const member = members.get(worker.id);
        if (member === undefined) return undefined;
        const { about, trouble = null } = member;
        const engine = await roster
          .engine(worker.id)
          ?.report()
          .catch(() => undefined);
        const feed = this.#parts.feed.report(worker.id) ?? null;
        return { ...worker, about, trouble, feed, engine: engine ?? null };
      }),
    );
    return {
      version,
      atMs: clock.wallMs(),
      upMs: clock.wallMs() - this.#startedMs,
      policy: kernel.policy,
      waiting: kernel.waiting,
      running: kernel.running,
      liveThreads: kernel.liveThreads,
      models: models.up().map(({ name, demo, tokens, contextTokens }) => ({
        name,
        demo,
        tokens: tokens === undefined ? 'passThrough' : 'exact',
        contextTokens,
      })),
      workers: workers.filter((worker) => worker !== undefined).sort(byId),
      missing: roster.missing(),
      policies: policies(),
      history: history(),
    };
  }
}

/** `worker-2` before `worker-10`. */
function byId(a: { id: string }, b: { id: string }): number {
  return a.id.localeCompare(b.id, 'en', { numeric: true });
}

export interface StateParts {
  version: string;
  clock: Clock;
  host: Host;
  roster: Roster;
  feed: Feed;
  models: Models;
  history: () => unknown;
  policies: () => PolicyReport[];
}
