/**
 * Carries out the kernel's orders to copy KV from one worker to another, and tells it what became of
 * each. No request waits for one: what fails is a warning, and the prefix is computed where it is needed.
 */
import type { WorkerId } from '../model/ids.ts';
import type { Fact, Order } from '../model/kernel-io.ts';
import type { KvChain, KvOutcome } from '../model/kv-control.ts';
import type { Clock, KvControl, Sink } from '../ports.ts';

type ReplicateOrder = Extract<Order, { kind: 'replicate' }>;

interface Ended {
  outcome: KvOutcome | undefined;
  why: string;
}

const LATE = 'it took longer than it would have saved';

export interface KvMovesParts {
  clock: Clock;
  sink: Sink;
  /** Undefined: it is gone, or takes no wishes. */
  kvOf: (worker: WorkerId) => KvControl | undefined;
  move: (
    chain: KvChain,
    between: { from: KvControl; to: KvControl },
    signal: AbortSignal,
  ) => Promise<KvOutcome>;
  tell: (fact: Fact) => void;
}

export class KvMoves {
  readonly #parts: KvMovesParts;
  readonly #running = new Set<AbortController>();
  #closed = false;

  constructor(parts: KvMovesParts) {
    this.#parts = parts;
  }

  /** Each ends with one `replicated`, told later and never from within this call. */
  begin(order: ReplicateOrder): void {
    void this.#carryOut(order);
  }

  /** Breaks off what is under way; nobody is told any more. */
  close(): void {
    this.#closed = true;
    for (const leaving of this.#running) leaving.abort();
  }

  async #carryOut(order: ReplicateOrder): Promise<void> {
    const { clock, sink, tell } = this.#parts;
    const beganUs = clock.nowUs();
    const leaving = new AbortController();
    this.#running.add(leaving);
    const cancel = clock.after(order.usMax, () => leaving.abort());
    const late = new Promise<Ended>((resolve) => {
      leaving.signal.addEventListener('abort', () => resolve({ outcome: undefined, why: LATE }));
    });
    // Requests may wait for it: an engine that does not let go holds nobody up.
    const { outcome, why } = await Promise.race([this.#move(order, leaving.signal), late]);
    cancel();
    this.#running.delete(leaving);
    if (this.#closed) return;
    const { blocks, tokens } = outcome ?? { blocks: 0, tokens: 0 };
    const ok = blocks > 0;
    const tookUs = clock.nowUs() - beganUs;
    tell({ kind: 'replicated', move: order.move, ok, blocks, tokens, tookUs });
    if (ok) return;
    const sentence = `A prefix of ${order.hashes.length} KV blocks was not copied from ${order.from} to ${order.to}: ${why}`;
    sink.note({ kind: 'warning', sentence });
  }

  async #move({ from, to, hashes, leaves }: ReplicateOrder, signal: AbortSignal): Promise<Ended> {
    const { kvOf, move } = this.#parts;
    const between = { from: kvOf(from), to: kvOf(to) };
    if (between.from === undefined || between.to === undefined) {
      return { outcome: undefined, why: 'one of them is gone, or takes no wishes about its KV' };
    }
    const ends = { from: between.from, to: between.to };
    try {
      const outcome = await move({ kind: 'blocks', hashes }, ends, signal);
      // Advice: what it does not release it forgets when it needs the room.
      if (leaves && outcome.blocks > 0) {
        void ends.from.release({ kind: 'blocks', hashes }).catch(() => undefined);
      }
      return { outcome, why: outcome.sentence ?? outcome.answer };
    } catch (error) {
      return { outcome: undefined, why: error instanceof Error ? error.message : String(error) };
    }
  }
}
