/** JSON values each on a line of its own, as Ollama streams them: read as events without a name. */
import { Utf8Reader } from '../base/utf8.ts';
import type { SseEvent } from './sse.ts';

/** Reads lines out of byte chunks cut anywhere; empty ones are skipped, one longer than `bytesMax` is an error. */
export class LineReader {
  readonly #text = new Utf8Reader();
  readonly #bytesMax: number;
  #rest = '';

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  push(chunk: Uint8Array): SseEvent[] {
    const text = this.#text.push(chunk);
    const end = text.lastIndexOf('\n');
    const whole = end < 0 ? '' : this.#rest + text.slice(0, end);
    this.#rest = end < 0 ? this.#rest + text : text.slice(end + 1);
    if (this.#rest.length > this.#bytesMax) throw new Error('a line of the stream is too long');
    const lines = whole.split('\n').map((line) => line.trim());
    return lines.filter((line) => line !== '').map((data) => ({ event: undefined, data }));
  }
}
