/**
 * Recordings of what comes in: `GET /stator/v1/recording` streams one for as long as somebody reads, and a file
 * takes one from start to end where the configuration names it. Costs nothing while there is none.
 */
import { sleep } from '../../base/sleep.ts';
import type { Call } from '../../http/call.ts';
import { GatewayError } from '../../model/error.ts';
import type { Clock, Note, Sink } from '../../ports.ts';
import type { ThreadLimits } from './recorded-threads.ts';
import { Recorder } from './recorder.ts';

export interface RecordingLimits extends ThreadLimits {
  /** At once. */
  recordingsMax: number;
  /** Rows that wait for a slow reader; what comes then is left out. */
  waitingBytesMax: number;
  /** An empty line tells a silent connection from a lost one. */
  quietUsMax: number;
}

export const RECORDING_LIMITS: RecordingLimits = {
  threadsMax: 10_000,
  childrenMax: 64,
  rowBytesMax: 64 * 1024 * 1024,
  recordingsMax: 4,
  waitingBytesMax: 16 * 1024 * 1024,
  quietUsMax: 10_000_000,
};

export class Recordings implements Sink {
  readonly #clock: Clock;
  readonly #limits: RecordingLimits;
  readonly #recorders = new Set<Recorder>();
  readonly #closing = new AbortController();

  constructor(clock: Clock, limits: RecordingLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  note(note: Note): void {
    if (this.#recorders.size === 0) return;
    if (note.kind === 'asked' && note.asked.wire !== 'openai-embeddings') {
      for (const recorder of this.#recorders) recorder.arrived(note.asked);
    } else if (note.kind === 'request') {
      for (const recorder of this.#recorders) recorder.ended(note.receipt);
    }
  }

  /** The returned function ends it. */
  begin(given: {
    text: boolean;
    beganMs: number | undefined;
    write: (row: string) => boolean;
  }): () => void {
    const recorder = new Recorder({ ...given, clock: this.#clock, limits: this.#limits });
    this.#recorders.add(recorder);
    return () => this.#recorders.delete(recorder);
  }

  /** `?text=1` with text; `?began=MS` goes on with a recording that began then. */
  async stream(call: Call): Promise<void> {
    const { recordingsMax, waitingBytesMax, quietUsMax } = this.#limits;
    if (this.#recorders.size >= recordingsMax) {
      throw new GatewayError('queue_full', `${recordingsMax} recordings are running; end one.`);
    }
    const waiting: string[] = [];
    let bytes = 0;
    let wake = () => {};
    const write = (row: string) => {
      if (bytes + row.length > waitingBytesMax) return false;
      bytes += row.length;
      waiting.push(row);
      wake();
      return true;
    };
    const text = call.query.get('text') === '1';
    const end = this.begin({ text, beganMs: beganIn(call), write });
    const signal = AbortSignal.any([call.signal, this.#closing.signal]);
    try {
      call.reply.head(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-cache' });
      while (!signal.aborted) {
        const rows = waiting.splice(0);
        // Empty where nothing came: the reader sees that somebody is there.
        await call.reply.write(`${rows.join('\n')}\n`);
        for (const row of rows) bytes -= row.length;
        if (waiting.length > 0) continue;
        const woken = new AbortController();
        wake = () => woken.abort();
        await sleep(this.#clock, quietUsMax, AbortSignal.any([signal, woken.signal]));
      }
    } finally {
      end();
    }
    call.reply.end();
  }

  close(): void {
    this.#closing.abort();
  }
}

function beganIn(call: Call): number | undefined {
  const began = call.query.get('began');
  if (began === null) return undefined;
  if (/^\d{1,15}$/.test(began)) return Number(began);
  throw new GatewayError('invalid_request', 'began must be milliseconds since 1970.', {
    param: 'began',
  });
}
