/**
 * Who waited for whom, as far as requests show it: a turn follows the one before it in its thread, a
 * sub-agent's first turn the one that spawned it, and a parent's turn the sub-agents that ended before it.
 *
 *     parent   ──r1──┐            ┌──r4──       r4 waits for r1 (sequence) and for r3 (join)
 *                    └─r2── ──r3──┘             r2 waits for r1 (spawn), r3 for r2 (sequence)
 *     sub-agent
 */
import { createHmac } from 'node:crypto';
import { Lru } from '../../base/lru.ts';
import type { Identity } from '../../model/session.ts';

/** A request that is or was under way; times in microseconds. */
export interface TurnMark {
  id: string;
  startUs: number;
  /** Undefined while it runs. */
  endUs: number | undefined;
  /** It failed: nobody waits for it. */
  isLeftOut: boolean;
}

export interface RecordedWait {
  on: TurnMark;
  delayMs: number;
  relation: 'sequence' | 'spawn' | 'join';
  trigger: 'dispatch' | 'completion';
}

export interface RecordedThread {
  /** As the file names them. */
  session: string;
  name: string;
  /** Newest request, and the one that counts where that fails. */
  last: TurnMark | undefined;
  before: TurnMark | undefined;
  row: RecordedRow;
  /** Others needed its room: it is no thread that is looked up again. */
  isGone: boolean;
  /** Sub-agents that nobody waited for yet. */
  children: Set<RecordedThread>;
}

/** What the next row of a thread need not say again. */
export interface RecordedRow {
  path: BigUint64Array;
  /** As JSON. */
  messages: readonly string[];
  tools: string;
}

const NO_ROW: RecordedRow = { path: new BigUint64Array(0), messages: [], tools: '' };

export interface ThreadLimits {
  threadsMax: number;
  /** Sub-agents of one thread whose results are waited for. */
  childrenMax: number;
  /** Of rows that threads begin with. */
  rowBytesMax: number;
}

export class RecordedThreads {
  readonly #threads: Lru<string, RecordedThread>;
  readonly #salt: Buffer;
  readonly #limits: ThreadLimits;
  #rowBytes = 0;

  /** `salt` makes names of what it is given that nobody can look up. */
  constructor(salt: Buffer, limits: ThreadLimits) {
    this.#threads = new Lru(limits.threadsMax);
    this.#salt = salt;
    this.#limits = limits;
  }

  /** The thread a request belongs to; undefined where its client named none. */
  of(who: Identity): RecordedThread | undefined {
    const { tenant, session, thread } = who;
    if (thread === undefined) return undefined;
    const key = JSON.stringify([tenant, thread]);
    const known = this.#threads.get(key);
    if (known !== undefined) return known;
    const parent = this.#parentOf(who);
    const made: RecordedThread = {
      session: parent?.session ?? this.named('session', [tenant, session ?? thread]),
      name: this.named('thread', [tenant, thread]),
      last: undefined,
      before: undefined,
      row: NO_ROW,
      isGone: false,
      children: new Set(),
    };
    if (parent !== undefined && parent.children.size < this.#limits.childrenMax) {
      parent.children.add(made);
    }
    const gone = this.#threads.set(key, made);
    if (gone !== undefined) {
      this.#rowBytes -= bytesOf(gone.value.row);
      Object.assign(gone.value, { row: NO_ROW, isGone: true });
    }
    return made;
  }

  /** A row was written; those that lie longest are forgotten, and said in full next time. */
  wrote(thread: RecordedThread, row: RecordedRow): void {
    thread.before = undefined;
    if (thread.isGone) return;
    this.#rowBytes += bytesOf(row) - bytesOf(thread.row);
    thread.row = row;
    if (this.#rowBytes <= this.#limits.rowBytesMax) return;
    for (const oldest of this.#threads.values()) {
      this.#rowBytes -= bytesOf(oldest.row);
      oldest.row = NO_ROW;
      if (this.#rowBytes <= this.#limits.rowBytesMax / 2) return;
    }
  }

  /** What a turn that begins now was waiting for; from now on it is its thread's last. */
  begin(who: Identity, thread: RecordedThread, mark: TurnMark): RecordedWait[] {
    const waits: RecordedWait[] = [];
    const { last } = thread;
    const parent = last === undefined ? this.#parentOf(who) : undefined;
    if (last !== undefined) waits.push(waitOf(mark, last, 'sequence'));
    else if (parent?.last !== undefined) waits.push(waitOf(mark, parent.last, 'spawn'));
    for (const child of thread.children) {
      if (child.last?.endUs === undefined) continue;
      thread.children.delete(child);
      waits.push(waitOf(mark, child.last, 'join'));
    }
    thread.before = last;
    thread.last = mark;
    return waits;
  }

  leftOut(thread: RecordedThread | undefined, mark: TurnMark): void {
    mark.isLeftOut = true;
    if (thread?.last === mark) thread.last = thread.before;
  }

  named(kind: string, parts: readonly string[]): string {
    const digest = createHmac('sha256', this.#salt).update(JSON.stringify([kind, ...parts]));
    return digest.digest('base64url').slice(0, NAME_CHARACTERS);
  }

  #parentOf({ tenant, parent }: Identity): RecordedThread | undefined {
    if (parent === undefined) return undefined;
    return this.#threads.peek(JSON.stringify([tenant, parent]));
  }
}

const NAME_CHARACTERS = 16;

/** What was still running when the turn began cannot have been waited for to its end. */
function waitOf(turn: TurnMark, on: TurnMark, relation: RecordedWait['relation']): RecordedWait {
  const isOver = on.endUs !== undefined && on.endUs <= turn.startUs;
  const fromUs = isOver ? (on.endUs ?? on.startUs) : on.startUs;
  const delayMs = Math.max(0, Math.round((turn.startUs - fromUs) / 1000));
  return { on, delayMs, relation, trigger: isOver ? 'completion' : 'dispatch' };
}

function bytesOf({ path, messages, tools }: RecordedRow): number {
  return path.byteLength + 2 * messages.reduce((sum, { length }) => sum + length, tools.length);
}
