/** Virtual time: a heap of (atUs, order) → what runs then. Nothing passes but what was scheduled. */
import { assert } from '../base/assert.ts';
import { Heap } from '../base/heap.ts';
import type { Cancel, Clock } from '../ports.ts';

export class SimClock implements Clock {
  readonly #heap = new Heap<{ run: (() => void) | undefined }>();
  #nowUs = 0;

  nowUs(): number {
    return this.#nowUs;
  }

  wallMs(): number {
    return Math.floor(this.#nowUs / 1000);
  }

  after(us: number, run: () => void): Cancel {
    assert(Number.isInteger(us) && us >= 0, 'virtual time is whole microseconds, ahead');
    const entry: { run: (() => void) | undefined } = { run };
    this.#heap.push(this.#nowUs + us, entry);
    return () => {
      entry.run = undefined;
    };
  }

  /** Runs what comes next; false when nothing does. */
  step(): boolean {
    for (let next = this.#heap.pop(); next !== undefined; next = this.#heap.pop()) {
      if (next.value.run === undefined) continue;
      this.#nowUs = next.key;
      next.value.run();
      return true;
    }
    return false;
  }
}
