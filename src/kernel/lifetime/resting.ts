/**
 * What threads left in workers' caches. A thread has one rest where its last turn ran, and others where
 * it ran before, or of branches that it left when it went on from elsewhere (agents ask aside, and go
 * back): the last few of them.
 *
 *   its turn ends ──► rest ──a turn that goes on from it is dispatched there──► in use
 *                       └── the thread is over, or has left more since ──► nobody's
 */
import { assert } from '../../base/assert.ts';
import type { BlockHashes } from '../../model/block.ts';
import type { SessionId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { Gap } from '../program/tool-times.ts';

export interface Rest {
  readonly tenant: TenantId;
  readonly thread: ThreadId;
  readonly session: SessionId | undefined;
  readonly parent: ThreadId | undefined;
  readonly worker: WorkerId;
  /** Of the thread's last prompt. */
  readonly hashes: BlockHashes;
  readonly blockTokens: number;
  /** Its last prompt and answer; of them, those that others have as well. */
  readonly contextTokens: number;
  sharedTokens: number;
  /** When its turn ended. */
  readonly sinceUs: number;
  /** Its client wants it kept no longer. */
  readonly keptUntilUs: number | undefined;
  /** Why its thread is away; undefined: nobody comes back for it. */
  gap: Gap | undefined;
  /** The last that its worker was told of it. */
  told: 'retain' | 'demote' | 'release' | undefined;
}

export interface RestsLimits {
  restsMax: number;
  /** Hashes that are remembered for them, together. */
  blocksMax: number;
}

const NONE: readonly Rest[] = [];
/** Of a thread; what it left before is nobody's. */
const BRANCHES_MAX = 4;

export class Rests {
  readonly #limits: RestsLimits;
  /** In the order in which turns ended. */
  readonly #all = new Set<Rest>();
  /** The latest first. */
  readonly #ofThread = new Map<string, Rest[]>();
  readonly #byWorker = new Map<WorkerId, Set<Rest>>();
  #blocks = 0;

  constructor(limits: RestsLimits) {
    this.#limits = limits;
  }

  /** The latest first. */
  of({ tenant, thread }: { tenant: TenantId; thread: ThreadId | undefined }): readonly Rest[] {
    return (thread === undefined ? undefined : this.#ofThread.get(keyOf(tenant, thread))) ?? NONE;
  }

  has(rest: Rest): boolean {
    return this.#all.has(rest);
  }

  on(worker: WorkerId): Iterable<Rest> {
    return this.#byWorker.get(worker) ?? [];
  }

  [Symbol.iterator](): IterableIterator<Rest> {
    return this.#all.values();
  }

  /** A turn of a thread ended. Those forgotten for it are returned. */
  add(rest: Rest): Rest[] {
    const key = keyOf(rest.tenant, rest.thread);
    const rests = [rest, ...(this.#ofThread.get(key) ?? NONE)];
    this.#ofThread.set(key, rests.slice(0, BRANCHES_MAX));
    this.#all.add(rest);
    this.#blocks += rest.hashes.length;
    let there = this.#byWorker.get(rest.worker);
    if (there === undefined) this.#byWorker.set(rest.worker, (there = new Set()));
    there.add(rest);
    return [...rests.slice(BRANCHES_MAX), ...this.#bound()];
  }

  /** It is there still, and no thread's. */
  disown(rest: Rest): void {
    const key = keyOf(rest.tenant, rest.thread);
    const others = (this.#ofThread.get(key) ?? NONE).filter((one) => one !== rest);
    if (others.length === 0) this.#ofThread.delete(key);
    else this.#ofThread.set(key, others);
  }

  drop(rest: Rest): void {
    if (!this.#all.delete(rest)) return;
    this.#blocks -= rest.hashes.length;
    this.disown(rest);
    const there = this.#byWorker.get(rest.worker);
    there?.delete(rest);
    if (there?.size === 0) this.#byWorker.delete(rest.worker);
  }

  check(): void {
    let [blocks, there] = [0, 0];
    for (const rest of this.#all) blocks += rest.hashes.length;
    for (const rests of this.#byWorker.values()) there += rests.size;
    assert(blocks === this.#blocks, 'blocks of rests are counted');
    assert(there === this.#all.size, 'each rest lies on a worker');
    for (const rests of this.#ofThread.values()) {
      assert(rests.length > 0 && rests.length <= BRANCHES_MAX, 'a thread has few rests');
      for (const rest of rests) assert(this.#all.has(rest), 'a rest is known');
    }
  }

  #bound(): Rest[] {
    const forgotten: Rest[] = [];
    for (const rest of this.#all) {
      const { restsMax, blocksMax } = this.#limits;
      if (this.#all.size <= restsMax && this.#blocks <= blocksMax) break;
      this.drop(rest);
      forgotten.push(rest);
    }
    return forgotten;
  }
}

/** Tenants' names have no line breaks. */
function keyOf(tenant: TenantId, thread: ThreadId): string {
  return `${tenant}\n${thread}`;
}
