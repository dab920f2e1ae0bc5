/** What the rules remember of each thread, within a bound of bytes: the one unused for longest goes. */
import { assert } from '../../base/assert.ts';
import type { KnownCall } from './call-ids.ts';
import type { Encoding } from './encoding.ts';

export interface ThreadMemory {
  encoding: Encoding;
  toolNames: readonly string[];
  calls: readonly KnownCall[];
}

export const NOTHING_KNOWN: ThreadMemory = {
  encoding: new Uint32Array(0),
  toolNames: [],
  calls: [],
};

export class ThreadMemories {
  readonly #threads = new Map<string, ThreadMemory>();
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  find(thread: string): ThreadMemory {
    return this.#threads.get(thread) ?? NOTHING_KNOWN;
  }

  keep(thread: string, memory: ThreadMemory): void {
    this.#forget(thread);
    this.#threads.set(thread, memory);
    this.#bytes += bytesOf(memory);
    for (const oldest of this.#threads.keys()) {
      if (this.#bytes <= this.#bytesMax) return;
      this.#forget(oldest);
    }
  }

  /** Recomputes what `bytes` says. */
  check(): void {
    const bytes = [...this.#threads.values()].reduce((sum, memory) => sum + bytesOf(memory), 0);
    assert(bytes === this.#bytes, `threads take ${bytes} bytes, but ${this.#bytes} are booked`);
  }

  #forget(thread: string): void {
    const memory = this.#threads.get(thread);
    if (memory === undefined) return;
    this.#threads.delete(thread);
    this.#bytes -= bytesOf(memory);
  }
}

/** Two bytes a character, and what an entry, a string and an object take besides. */
function bytesOf({ encoding, toolNames, calls }: ThreadMemory): number {
  const names = toolNames.reduce((sum, name) => sum + 2 * name.length + 32, 0);
  const ids = calls.reduce((sum, { id }) => sum + 2 * id.length + 64, 0);
  return 512 + encoding.byteLength + names + ids;
}
