/** Server-sent events: the frame, and a reader for the streams of engines. */

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
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: false });
  readonly #bytesMax: number;
  #rest = '';
  #event: string | undefined;
  #data: string[] = [];

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  push(chunk: Uint8Array): SseEvent[] {
    this.#rest += this.#decoder.decode(chunk, { stream: true });
    const events: SseEvent[] = [];
    for (;;) {
      const end = this.#rest.search(/[\r\n]/);
      // A CR at the very end may be half of a CR LF: wait for what follows.
      if (end < 0 || (this.#rest[end] === '\r' && end === this.#rest.length - 1)) break;
      const line = this.#rest.slice(0, end);
      const width = this.#rest[end] === '\r' && this.#rest[end + 1] === '\n' ? 2 : 1;
      this.#rest = this.#rest.slice(end + width);
      const event = this.#line(line);
      if (event !== undefined) events.push(event);
    }
    if (this.#rest.length > this.#bytesMax) throw new Error('an event of the stream is too long');
    return events;
  }

  #line(line: string): SseEvent | undefined {
    if (line === '') {
      if (this.#data.length === 0) {
        this.#event = undefined;
        return undefined;
      }
      const event = { event: this.#event, data: this.#data.join('\n') };
      this.#event = undefined;
      this.#data = [];
      return event;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#event = value;
    return undefined;
  }
}
