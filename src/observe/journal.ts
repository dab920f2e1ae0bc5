/**
 * Every kernel input, one JSON line each, so that a strange decision can be replayed on a laptop.
 * Block hashes are hex strings; everything else is the fact as it was.
 */
import { createWriteStream, type WriteStream } from 'node:fs';
import type { Note, Sink } from '../ports.ts';

export class Journal implements Sink {
  readonly #file: WriteStream;
  #broken = false;

  /** `complain` hears once that nothing can be written any more; requests go on. */
  constructor(path: string, complain: (sentence: string) => void) {
    this.#file = createWriteStream(path, { flags: 'a', mode: 0o600 });
    this.#file.on('error', (error) => {
      this.#broken = true;
      complain(`The journal ${path} is not written any more: ${error.message}.`);
    });
  }

  note(note: Note): void {
    if (note.kind !== 'kernel' || this.#broken) return;
    this.#file.write(`${journalLine(note.atUs, note.fact)}\n`);
  }

  close(): Promise<void> {
    if (this.#broken) return Promise.resolve();
    return new Promise((resolve) => this.#file.end(resolve));
  }
}

export function journalLine(atUs: number, fact: unknown): string {
  return JSON.stringify({ atUs, fact }, (_key, value: unknown) => {
    if (value instanceof BigUint64Array) return Array.from(value, (hash) => hash.toString(16));
    return value;
  });
}
