/**
 * Tells workers that have it how long a thread's KV is to be kept, and where. Nobody's answer depends on
 * it, and an engine that takes no such wishes keeps KV as it always does.
 */
import type { BlockHashes } from '../../model/block.ts';
import type { WorkerId } from '../../model/ids.ts';
import type { KvAnswer, KvChain, KvOutcome, KvWish } from '../../model/kv-control.ts';
import type { KvControl, Sink } from '../../ports.ts';

/** What a worker answered to a wish about a thread's KV. */
export interface Told {
  /** Null: nobody has any of it. */
  worker: WorkerId | null;
  thread: string;
  answer: KvAnswer;
  tokens: number;
  /** Why it is no more. */
  sentence?: string;
}

/** Whose KV it is: as its worker knows it, and block by block. */
export interface Kept {
  thread: string;
  /** Undefined: the worker cannot be asked for it by name. */
  salt: string | undefined;
  hashes: BlockHashes;
}

export class Keeping {
  readonly #kvOf: (worker: WorkerId) => KvControl | undefined;
  readonly #sink: Sink;
  /** Workers that could not be asked the last time: said once. */
  readonly #unreached = new Set<WorkerId>();

  /** `kvOf` is undefined where the worker is gone, or takes no wishes. */
  constructor(given: { kvOf: (worker: WorkerId) => KvControl | undefined; sink: Sink }) {
    this.#kvOf = given.kvOf;
    this.#sink = given.sink;
  }

  takesWishes(worker: WorkerId): boolean {
    return this.#kvOf(worker) !== undefined;
  }

  /** Undefined, here and below: it could not be asked. */
  retain(kept: Kept, worker: WorkerId, us: number): Promise<Told | undefined> {
    return this.#told('retain', kept, worker, (kv, chain) => kv.retain(chain, us));
  }

  demote(kept: Kept, worker: WorkerId, to: 'host' | 'disk'): Promise<Told | undefined> {
    return this.#told('demote', kept, worker, (kv, chain) => kv.demote(chain, to));
  }

  prefetch(kept: Kept, worker: WorkerId, to: 'device' | 'host'): Promise<Told | undefined> {
    return this.#told('prefetch', kept, worker, (kv, chain) => kv.prefetch(chain, to));
  }

  /** Lets the thread's KV go on each of the workers. */
  async release(kept: Kept, workers: Iterable<WorkerId>): Promise<Told[]> {
    const released = Array.from(workers, (worker) =>
      this.#told('release', kept, worker, (kv, chain) => kv.release(chain)),
    );
    return (await Promise.all(released)).filter((one) => one !== undefined);
  }

  async #told(
    wish: KvWish,
    kept: Kept,
    worker: WorkerId,
    ask: (kv: KvControl, chain: KvChain) => Promise<KvOutcome>,
  ): Promise<Told | undefined> {
    const kv = this.#kvOf(worker);
    if (kv === undefined) return undefined;
    const { thread, salt, hashes } = kept;
    try {
      let outcome = salt === undefined ? NOWHERE : await ask(kv, { kind: 'thread', thread, salt });
      // A copy that came from elsewhere, or from before a restart, bears no name there.
      if (outcome.answer === 'missing' && hashes.length > 0) {
        outcome = await ask(kv, { kind: 'blocks', hashes });
      }
      const { answer, tokens, sentence } = outcome;
      this.#unreached.delete(worker);
      this.#sink.note({ kind: 'kvAction', wish, worker, answer });
      return { worker, thread, answer, tokens, ...(sentence !== undefined && { sentence }) };
    } catch (error) {
      this.#sink.note({ kind: 'kvAction', wish, worker, answer: undefined });
      this.#complain(worker, error);
      return undefined;
    }
  }

  #complain(worker: WorkerId, error: unknown): void {
    if (this.#unreached.has(worker)) return;
    // Names of workers that left are few, and none comes back.
    if (this.#unreached.size >= UNREACHED_MAX) this.#unreached.clear();
    this.#unreached.add(worker);
    const why = error instanceof Error ? error.message : String(error);
    const sentence = `${worker} was not told how long to keep KV: ${why}`;
    this.#sink.note({ kind: 'warning', sentence });
  }
}

const UNREACHED_MAX = 1000;

const NOWHERE: KvOutcome = { answer: 'missing', blocks: 0, tokens: 0, sentence: undefined };
