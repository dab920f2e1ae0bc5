/** An answer of which somebody hears each part, and once when it is over, however that came. */
import type { Part } from '../model/part.ts';

export interface PartsWatch {
  part?: (part: Part) => void;
  over: () => void;
}

export class WatchedParts implements AsyncIterableIterator<Part> {
  readonly #parts: AsyncIterableIterator<Part>;
  readonly #watch: PartsWatch;
  #isOver = false;

  constructor(parts: AsyncIterableIterator<Part>, watch: PartsWatch) {
    this.#parts = parts;
    this.#watch = watch;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Part, undefined>> {
    try {
      const result = await this.#parts.next();
      if (result.done === true) this.#over();
      else this.#watch.part?.(result.value);
      return result;
    } catch (error) {
      this.#over();
      throw error;
    }
  }

  async return(): Promise<IteratorResult<Part, undefined>> {
    this.#over();
    await this.#parts.return?.();
    return { done: true, value: undefined };
  }

  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#watch.over();
  }
}
