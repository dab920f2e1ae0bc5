/** A recording on disk, readable by its owner alone. One that is there goes on; a torn last line ends there. */
import {
  closeSync,
  createWriteStream,
  openSync,
  readSync,
  statSync,
  type WriteStream,
} from 'node:fs';

const HEADER_BYTES_MAX = 4096;
/** Rows that wait for a slow disk; what comes then is left out. */
const WAITING_BYTES_MAX = 16 * 1024 * 1024;

export class RecordingFile {
  /** Since 1970, of the recording that goes on; undefined where this is a new one. */
  readonly beganMs: number | undefined;
  readonly #file: WriteStream;
  readonly #bytesMax: number;
  readonly #complain: (sentence: string) => void;
  readonly #path: string;
  #bytes: number;
  #isClosed = false;

  /** Throws one sentence where the file is something else or cannot be read; `complain` hears when it ends early. */
  constructor(path: string, given: { bytesMax: number; complain: (sentence: string) => void }) {
    const found = foundAt(path);
    this.#path = path;
    this.#bytesMax = given.bytesMax;
    this.#complain = given.complain;
    this.beganMs = found?.beganMs;
    this.#bytes = found?.bytes ?? 0;
    this.#file = createWriteStream(path, { flags: 'a', mode: 0o600 });
    this.#file.on('error', (error) =>
      this.#end(`${path} is not written any more: ${error.message}.`),
    );
    if (found?.isTorn) this.#file.write('\n');
  }

  /** Takes a row, or says that it has no room for it. */
  write(row: string): boolean {
    if (this.#isClosed || this.#file.writableLength > WAITING_BYTES_MAX) return false;
    const bytes = Buffer.byteLength(row) + 1;
    if (this.#bytes + bytes > this.#bytesMax) {
      this.#end(`The recording ${this.#path} ends: it is as large as it may be.`);
      return false;
    }
    this.#bytes += bytes;
    this.#file.write(`${row}\n`);
    return true;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#file.errored !== null) return;
    await new Promise<void>((resolve) => this.#file.end(resolve));
  }

  #end(sentence: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#complain(sentence);
  }
}

function foundAt(path: string): { beganMs: number; bytes: number; isTorn: boolean } | undefined {
  const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (bytes === 0) return undefined;
  const file = openSync(path, 'r');
  try {
    const head = Buffer.alloc(Math.min(bytes, HEADER_BYTES_MAX));
    readSync(file, head, 0, head.length, 0);
    const last = Buffer.alloc(1);
    readSync(file, last, 0, 1, bytes - 1);
    const beganMs = beganIn(head.toString('utf8').split('\n')[0]);
    if (beganMs === undefined) {
      throw new Error(`${path} is there and is no recording of a gateway; name another file.`);
    }
    return { beganMs, bytes, isTorn: last.toString() !== '\n' };
  } finally {
    closeSync(file);
  }
}

function beganIn(line: string): number | undefined {
  try {
    const { schema, began } = JSON.parse(line) as { schema?: string; began?: string };
    const ms = Date.parse(began ?? '');
    return schema === 'stator.recording' && Number.isFinite(ms) ? ms : undefined;
  } catch {
    return undefined; // It is no JSON: somebody else's file.
  }
}
