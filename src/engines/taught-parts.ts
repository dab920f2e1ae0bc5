/**
 * An answer that is asked for again where its engine refused what the question looked like, and whoever
 * asked knows better now. Engines that speak one API differ in which of its fields they take, each new
 * model takes others, and none says so before it is asked.
 */
import { GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';

/** Each field that an engine does not take costs one question, once. */
const LESSONS_MAX = 6;

export class TaughtParts implements AsyncIterableIterator<Part> {
  readonly #ask: () => AsyncIterableIterator<Part>;
  readonly #learn: (refusal: GatewayError) => boolean;
  #parts: AsyncIterableIterator<Part>;
  #begun = false;

  /** `learn`: whether the refusal taught anything, so that `ask` asks otherwise now. */
  constructor(ask: () => AsyncIterableIterator<Part>, learn: (refusal: GatewayError) => boolean) {
    this.#ask = ask;
    this.#learn = learn;
    this.#parts = ask();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Part, undefined>> {
    return this.#begun ? this.#parts.next() : this.#first();
  }

  async return(): Promise<IteratorResult<Part, undefined>> {
    await this.#parts.return?.();
    return { done: true, value: undefined };
  }

  async #first(): Promise<IteratorResult<Part, undefined>> {
    for (let lessons = 0; ; lessons++) {
      try {
        const first = await this.#parts.next();
        this.#begun = true;
        return first;
      } catch (error) {
        const isRefusal = error instanceof GatewayError && error.code === 'invalid_request';
        if (!isRefusal || lessons === LESSONS_MAX || !this.#learn(error)) throw error;
        this.#parts = this.#ask();
      }
    }
  }
}
