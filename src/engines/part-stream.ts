/** The parts that the events of an engine's answer mean. No generator: each token of each stream pays for it. */
import type { Part } from '../model/part.ts';
import type { SseEvent } from '../wire/sse.ts';
import type { EventStream } from './event-stream.ts';

export class PartStream implements AsyncIterableIterator<Part> {
  readonly #events: EventStream;
  readonly #read: (event: SseEvent) => Part[];
  #parts: Part[] = [];
  #at = 0;

  constructor(events: EventStream, read: (event: SseEvent) => Part[]) {
    this.#events = events;
    this.#read = read;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Part, undefined>> {
    if (this.#at === this.#parts.length) return this.#more();
    return Promise.resolve({ done: false, value: this.#parts[this.#at++] });
  }

  return(): Promise<IteratorResult<Part, undefined>> {
    this.#parts = [];
    this.#at = 0;
    return this.#events.return() as Promise<IteratorResult<never, undefined>>;
  }

  /** What cannot be read ends the stream: the engine is told by the connection that closes. */
  async #more(): Promise<IteratorResult<Part, undefined>> {
    for (;;) {
      const { done, value } = await this.#events.next();
      if (done === true) return { done, value: undefined };
      try {
        this.#parts = value.length === 1 ? this.#read(value[0]) : value.flatMap(this.#read);
      } catch (error) {
        await this.return();
        throw error;
      }
      if (this.#parts.length === 0) continue;
      this.#at = 1;
      return { done: false, value: this.#parts[0] };
    }
  }
}
