/**
 * Carries out what the kernel decides about the KV of threads between their turns, on the workers that
 * hold it, and tells what became of it: to the kernel, and on the receipt of the turn that led to it.
 *
 * Wishes for one thread are carried out one after the other. Of those that wait only the last counts:
 * it was decided knowing of the others.
 */
import { unreachable } from '../base/assert.ts';
import type { TenantId, ThreadId } from '../model/ids.ts';
import type { Fact, KeepOrder } from '../model/kernel-io.ts';
import type { KvAction } from '../model/receipt.ts';
import type { Clock } from '../ports.ts';
import type { Keeping, Kept, Told } from './sessions/keeping.ts';
import type { ThreadRecord } from './sessions/thread-record.ts';

export interface KvWishesParts {
  clock: Clock;
  keeping: Keeping;
  /** What is remembered of a thread; undefined: nothing any more. */
  recordOf: (tenant: TenantId, thread: ThreadId) => ThreadRecord | undefined;
  /** The receipt that a turn of the tenant has. */
  noted: (receipt: { tenant: TenantId; id: string }, action: KvAction) => void;
  tell: (fact: Fact) => void;
}

interface Line {
  /** What is to be carried out next. */
  next: KeepOrder | undefined;
}

/** Threads whose wishes are being carried out; those of more are not. */
const LINES_MAX = 1024;
/** An engine that has not answered by then does not count on it any more. */
const ANSWER_US_MAX = 10_000_000;

export class KvWishes {
  readonly #parts: KvWishesParts;
  readonly #lines = new Map<string, Line>();
  #closed = false;

  constructor(parts: KvWishesParts) {
    this.#parts = parts;
  }

  /** Each ends with one `kept`, told later and never from within this call. */
  begin(order: KeepOrder): void {
    const { tenant, thread } = order;
    const key = JSON.stringify([tenant, thread]);
    const line = this.#lines.get(key);
    if (line === undefined) {
      if (this.#lines.size >= LINES_MAX) return this.#drop(order);
      const begun = { next: order };
      this.#lines.set(key, begun);
      queueMicrotask(() => void this.#work(key, begun));
      return;
    }
    if (line.next !== undefined) this.#drop(line.next);
    line.next = order;
  }

  /** Nobody is told any more. */
  close(): void {
    this.#closed = true;
    this.#lines.clear();
  }

  async #work(key: string, line: Line): Promise<void> {
    for (let order = line.next; order !== undefined && !this.#closed; order = line.next) {
      line.next = undefined;
      await this.#carryOut(order);
    }
    this.#lines.delete(key);
  }

  async #carryOut(order: KeepOrder): Promise<void> {
    const { clock, recordOf } = this.#parts;
    const { tenant, thread, hashes } = order;
    const record = recordOf(tenant, thread);
    if (record !== undefined && this.#isAgainst(record, order)) {
      return this.#ended(order, { told: undefined, tookUs: 0 });
    }
    const beganUs = clock.nowUs();
    const told = await this.#inTime(this.#ask(order, { thread, hashes, salt: record?.salt }));
    const isDone = told?.answer === 'accepted' || told?.answer === 'clipped';
    if (record !== undefined && isDone && order.wish === 'retain') {
      record.retainedUntilMs = clock.wallMs() + (order.ttlUs ?? 0) / 1000;
    }
    if (record !== undefined && isDone && order.wish === 'release') {
      record.retainedUntilMs = undefined;
    }
    this.#ended(order, { told, tookUs: clock.nowUs() - beganUs });
  }

  /** What its client put away stays where it is, and what it wants kept is not let go before. */
  #isAgainst({ parked, heldUntilMs = 0 }: ThreadRecord, { wish }: KeepOrder): boolean {
    return parked !== undefined || (wish === 'release' && heldUntilMs > this.#parts.clock.wallMs());
  }

  async #ask({ wish, worker, tier, ttlUs = 0 }: KeepOrder, kept: Kept): Promise<Told | undefined> {
    const { keeping } = this.#parts;
    switch (wish) {
      case 'retain':
        return keeping.retain(kept, worker, ttlUs);
      case 'demote':
        return keeping.demote(kept, worker, tier === 'disk' ? 'disk' : 'host');
      case 'prefetch':
        return keeping.prefetch(kept, worker, tier === 'host' ? 'host' : 'device');
      case 'release':
        return (await keeping.release(kept, [worker]))[0];
      default:
        return unreachable(wish);
    }
  }

  #inTime(asked: Promise<Told | undefined>): Promise<Told | undefined> {
    return new Promise((resolve) => {
      const cancel = this.#parts.clock.after(ANSWER_US_MAX, () => resolve(undefined));
      void asked.then((told) => {
        cancel();
        resolve(told);
      });
    });
  }

  #drop(order: KeepOrder): void {
    queueMicrotask(() => this.#ended(order, { told: undefined, tookUs: 0 }));
  }

  #ended(order: KeepOrder, { told, tookUs }: { told: Told | undefined; tookUs: number }): void {
    if (this.#closed) return;
    const { move, wish, worker, tier, ttlUs, tenant, thread } = order;
    const answer = told?.answer;
    const tokens = told?.tokens ?? 0;
    const id = this.#parts.recordOf(tenant, thread)?.receipt;
    const more = { ...(tier !== undefined && { tier }), ...(ttlUs !== undefined && { ttlUs }) };
    const action = { wish, worker, ...more, answer: answer ?? null, tokens, tookUs };
    if (id !== undefined) this.#parts.noted({ tenant, id }, action);
    this.#parts.tell({ kind: 'kept', move, answer, tokens, tookUs });
  }
}
