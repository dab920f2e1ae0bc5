/**
 * Puts the KV of sessions away that nobody uses for a while, and gets it back before they go on.
 *
 *   park     kept for a time ─► out of slots and memory, into files ─► known after a restart
 *   resume   who has most of it? (told by KV events) ─► from its files into a slot
 *
 * Both wait until it is done, for as long as is worth waiting for: workers write and read files in
 * their own time, and one that has just started tells what it has only by and by.
 */
import { sleep } from '../../base/sleep.ts';
import type { TenantId, WorkerId } from '../../model/ids.ts';
import type { Clock } from '../../ports.ts';
import type { Host } from '../host.ts';
import type { Keeping, Told } from './keeping.ts';
import { holdersOf, type Sessions } from './sessions.ts';
import type { ThreadRecord } from './thread-record.ts';

export interface ParkingParts {
  clock: Clock;
  host: Pick<Host, 'kvOf' | 'tell'>;
  keeping: Keeping;
  sessions: Sessions;
  /** Resolves when what is remembered of sessions would survive a restart. */
  written: () => Promise<void>;
  /** A worker that begins, but does not end, is asked again for so long. */
  waitUsMax: number;
}

/** Between two questions to a worker that is not done yet. */
const ASK_US = 50_000;

export class Parking {
  readonly #parts: ParkingParts;

  constructor(parts: ParkingParts) {
    this.#parts = parts;
  }

  /**
   * Threads that run something stay as they are, and are counted; undefined where there is nothing of
   * that name. `ttlUs`: so long at least its KV is not forgotten, as far as there is room.
   */
  async park(
    tenant: TenantId,
    name: string,
    { ttlUs, signal }: { ttlUs: number; signal: AbortSignal },
  ): Promise<{ parked: Told[]; running: number } | undefined> {
    const { sessions, written } = this.#parts;
    const records = sessions.records(tenant, name);
    if (records === undefined) return undefined;
    const idle = records.filter(({ running }) => running === 0);
    const parked = await Promise.all(idle.map((record) => this.#parkOne(record, ttlUs, signal)));
    await written();
    return { parked: parked.flat(), running: records.length - idle.length };
  }

  /** Each thread where most of it lies; undefined where there is nothing of that name. */
  async resume(
    tenant: TenantId,
    name: string,
    signal: AbortSignal,
  ): Promise<{ resumed: Told[]; running: number } | undefined> {
    const { sessions } = this.#parts;
    const records = sessions.records(tenant, name);
    if (records === undefined) return undefined;
    const idle = records.filter(({ running }) => running === 0);
    const resumed = await Promise.all(idle.map((record) => this.#resumeOne(record, signal)));
    return { resumed, running: records.length - idle.length };
  }

  async #parkOne(record: ThreadRecord, ttlUs: number, signal: AbortSignal): Promise<Told[]> {
    const { clock, host, keeping, sessions } = this.#parts;
    const { tenant, thread } = record;
    const holders = [...holdersOf(record, host)].filter((worker) => keeping.takesWishes(worker));
    record.parked = { atMs: clock.wallMs(), tokens: 0 };
    // It takes no place among those who go on: the kernel counts on its worker's room.
    host.tell({ kind: 'threadEnded', tenant, thread });
    const told = await Promise.all(
      holders.map(async (worker) => {
        await keeping.retain(record, worker, ttlUs);
        return this.#putAway(record, worker, signal);
      }),
    );
    const parked = told
      .filter((one) => one !== undefined)
      .map((one) =>
        isDone(one) && record.hashes.length === 0 ? { ...one, sentence: NAMELESS } : one,
      );
    const tokens = Math.max(0, ...parked.filter(isDone).map((one) => one.tokens));
    // A request that came meanwhile uses it again.
    if (record.parked !== undefined) record.parked.tokens = tokens;
    sessions.changed(record);
    return parked;
  }

  /** Into files, or where a worker has none into its host memory. */
  async #putAway(
    record: ThreadRecord,
    worker: WorkerId,
    signal: AbortSignal,
  ): Promise<Told | undefined> {
    const { keeping } = this.#parts;
    const onDisk = await this.#untilDone(() => keeping.demote(record, worker, 'disk'), signal);
    if (onDisk?.answer !== 'rejected') return onDisk;
    const inMemory = await keeping.demote(record, worker, 'host');
    return inMemory && { ...inMemory, sentence: onDisk.sentence ?? '' };
  }

  async #resumeOne(record: ThreadRecord, signal: AbortSignal): Promise<Told> {
    const { keeping, sessions } = this.#parts;
    const { thread } = record;
    const worker = await this.#holderOf(record, signal);
    if (worker === undefined) return { worker: null, thread, answer: 'missing', tokens: 0 };
    const fetch = () => keeping.prefetch(record, worker, 'device');
    const told = await this.#untilDone(fetch, signal);
    if (told === undefined) return { worker, thread, answer: 'missing', tokens: 0 };
    if (told.answer === 'missing') return { ...told, worker: null };
    record.parked = undefined;
    sessions.changed(record);
    return told;
  }

  /**
   * The worker that has most of it, once one has what was put away; where no event tells of any, the one
   * where it ran last, which may know the thread by its name. Undefined where nobody can be asked.
   */
  async #holderOf(record: ThreadRecord, signal: AbortSignal): Promise<WorkerId | undefined> {
    const { clock, keeping, waitUsMax } = this.#parts;
    const { parked, hashes, blockTokens, worker } = record;
    // What became of its answer is not known: its next prompt decides.
    const known = hashes.length * blockTokens;
    const wanted = parked === undefined ? Math.min(1, known) : Math.min(parked.tokens, known);
    const endUs = clock.nowUs() + waitUsMax;
    for (;;) {
      const best = this.#bestOf(record);
      const isEnough = (best?.tokens ?? 0) >= wanted;
      if (isEnough || clock.nowUs() >= endUs || signal.aborted) {
        if (best !== undefined) return best.worker;
        return worker !== undefined && keeping.takesWishes(worker) ? worker : undefined;
      }
      await sleep(clock, ASK_US, signal);
    }
  }

  #bestOf(record: ThreadRecord): { worker: WorkerId; tokens: number } | undefined {
    const { host, keeping } = this.#parts;
    const tokensOf = new Map<WorkerId, number>();
    for (const { worker, tokens } of host.kvOf(record)) {
      if (keeping.takesWishes(worker)) tokensOf.set(worker, (tokensOf.get(worker) ?? 0) + tokens);
    }
    let best: { worker: WorkerId; tokens: number } | undefined;
    for (const [worker, tokens] of tokensOf) {
      if (tokens > (best?.tokens ?? 0)) best = { worker, tokens };
    }
    return best;
  }

  async #untilDone(
    ask: () => Promise<Told | undefined>,
    signal: AbortSignal,
  ): Promise<Told | undefined> {
    const { clock, waitUsMax } = this.#parts;
    const endUs = clock.nowUs() + waitUsMax;
    for (;;) {
      const told = await ask();
      const isOver = clock.nowUs() >= endUs || signal.aborted;
      if (told?.answer !== 'deferred' || isOver) return told;
      await sleep(clock, ASK_US, signal);
    }
  }
}

/** Who looks for KV by its blocks finds none of it. */
const NAMELESS =
  'No block of its prompt is whole: once its worker was started anew, only its next turn finds it.';

function isDone({ answer }: Told): boolean {
  return answer === 'accepted' || answer === 'clipped';
}
