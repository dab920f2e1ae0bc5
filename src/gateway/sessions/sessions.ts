/**
 * The sessions that clients have: what each thread's context is, what was saved, and where its KV lies.
 * Remembered within one bound of bytes over all tenants; whoever makes up names forgets only its own.
 */
import { FairLru } from '../../base/fair-lru.ts';
import type { SessionId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { Identity, ThreadActivity, ThreadState } from '../../model/session.ts';
import type { Clock } from '../../ports.ts';
import type { Account } from '../account.ts';
import type { Host } from '../host.ts';
import type { Keeping, Told } from './keeping.ts';
import type { SavedSession } from './saved-session.ts';
import { blankRecord, bytesOf, type ThreadRecord } from './thread-record.ts';

export interface SessionsParts {
  clock: Clock;
  host: Host;
  keeping: Keeping;
  sessionsBytesMax: number;
  /** What is known of a session is another thing now, or nothing any more. */
  changed: (tenant: TenantId, session: SessionId) => void;
}

export interface SessionList {
  sessions: { tenant: string; session: string; threads: ThreadState[] }[];
  /** Where the next page begins; null: there is none. */
  next: string | null;
}

/** What was sent ahead of its turn is left alone until that comes, or whoever sent it says for how long. */
const AHEAD_MS = 60_000;

interface Listed {
  /** In the order in which sessions began, over all tenants: microseconds since 1970, or a little later. */
  begunUs: number;
  /** Prompt tokens that were computed, and output tokens, of all its threads. */
  spentTokens: number;
  threads: Set<ThreadId>;
}

export class Sessions {
  readonly #parts: SessionsParts;
  readonly #threads: FairLru<TenantId, ThreadId, ThreadRecord>;
  /** By tenant, in the order in which they began. */
  readonly #sessions = new Map<TenantId, Map<SessionId, Listed>>();
  #begunUs = 0;
  /** Requests that run, and those whose end was seen to. */
  readonly #open = new Map<Account, { record: ThreadRecord; retainUs: number | undefined }>();
  readonly #ended = new WeakSet<Account>();

  constructor(parts: SessionsParts) {
    this.#parts = parts;
    this.#threads = new FairLru({
      bytesMax: parts.sessionsBytesMax,
      onEvict: (_tenant, _thread, record) => this.#unlist(record),
    });
  }

  /** A request came; `retainUs`: how long its client wants its KV kept. */
  opened(account: Account, given: { salt: string; retainUs: number | undefined }): void {
    const { tenant, session, thread, parent, knownBy } = account.who;
    if (session === undefined || thread === undefined) return;
    const known = this.#threads.get(tenant, thread);
    const isSame = known?.session === session;
    const record = isSame ? known : blankRecord({ tenant, session, thread, parent });
    if (known !== undefined && known !== record) this.#unlist(known);
    record.knownBy = knownBy;
    record.model = account.arrival.model;
    record.salt = given.salt;
    record.isEnding = false;
    record.parked = undefined;
    record.receipt = account.receipt.id;
    record.running++;
    record.turns++;
    record.lastMs = this.#parts.clock.wallMs();
    const isAhead = account.who.purpose.kind === 'prewarm';
    const heldMs = isAhead ? AHEAD_MS : (given.retainUs ?? 0) / 1000;
    record.heldUntilMs = heldMs > 0 ? record.lastMs + heldMs : undefined;
    this.#open.set(account, { record, retainUs: given.retainUs });
    this.#keep(record);
  }

  /** The state after its turn; undefined where it belongs to no thread. */
  stateAfter(account: Account): ThreadState | undefined {
    const record = this.#open.get(account)?.record;
    if (record === undefined) return undefined;
    this.#end(account, record);
    return this.stateOf(record);
  }

  /** Its account is closed: what its client asked for is carried out. */
  closed(account: Account): void {
    const open = this.#open.get(account);
    if (open === undefined) return;
    const { record, retainUs } = open;
    this.#end(account, record);
    this.#open.delete(account);
    const { purpose, isFinal } = account.who;
    const { tenant, thread } = record;
    // Nobody goes on from a title.
    if (purpose.kind === 'side') this.#parts.host.tell({ kind: 'threadEnded', tenant, thread });
    if (isFinal) void this.end(tenant, thread);
    else if (record.isEnding && record.running === 0) void this.#letGo(record);
    else if (retainUs !== undefined) void this.#retain(record, retainUs);
  }

  /** A thread that begins as another, beside it in its session; undefined where that name is taken. */
  fork(origin: ThreadRecord, thread: ThreadId): ThreadRecord | undefined {
    const { tenant, session, thread: parent } = origin;
    if (this.#threads.peek(tenant, thread) !== undefined) return undefined;
    const { model, salt, hashes, blockTokens, worker, contextTokens } = origin;
    const record = blankRecord({ tenant, session, thread, parent });
    const lastMs = this.#parts.clock.wallMs();
    Object.assign(record, { model, salt, hashes, blockTokens, worker, contextTokens });
    Object.assign(record, { lastMs, knownBy: 'fork' });
    this.#keep(record);
    this.changed(record);
    return record;
  }

  /** What was kept of a session before a restart; whatever came since counts before it. */
  restore({ tenant, session, begunUs, spentTokens, threads }: SavedSession): void {
    for (const record of threads) {
      if (this.#threads.peek(tenant, record.thread) !== undefined) continue;
      this.#keep(record);
    }
    const listed = this.#sessions.get(tenant)?.get(session);
    if (listed === undefined) return;
    listed.begunUs = begunUs;
    listed.spentTokens += spentTokens;
  }

  /** What is to be kept of a session; undefined where there is none. */
  saved(tenant: TenantId, session: SessionId): SavedSession | undefined {
    const listed = this.#sessions.get(tenant)?.get(session);
    if (listed === undefined) return undefined;
    const threads = this.#recordsOf(tenant, listed.threads);
    const { begunUs, spentTokens } = listed;
    return { tenant, session, begunUs, spentTokens, threads };
  }

  /** Tokens that were computed for it, with all its threads; 0 where nothing is known. */
  spentTokens({ tenant, session }: Pick<Identity, 'tenant' | 'session'>): number {
    if (session === undefined) return 0;
    return this.#sessions.get(tenant)?.get(session)?.spentTokens ?? 0;
  }

  /** One tenant's, or everybody's; the earliest begun first. */
  list(
    tenant: TenantId | undefined,
    { after, limit }: { after: number; limit: number },
  ): SessionList {
    const found: { tenant: TenantId; session: SessionId; listed: Listed }[] = [];
    for (const owner of tenant === undefined ? this.#sessions.keys() : [tenant]) {
      for (const [session, listed] of this.#sessions.get(owner) ?? []) {
        if (listed.begunUs > after) found.push({ tenant: owner, session, listed });
      }
    }
    found.sort((a, b) => a.listed.begunUs - b.listed.begunUs);
    const page = found.slice(0, limit);
    return {
      sessions: page.map(({ tenant: owner, session, listed }) => ({
        tenant: owner,
        session,
        threads: this.#recordsOf(owner, listed.threads).map((record) => this.stateOf(record)),
      })),
      next: found.length > limit ? String(page[limit - 1].listed.begunUs) : null,
    };
  }

  /** A session's threads, or the one of that name; the one used last first, undefined where there is none. */
  find(tenant: TenantId, name: string): ThreadState[] | undefined {
    return this.records(tenant, name)?.map((record) => this.stateOf(record));
  }

  /** The same as they are remembered. */
  records(tenant: TenantId, name: string): ThreadRecord[] | undefined {
    return this.#named(tenant, name)?.sort((a, b) => b.lastMs - a.lastMs || b.turns - a.turns);
  }

  record(tenant: TenantId, thread: ThreadId): ThreadRecord | undefined {
    return this.#threads.peek(tenant, thread);
  }

  /** Something of it is another thing now. */
  changed({ tenant, session }: ThreadRecord): void {
    this.#parts.changed(tenant, session);
  }

  /** Whose a session or thread is, for those who may see everybody's. */
  ownerOf(name: string): TenantId | undefined {
    for (const tenant of this.#sessions.keys()) {
      if (this.#named(tenant, name) !== undefined) return tenant;
    }
    return undefined;
  }

  /** Lets its KV go, at once or when what runs has ended; undefined where there is nothing of that name. */
  async end(
    tenant: TenantId,
    name: string,
  ): Promise<{ released: Told[]; running: number } | undefined> {
    const records = this.#named(tenant, name);
    if (records === undefined) return undefined;
    const idle = records.filter(({ running }) => running === 0);
    for (const record of records) record.isEnding = true;
    const released = await Promise.all(idle.map((record) => this.#letGo(record)));
    return { released: released.flat(), running: records.length - idle.length };
  }

  check(): void {
    this.#threads.check();
  }

  /** What its answer says of it, once. */
  #end(account: Account, record: ThreadRecord): void {
    if (this.#ended.has(account)) return;
    this.#ended.add(account);
    const { arrival, receipt } = account;
    const { cachedTokens, outputTokens, status } = receipt.actual;
    record.running--;
    record.lastMs = this.#parts.clock.wallMs();
    if (receipt.worker !== null) record.worker = receipt.worker as WorkerId;
    const { promptTokens, hashes, blockTokens } = arrival;
    const computed = status === 'done' ? promptTokens - (cachedTokens ?? 0) : 0;
    const listed = this.#sessions.get(record.tenant)?.get(record.session);
    if (listed !== undefined) listed.spentTokens += computed + outputTokens;
    this.changed(record);
    if (status !== 'done') return;
    record.calledTools = account.answer.hasCall;
    record.hashes = hashes;
    record.blockTokens = blockTokens;
    record.contextTokens = promptTokens + outputTokens;
    record.cachedTokens = cachedTokens ?? undefined;
    record.computedTokens = cachedTokens === null ? undefined : promptTokens - cachedTokens;
    if (cachedTokens !== null && record.worker !== undefined) {
      record.savedTokens += cachedTokens;
      record.savedUs += this.#parts.host.savedUs(record.worker, { promptTokens, cachedTokens });
    }
    this.#keep(record);
  }

  async #retain(record: ThreadRecord, us: number): Promise<void> {
    const { clock, keeping } = this.#parts;
    if (record.worker === undefined || us <= 0) return;
    const untilMs = clock.wallMs() + us / 1000;
    const told = await keeping.retain(record, record.worker, us);
    if (told?.answer !== 'accepted' && told?.answer !== 'clipped') return;
    record.retainedUntilMs = untilMs;
    this.changed(record);
  }

  /** The thread is over: its KV goes, and so does what is known of it. */
  async #letGo(record: ThreadRecord): Promise<Told[]> {
    const { host, keeping } = this.#parts;
    const { tenant, thread } = record;
    if (this.#threads.peek(tenant, thread) === record) {
      this.#threads.delete(tenant, thread);
      this.#unlist(record);
    }
    host.tell({ kind: 'threadEnded', tenant, thread });
    return keeping.release(record, holdersOf(record, host));
  }

  #keep(record: ThreadRecord): void {
    const { tenant, session, thread } = record;
    let sessions = this.#sessions.get(tenant);
    if (sessions === undefined) this.#sessions.set(tenant, (sessions = new Map()));
    const listed = sessions.get(session);
    if (listed !== undefined) listed.threads.add(thread);
    else {
      // No two are one: pages of a list go on behind it.
      this.#begunUs = Math.max(this.#begunUs + 1, this.#parts.clock.wallMs() * 1000);
      const threads = new Set([thread]);
      sessions.set(session, { begunUs: this.#begunUs, spentTokens: 0, threads });
    }
    this.#threads.set(tenant, thread, { value: record, bytes: bytesOf(record) });
  }

  #unlist({ tenant, session, thread }: ThreadRecord): void {
    const sessions = this.#sessions.get(tenant);
    const threads = sessions?.get(session)?.threads;
    if (sessions === undefined || threads === undefined) return;
    threads.delete(thread);
    this.#parts.changed(tenant, session);
    if (threads.size === 0) sessions.delete(session);
    if (sessions.size === 0) this.#sessions.delete(tenant);
  }

  #named(tenant: TenantId, name: string): ThreadRecord[] | undefined {
    const listed = this.#sessions.get(tenant)?.get(name as SessionId);
    const threads = listed?.threads ?? [name as ThreadId];
    const records = this.#recordsOf(tenant, threads);
    return records.length === 0 ? undefined : records;
  }

  #activityOf({
    tenant,
    session,
    thread,
    running,
    parked,
    calledTools,
  }: ThreadRecord): ThreadActivity {
    if (running > 0) return 'thinking';
    if (parked !== undefined) return 'parked';
    const all = this.#sessions.get(tenant)?.get(session)?.threads ?? [];
    const children = this.#recordsOf(tenant, all).filter(({ parent }) => parent === thread);
    if (children.some((child) => child.running > 0)) return 'waiting';
    return calledTools ? 'acting' : 'idle';
  }

  #recordsOf(tenant: TenantId, threads: Iterable<ThreadId>): ThreadRecord[] {
    return [...threads].flatMap((thread) => this.#threads.peek(tenant, thread) ?? []);
  }

  stateOf(record: ThreadRecord): ThreadState {
    const { session, thread, parent, knownBy, model, turns, running, contextTokens } = record;
    const { cachedTokens, computedTokens, savedTokens, savedUs, retainedUntilMs, parked } = record;
    const isRetained =
      retainedUntilMs !== undefined && retainedUntilMs > this.#parts.clock.wallMs();
    return {
      ...{ session, thread, parent: parent ?? null, knownBy, model, turns, running },
      state: this.#activityOf(record),
      ...{ lastAt: new Date(record.lastMs).toISOString(), contextTokens },
      cachedTokens: cachedTokens ?? null,
      computedTokens: computedTokens ?? null,
      kv: this.#parts.host.kvOf(record),
      retainUntil: isRetained ? new Date(retainedUntilMs).toISOString() : null,
      parkedAt: parked === undefined ? null : new Date(parked.atMs).toISOString(),
      savedTokens,
      savedMs: savedUs / 1000,
    };
  }
}

/** Workers that may have something of its KV. */
export function holdersOf(record: ThreadRecord, host: Pick<Host, 'kvOf'>): Set<WorkerId> {
  const holders = new Set(host.kvOf(record).map(({ worker }) => worker));
  if (record.worker !== undefined) holders.add(record.worker);
  return holders;
}
