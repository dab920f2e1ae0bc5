/**
 * The sessions that clients have: what each thread's context is, what was saved, and where its KV lies.
 * Remembered within one bound of bytes over all tenants; whoever makes up names forgets only its own.
 */
import { FairLru } from '../../base/fair-lru.ts';
import type { BlockHashes } from '../../model/block.ts';
import type { SessionId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { ThreadState } from '../../model/session.ts';
import type { Clock } from '../../ports.ts';
import type { Account } from '../account.ts';
import type { Host } from '../host.ts';
import type { Keeping, Released } from './keeping.ts';
import { bytesOf, type ThreadRecord } from './thread-record.ts';

export interface SessionsParts {
  clock: Clock;
  host: Host;
  keeping: Keeping;
  sessionsBytesMax: number;
}

export interface SessionList {
  sessions: { tenant: string; session: string; threads: ThreadState[] }[];
  /** Where the next page begins; null: there is none. */
  next: string | null;
}

interface Listed {
  /** In the order in which sessions began, over all tenants. */
  number: number;
  threads: Set<ThreadId>;
}

export class Sessions {
  readonly #parts: SessionsParts;
  readonly #threads: FairLru<TenantId, ThreadId, ThreadRecord>;
  /** By tenant, in the order in which they began. */
  readonly #sessions = new Map<TenantId, Map<SessionId, Listed>>();
  #begun = 0;
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
    const record = known?.session === session ? known : blank({ tenant, session, thread, parent });
    if (known !== undefined && known !== record) this.#unlist(known);
    record.knownBy = knownBy;
    record.model = account.arrival.model;
    record.salt = given.salt;
    record.isEnding = false;
    record.running++;
    record.turns++;
    record.lastMs = this.#parts.clock.wallMs();
    this.#open.set(account, { record, retainUs: given.retainUs });
    this.#keep(record);
  }

  /** The state after its turn; undefined where it belongs to no thread. */
  stateAfter(account: Account): ThreadState | undefined {
    const record = this.#open.get(account)?.record;
    if (record === undefined) return undefined;
    this.#end(account, record);
    return this.#stateOf(record);
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

  /** One tenant's, or everybody's; the earliest begun first. */
  list(
    tenant: TenantId | undefined,
    { after, limit }: { after: number; limit: number },
  ): SessionList {
    const found: { tenant: TenantId; session: SessionId; listed: Listed }[] = [];
    for (const owner of tenant === undefined ? this.#sessions.keys() : [tenant]) {
      for (const [session, listed] of this.#sessions.get(owner) ?? []) {
        if (listed.number > after) found.push({ tenant: owner, session, listed });
      }
    }
    found.sort((a, b) => a.listed.number - b.listed.number);
    const page = found.slice(0, limit);
    return {
      sessions: page.map(({ tenant: owner, session, listed }) => ({
        tenant: owner,
        session,
        threads: this.#statesOf(owner, listed.threads),
      })),
      next: found.length > limit ? String(page[limit - 1].listed.number) : null,
    };
  }

  /** A session's threads, or the one of that name; the one used last first, undefined where there is none. */
  find(tenant: TenantId, name: string): ThreadState[] | undefined {
    const records = this.#named(tenant, name);
    if (records === undefined) return undefined;
    return records
      .sort((a, b) => b.lastMs - a.lastMs || b.turns - a.turns)
      .map((record) => this.#stateOf(record));
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
  ): Promise<{ released: Released[]; running: number } | undefined> {
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
    if (status !== 'done') return;
    const { promptTokens, hashes } = arrival;
    record.hashes = hashes;
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
    if (await keeping.retain(record, record.worker, us)) record.retainedUntilMs = untilMs;
  }

  /** The thread is over: its KV goes, and so does what is known of it. */
  async #letGo(record: ThreadRecord): Promise<Released[]> {
    const { host, keeping } = this.#parts;
    const { tenant, thread } = record;
    if (this.#threads.peek(tenant, thread) === record) {
      this.#threads.delete(tenant, thread);
      this.#unlist(record);
    }
    host.tell({ kind: 'threadEnded', tenant, thread });
    const holders = new Set(host.kvOf(record).map(({ worker }) => worker));
    if (record.worker !== undefined) holders.add(record.worker);
    return keeping.release(record, holders);
  }

  #keep(record: ThreadRecord): void {
    const { tenant, session, thread } = record;
    let sessions = this.#sessions.get(tenant);
    if (sessions === undefined) this.#sessions.set(tenant, (sessions = new Map()));
    const listed = sessions.get(session);
    if (listed !== undefined) listed.threads.add(thread);
    else sessions.set(session, { number: ++this.#begun, threads: new Set([thread]) });
    this.#threads.set(tenant, thread, { value: record, bytes: bytesOf(record) });
  }

  #unlist({ tenant, session, thread }: ThreadRecord): void {
    const sessions = this.#sessions.get(tenant);
    const threads = sessions?.get(session)?.threads;
    if (sessions === undefined || threads === undefined) return;
    threads.delete(thread);
    if (threads.size === 0) sessions.delete(session);
    if (sessions.size === 0) this.#sessions.delete(tenant);
  }

  #named(tenant: TenantId, name: string): ThreadRecord[] | undefined {
    const listed = this.#sessions.get(tenant)?.get(name as SessionId);
    const threads = listed?.threads ?? [name as ThreadId];
    const records = [...threads].flatMap((thread) => this.#threads.peek(tenant, thread) ?? []);
    return records.length === 0 ? undefined : records;
  }

  #statesOf(tenant: TenantId, threads: Iterable<ThreadId>): ThreadState[] {
    const states: ThreadState[] = [];
    for (const thread of threads) {
      const record = this.#threads.peek(tenant, thread);
      if (record !== undefined) states.push(this.#stateOf(record));
    }
    return states;
  }

  #stateOf(record: ThreadRecord): ThreadState {
    const { session, thread, parent, knownBy, model, turns, running, contextTokens } = record;
    const { cachedTokens, computedTokens, savedTokens, savedUs, retainedUntilMs } = record;
    const isRetained =
      retainedUntilMs !== undefined && retainedUntilMs > this.#parts.clock.wallMs();
    return {
      ...{ session, thread, parent: parent ?? null, knownBy, model, turns, running },
      ...{ lastAt: new Date(record.lastMs).toISOString(), contextTokens },
      cachedTokens: cachedTokens ?? null,
      computedTokens: computedTokens ?? null,
      kv: this.#parts.host.kvOf(record),
      retainUntil: isRetained ? new Date(retainedUntilMs).toISOString() : null,
      savedTokens,
      savedMs: savedUs / 1000,
    };
  }
}

const NO_HASHES: BlockHashes = new BigUint64Array(0);

function blank(
  given: Pick<ThreadRecord, 'tenant' | 'session' | 'thread' | 'parent'>,
): ThreadRecord {
  return {
    ...given,
    knownBy: '',
    model: '',
    salt: '',
    hashes: NO_HASHES,
    worker: undefined,
    turns: 0,
    running: 0,
    lastMs: 0,
    contextTokens: 0,
    cachedTokens: undefined,
    computedTokens: undefined,
    savedTokens: 0,
    savedUs: 0,
    retainedUntilMs: undefined,
    isEnding: false,
  };
}
