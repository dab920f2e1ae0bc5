/** Server-sent events: the frame, and a reader for the streams of engines. */

import { Utf8Reader } from '../base/utf8.ts';

const LF = 10;
const CR = 13;

/** One event; `data` must hold no line break (JSON never does). */
export function sse(data: string, event?: string): string {
  return event === undefined ? `data: ${data}\n\n` : `event: ${event}\ndata: ${data}\n\n`;
}

export interface SseEvent {
  event: string | undefined;
  data: string;
}

/**
 * Reads events out of byte chunks cut anywhere. Lines may end in LF, CR LF or CR; comments and
 * unknown fields are skipped; an event longer than `bytesMax` is an error.
 */
export class SseReader {
  readonly #text = new Utf8Reader();
  readonly #bytesMax: number;
  #rest = '';
  /** The last line ended in CR: an LF that follows belongs to it. */
  #afterCr = false;
  #event: string | undefined;
  #data: string[] = [];
  #dataLength = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  push(chunk: Uint8Array): SseEvent[] {
    const text = this.#rest + this.#text.push(chunk);
    const events: SseEvent[] = [];
    const hasCr = this.#afterCr || text.includes('\r');
    let at = 0;
    for (;;) {
      if (this.#afterCr && at < text.length) {
        if (text.charCodeAt(at) === LF) at++;
        this.#afterCr = false;
      }
      const end = hasCr ? lineEnd(text, at) : text.indexOf('\n', at);
      if (end < 0) break;
      const event = this.#line(text.slice(at, end));
      if (event !== undefined) events.push(event);
      this.#afterCr = text.charCodeAt(end) === CR;
      at = end + 1;
    }
    this.#rest = at === text.length ? '' : text.slice(at);
    if (this.#rest.length + this.#dataLength > this.#bytesMax) {
      throw new Error('an event of the stream is too long');
    }
    return events;
  }

  #line(line: string): SseEvent | undefined {
    if (line === '') {
      if (this.#data.length === 0) {
        this.#event = undefined;
        return undefined;
      }
      const [first] = this.#data;
      const data = this.#data.length === 1 ? first : this.#data.join('\n');
      const event = { event: this.#event, data };
      this.#event = undefined;
      this.#data = [];
      this.#dataLength = 0;
      return event;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') {
      this.#data.push(value);
      this.#dataLength += value.length + 1;
    } else if (field === 'event') {
      this.#event = value;
    }
    return undefined;
  }
}

function lineEnd(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === LF || code === CR) return i;
  }
  return -1;
}
