/**
 * What an engine has told of its KV blocks: batches of events, numbered from 0 on, the recent ones
 * kept. Whoever comes late or lost some asks for all `since` a number:
 *
 *   it is kept still      the batches from there on
 *   it is not             the state instead: a batch that begins with AllBlocksCleared, then all blocks
 *                         held, in pieces that bear the number of the batch they follow; what is
 *                         published meanwhile comes between them
 *
 * So an answer is to be taken in order, a number that repeats continues its batch, and after the last
 * one nothing is missing. The state is read piece by piece while it changes: each piece is true as of
 * its number, and what changes later is told later.
 */
import { must } from '../base/assert.ts';
import type { KvEvent } from '../model/block.ts';
import { packEvents } from './kv-events.ts';

export interface NumberedBatch {
  number: number;
  payload: Uint8Array;
}

export class KvEventLog {
  readonly #batchesMax: number;
  readonly #nowS: () => number;
  /** Batch `n` lies at `n % batchesMax`. */
  readonly #kept: Uint8Array[] = [];
  readonly #listeners = new Set<(batch: NumberedBatch) => void>();
  #next = 0;
  #held: (() => Iterable<readonly KvEvent[]>) | undefined;

  constructor(given: { batchesMax: number; nowS: () => number }) {
    this.#batchesMax = given.batchesMax;
    this.#nowS = given.nowS;
  }

  /** The number of the next batch. */
  get next(): number {
    return this.#next;
  }

  publish(events: readonly KvEvent[]): void {
    const batch = { number: this.#next, payload: packEvents(events, this.#nowS()) };
    this.#kept[batch.number % this.#batchesMax] = batch.payload;
    this.#next++;
    for (const listener of this.#listeners) listener(batch);
  }

  /** Hears each batch as it is published; the returned function ends it. */
  listen(on: (batch: NumberedBatch) => void): () => void {
    this.#listeners.add(on);
    return () => this.#listeners.delete(on);
  }

  /** Who can say what is held: stored events of all blocks, parents before children, piece by piece. */
  tellsState(held: () => Iterable<readonly KvEvent[]>): void {
    this.#held = held;
  }

  /**
   * Everything from batch `from` on; ends when there is no more. To be drawn at leisure: what is
   * published meanwhile is part of it.
   */
  *since(from: number): Generator<NumberedBatch> {
    let at = from;
    while (at < this.#next) {
      if (at < this.first) {
        at = this.#held === undefined ? this.first : yield* this.#state(this.#held);
      } else {
        yield this.#batch(at++);
      }
    }
  }

  /** The number of the earliest batch that is kept, or of the next where none is. */
  get first(): number {
    return Math.max(0, this.#next - this.#batchesMax);
  }

  /** A batch that is kept. */
  batch(number: number): NumberedBatch | undefined {
    return number < this.first || number >= this.#next ? undefined : this.#batch(number);
  }

  #batch(number: number): NumberedBatch {
    const payload = must(this.#kept[number % this.#batchesMax], 'a kept batch is there');
    return { number, payload };
  }

  /** Returns the number of the batch that follows. */
  *#state(held: () => Iterable<readonly KvEvent[]>): Generator<NumberedBatch, number> {
    let last = this.#next - 1;
    yield { number: last, payload: packEvents([{ kind: 'cleared' }], this.#nowS()) };
    for (const events of held()) {
      // As true as of now: what was told until now goes before it, and nothing later.
      const next = this.#next;
      const payload = packEvents(events, this.#nowS());
      while (last + 1 < next) {
        if (last + 1 < this.first) return last + 1; // Too slow: it begins anew.
        yield this.#batch(++last);
      }
      yield { number: last, payload };
    }
    return last + 1;
  }
}
