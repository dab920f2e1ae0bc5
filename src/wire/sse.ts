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
  /** The last line ended in CR: an LF that follows belongs to it. */
  #afterCr = false;
  #event: string | undefined;
  #data: string[] = [];
  #dataLength = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  push(chunk: Uint8Array): SseEvent[] {
    this.#rest += this.#decoder.decode(chunk, { stream: true });
    const events: SseEvent[] = [];
    for (;;) {
      if (this.#afterCr && this.#rest !== '') {
        if (this.#rest.startsWith('\n')) this.#rest = this.#rest.slice(1);
        this.#afterCr = false;
      }
      const end = this.#rest.search(/[\r\n]/);
      if (end < 0) break;
      const line = this.#rest.slice(0, end);
      this.#afterCr = this.#rest[end] === '\r';
      this.#rest = this.#rest.slice(end + 1);
      const event = this.#line(line);
      if (event !== undefined) events.push(event);
    }
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
      const event = { event: this.#event, data: this.#data.join('\n') };
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
