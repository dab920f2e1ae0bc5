/**
 * Carries out, on the workers that have it, how long a thread's KV is to be kept. Nobody waits for it,
 * and an engine that takes no such wishes keeps KV as it always does.
 */
import type { WorkerId } from '../../model/ids.ts';
import type { KvAnswer, KvChain, KvOutcome } from '../../model/kv-control.ts';
import type { KvControl, Sink } from '../../ports.ts';
import type { ThreadRecord } from './thread-record.ts';

export interface Released {
  worker: WorkerId;
  thread: string;
  answer: KvAnswer;
  tokens: number;
}

export class Keeping {
  readonly #kvOf: (worker: WorkerId) => KvControl | undefined;
  readonly #sink: Sink;

  /** `kvOf` is undefined where the worker is gone, or takes no wishes. */
  constructor(given: { kvOf: (worker: WorkerId) => KvControl | undefined; sink: Sink }) {
    this.#kvOf = given.kvOf;
    this.#sink = given.sink;
  }

  /** Whether the worker keeps at least a part of the thread's KV for so long. */
  async retain(record: ThreadRecord, worker: WorkerId, us: number): Promise<boolean> {
    const outcome = await this.#asked(worker, (kv) => kv.retain(chainOf(record), us));
    return outcome?.answer === 'accepted' || outcome?.answer === 'clipped';
  }

  /** Lets the thread's KV go on each of the workers. */
  async release(record: ThreadRecord, workers: Iterable<WorkerId>): Promise<Released[]> {
    const released = Array.from(workers, async (worker): Promise<Released | undefined> => {
      const outcome = await this.#asked(worker, async (kv) => {
        const named = await kv.release(chainOf(record));
        // A copy that came from elsewhere bears no name there.
        if (named.answer !== 'missing' || record.hashes.length === 0) return named;
        return kv.release({ kind: 'blocks', hashes: record.hashes });
      });
      if (outcome === undefined) return undefined;
      const { answer, tokens } = outcome;
      return { worker, thread: record.thread, answer, tokens };
    });
    return (await Promise.all(released)).filter((one) => one !== undefined);
  }

  async #asked(
    worker: WorkerId,
    ask: (kv: KvControl) => Promise<KvOutcome>,
  ): Promise<KvOutcome | undefined> {
    const kv = this.#kvOf(worker);
    if (kv === undefined) return undefined;
    try {
      return await ask(kv);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const sentence = `${worker} was not told how long to keep KV: ${why}`;
      this.#sink.note({ kind: 'warning', sentence });
      return undefined;
    }
  }
}

function chainOf({ thread, salt }: ThreadRecord): KvChain {
  return { kind: 'thread', thread, salt };
}
