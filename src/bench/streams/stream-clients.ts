/** Many clients in one process: each reads one streamed answer, and what matters is only counted. */
import { Agent, type ClientRequest, request } from 'node:http';

export interface StreamCounts {
  /** Streams that have begun and not ended. */
  open: number;
  /** Server-sent events so far, over all streams. */
  events: number;
  /** Whole, with their last event. */
  ended: number;
  /** Refused, cut, or ended without their last event. */
  failed: number;
  /** What the first that failed said. */
  reason: string | undefined;
}

/** Opened at once, then the next, so that no listen queue overflows. */
const OPENED_AT_ONCE = 64;

const LAST = Buffer.from('data: [DONE]\n\n');

export class StreamClients {
  readonly counts: StreamCounts = { open: 0, events: 0, ended: 0, failed: 0, reason: undefined };
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 64 });
  readonly #requests = new Set<ClientRequest>();
  readonly #port: number;
  readonly #path: string;

  constructor(port: number, path: string) {
    this.#port = port;
    this.#path = path;
  }

  /** Resolves when each of `count` streams has begun, or failed. */
  async open(count: number, body: (index: number) => string): Promise<void> {
    for (let opened = 0; opened < count; opened += OPENED_AT_ONCE) {
      const size = Math.min(OPENED_AT_ONCE, count - opened);
      await Promise.all(Array.from({ length: size }, (_, i) => this.ask(body(opened + i))));
    }
  }

  /** Resolves to the milliseconds until the first event with words in it; undefined: it failed. */
  ask(body: string, named: Record<string, string> = {}): Promise<number | undefined> {
    const { counts } = this;
    const sentMs = performance.now();
    return new Promise((resolve) => {
      let begun = false;
      let whole = false;
      let over = false;
      const end = (reason: string) => {
        if (over) return;
        over = true;
        this.#requests.delete(sent);
        if (begun) counts.open--;
        if (whole) counts.ended++;
        else counts.failed++;
        if (!whole) counts.reason ??= reason;
        resolve(undefined);
      };
      const headers = {
        ...named,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      };
      const to = { host: '127.0.0.1', port: this.#port, path: this.#path, method: 'POST' };
      const sent = request({ ...to, headers, agent: this.#agent }, (response) => {
        if (response.statusCode !== 200) {
          response.on('data', (chunk) => end(`${response.statusCode}: ${String(chunk)}`));
          return;
        }
        response.on('data', (chunk: Buffer) => {
          counts.events += eventsIn(chunk);
          whole ||= chunk.includes(LAST);
          if (begun || !chunk.includes('"content":" ')) return;
          begun = true;
          counts.open++;
          resolve(performance.now() - sentMs);
        });
        response.on('close', () => end('the stream was cut'));
      });
      this.#requests.add(sent);
      sent.on('error', (error) => end(error.message));
      sent.end(body);
    });
  }

  /** Leaves all streams as they are; what they were is counted neither as ended nor as failed. */
  close(): void {
    const { ended, failed } = this.counts;
    for (const sent of this.#requests) sent.destroy();
    this.#agent.destroy();
    Object.assign(this.counts, { ended, failed });
  }
}

function eventsIn(chunk: Buffer): number {
  let count = 0;
  for (let at = chunk.indexOf('\n\n'); at >= 0; at = chunk.indexOf('\n\n', at + 2)) count++;
  return count;
}
