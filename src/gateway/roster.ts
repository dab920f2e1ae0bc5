/**
 * Who works here: turns what directories say, and what health checks and failed requests show, into
 * facts for the kernel.
 */
import { unreachable } from '../base/assert.ts';
import { GatewayError } from '../model/error.ts';
import type { RequestId, WorkerId } from '../model/ids.ts';
import { FREE, GREEDY } from '../model/request.ts';
import type { WorkerAbout } from '../model/worker.ts';
import type {
  Cancel,
  Clock,
  Directory,
  Engine,
  Job,
  MissingWorker,
  Sink,
  WorkerChange,
} from '../ports.ts';
import { DEFAULT_TENANT } from './access.ts';
import type { Draining } from './draining.ts';
import type { Engines } from './failover.ts';
import type { Feed } from './feed/feed.ts';
import type { Host } from './host.ts';
import type { Models } from './models.ts';
import { Stillness } from './stillness.ts';

interface Member {
  engine: Engine;
  about: WorkerAbout;
  healthy: boolean;
  /** Checks in a row that found it unwell. */
  failedChecks: number;
  /** Why its last request failed, where it did by a fault of its own. */
  trouble: string | undefined;
  readonly stillness: Stillness;
  cancelCheck: Cancel;
}

/** A worker, as the page and `doctor` see it. */
export type MemberState = { worker: WorkerId } & Pick<Member, 'about' | 'healthy' | 'trouble'>;

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

  /** Who could not be reached, or broke off, gets nothing until it is well again. */
  ended(worker: WorkerId, fault: GatewayError | undefined): void {
    const member = this.#members.get(worker);
    if (member === undefined) return;
    const trouble = fault && troubleOf(fault);
    if (trouble !== undefined && trouble !== member.trouble && fault?.code === 'engine_denied') {
      this.#parts.sink.note({ kind: 'warning', sentence: `${worker}: ${trouble}` });
    }
    member.trouble = trouble;
    if (fault?.code !== 'engine_lost') return;
    this.#setHealth(worker, member, false);
    this.#checkIn(worker, member, this.#parts.recheckUs);
  }

  /** Where even its health check fails again and again there is no use in waiting for its next token. */
  givenUp(worker: WorkerId, silentUs: number): GatewayError | undefined {
    const member = this.#members.get(worker);
    if ((member?.failedChecks ?? 0) >= CHECKS_LOST) {
      return new GatewayError('engine_lost', 'The engine does not answer any more.');
    }
    if (member?.stillness.isLost(silentUs)) {
      const sentence = 'The engine says that it runs nothing, and its answer never ended.';
      return new GatewayError('engine_lost', sentence);
    }
    if (silentUs < this.#parts.silenceUsMax) return undefined;
    const seconds = Math.round(silentUs / 1e6);
    return new GatewayError('engine_timeout', `The engine said nothing for ${seconds} s.`);
  }

  /** Asks it for one token, as its clients would; whatever else it can do says little. */
  async probe(worker: WorkerId): Promise<void> {
    const member = this.#members.get(worker);
    if (member === undefined) return;
    const ok = await isAnswered(member, this.#parts).catch(() => false);
    if (this.#members.get(worker) === member) {
      this.#parts.host.tell({ kind: 'probed', worker, ok });
    }
  }

  about(): MemberState[] {
    return [...this.#members].map(([worker, { about, healthy, trouble }]) => {
      return { worker, about, healthy, trouble };
    });
  }

  /** Whom the directory was told of and cannot have now. */
  missing(): readonly MissingWorker[] {
    return this.#parts.directory.missing?.() ?? [];
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
    this.#parts.draining.close();
    for (const worker of [...this.#members.keys()]) this.#drop(worker);
  }

  #changed(change: WorkerChange): void {
    switch (change.kind) {
      case 'up':
        return this.#joined(change);
      case 'draining':
        return this.#parts.host.tell({ ...change, kind: 'drainChanged' });
      case 'leaving':
        return void this.#parts.draining.free(change.worker).then(() => this.#left(change));
      case 'down':
        return this.#left(change);
      default:
        unreachable(change);
    }
  }

  /** Whoever was on its way out may have died, or we may have closed meanwhile. */
  #left({ worker, reason }: { worker: WorkerId; reason: string }): void {
    const { host, models, sink } = this.#parts;
    if (!this.#members.has(worker)) return;
    models.changed({ kind: 'down', worker, reason });
    this.#drop(worker);
    host.tell({ kind: 'workerLeft', worker });
    sink.note({ kind: 'workerDown', worker, reason });
  }

  #joined(change: Extract<WorkerChange, { kind: 'up' }>): void {
    const { host, models, feed, sink } = this.#parts;
    models.changed(change);
    const { worker, engine, events, about } = change;
    const member: Member = {
      ...{ engine, about, healthy: true, failedChecks: 0, trouble: undefined },
      stillness: new Stillness(engine, this.#parts.clock),
      cancelCheck: () => {},
    };
    this.#members.set(worker.id, member);
    const tokens = models.tokensOf(change);
    if (tokens === undefined && about.tokensMode === 'exact') {
      const sentence = `${worker.id} serves ${about.model}, of which this gateway has no file or another one; its prompts pass through as text`;
      sink.note({ kind: 'warning', sentence });
    }
    const hasEvents = events !== undefined && tokens !== undefined;
    host.tell({ kind: 'workerJoined', worker: { ...worker, hasEvents } });
    if (hasEvents) feed.start(worker.id, events, tokens.hasher, tokens.vocabularySize);
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
          member.failedChecks = healthy ? 0 : member.failedChecks + 1;
          this.#setHealth(worker, member, healthy);
          this.#checkIn(worker, member, healthy ? this.#parts.checkUs : this.#parts.recheckUs);
        });
    });
  }

  #setHealth(worker: WorkerId, member: Member, healthy: boolean): void {
    if (member.healthy === healthy) return;
    member.healthy = healthy;
    this.#parts.host.tell({ kind: 'healthChanged', worker, healthy });
    this.#parts.sink.note({ kind: 'workerHealth', worker, healthy });
  }
}

