/**
 * Who works here: turns what directories say, and what health checks and failed requests show, into
 * facts for the kernel.
 */
import type { WorkerId } from '../model/ids.ts';
import type { WorkerAbout } from '../model/worker.ts';
import type { Cancel, Clock, Directory, Engine, Sink, WorkerChange } from '../ports.ts';
import type { Engines } from './failover.ts';
import type { Feed } from './feed/feed.ts';
import type { Host } from './host.ts';
import type { Models } from './models.ts';

interface Member {
  engine: Engine;
  about: WorkerAbout;
  healthy: boolean;
  cancelCheck: Cancel;
}

export class Roster implements Engines {
  readonly #parts: RosterParts;
  readonly #members = new Map<WorkerId, Member>();
  readonly #unwatch: Cancel;

  constructor(parts: RosterParts) {
    this.#parts = parts;
    this.#unwatch = parts.directory.watch((change) => this.#changed(change));
  }

  engine(worker: WorkerId): Engine | undefined {
    return this.#members.get(worker)?.engine;
  }

  suspect(worker: WorkerId): void {
    const member = this.#members.get(worker);
    if (member === undefined) return;
    this.#setHealth(worker, member, false);
    this.#checkIn(worker, member, this.#parts.recheckUs);
  }

  about(): { worker: WorkerId; about: WorkerAbout; healthy: boolean }[] {
    return [...this.#members].map(([worker, { about, healthy }]) => ({ worker, about, healthy }));
  }

  get size(): number {
    return this.#members.size;
  }

  /** Drops all cached KV everywhere. */
  async resetCaches(): Promise<void> {
    await Promise.all([...this.#members.values()].map(({ engine }) => engine.resetCache()));
  }

  close(): void {
    this.#unwatch();
    for (const worker of [...this.#members.keys()]) this.#drop(worker);
  }

  #changed(change: WorkerChange): void {
    const { host, models, feed, sink } = this.#parts;
    models.changed(change);
    if (change.kind === 'down') {
      this.#drop(change.worker);
      host.tell({ kind: 'workerLeft', worker: change.worker });
      sink.note({ kind: 'workerDown', worker: change.worker, reason: change.reason });
      return;
    }
    const { worker, engine, events, about } = change;
    const member: Member = { engine, about, healthy: true, cancelCheck: () => {} };
    this.#members.set(worker.id, member);
    const tokens = models.tokensOf(change);
    if (tokens === undefined && about.tokensMode === 'exact') {
      const sentence = `${worker.id} serves ${about.model}, of which this gateway has no file or another one; its prompts pass through as text`;
      sink.note({ kind: 'warning', sentence });
    }
    const hasEvents = events !== undefined && tokens !== undefined;
    host.tell({ kind: 'workerJoined', worker: { ...worker, hasEvents } });
    if (hasEvents) feed.start(worker.id, events, tokens.hasher);
    sink.note({ kind: 'workerUp', worker: worker.id });
    this.#checkIn(worker.id, member, this.#parts.checkUs);
  }

  #drop(worker: WorkerId): void {
    const member = this.#members.get(worker);
    if (member === undefined) return;
    this.#members.delete(worker);
    member.cancelCheck();
    this.#parts.feed.stop(worker);
    member.engine.close();
  }

  #checkIn(worker: WorkerId, member: Member, us: number): void {
    member.cancelCheck();
    member.cancelCheck = this.#parts.clock.after(us, () => {
      void member.engine
        .healthy()
        .catch(() => false)
        .then((healthy) => {
          if (this.#members.get(worker) !== member) return;
          this.#setHealth(worker, member, healthy);
          this.#checkIn(worker, member, healthy ? this.#parts.checkUs : this.#parts.recheckUs);
        });
    });
  }

  #setHealth(worker: WorkerId, member: Member, healthy: boolean): void {
    if (member.healthy === healthy) return;
    member.healthy = healthy;
    this.#parts.host.tell({ kind: 'healthChanged', worker, healthy });
  }
}

export interface RosterParts {
  directory: Directory;
  host: Host;
  models: Models;
  feed: Feed;
  clock: Clock;
  sink: Sink;
  /** Between checks of a worker that is well, and of one that is not. */
  checkUs: number;
  recheckUs: number;
}