export interface RosterParts {
  directory: Directory;
  host: Host;
  models: Models;
  feed: Feed;
  /** Frees workers that leave of what runs there. */
  draining: Draining;
  clock: Clock;
  sink: Sink;
  /** Between checks of a worker that is well, and of one that is not. */
  checkUs: number;
  recheckUs: number;
  /** Whoever says nothing for so long, asked for a token, is lost. */
  silenceUsMax: number;
}

/** In our words alone: an engine's own may repeat what it was sent. */
function troubleOf({ code, message }: GatewayError): string {
  if (code === 'engine_failed') return 'The engine failed; its own log says why.';
  return code === 'engine_denied' && message.startsWith(NOT_THERE) ? NO_SUCH_MODEL : message;
}

const NOT_THERE = 'The engine answered 404';
const NO_SUCH_MODEL = `${NOT_THERE}: it has no such model, or no such route; its name of the model is engineModel:, and its address ends before /v1`;

/** So many checks must fail in a row before what runs there is given up. */
const CHECKS_LOST = 3;

/** A worker that takes longer for one token of an answer to one word serves nobody well. */
const PROBE_US_MAX = 10_000_000;

async function isAnswered({ engine, about }: Member, parts: RosterParts): Promise<boolean> {
  const leaving = new AbortController();
  const cancel = parts.clock.after(PROBE_US_MAX, () => leaving.abort());
  try {
    for await (const part of engine.generate(probeJob(about.model), leaving.signal)) {
      if (part.kind === 'error') return false;
      if (part.kind === 'done') return true;
    }
    return false;
  } finally {
    cancel();
  }
}

function probeJob(model: string): Job {
  return {
    id: 'probe' as RequestId,
    tenant: DEFAULT_TENANT,
    model,
    prompt: { kind: 'text', text: 'Hello' },
    sampling: GREEDY,
    outputTokensMax: 1,
    stop: [],
    shape: FREE,
    cacheSalt: 'probe',
    priority: 0,
    forcedOutput: undefined,
    engineData: false,
  };
}
