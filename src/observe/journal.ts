/**
 * Every kernel input, one JSON line each, so that a strange decision can be replayed on a laptop.
 * Block hashes are hex strings; everything else is the fact as it was.
 */
import { createWriteStream, type WriteStream } from 'node:fs';
import type { Note, Sink } from '../ports.ts';

export class Journal implements Sink {
  readonly #file: WriteStream;

  constructor(path: string) {
    this.#file = createWriteStream(path, { flags: 'a', mode: 0o600 });
  }

  note(note: Note): void {
    if (note.kind !== 'kernel') return;
    this.#file.write(`${journalLine(note.atUs, note.fact)}\n`);
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#file.end(resolve));
  }
}

export function journalLine(atUs: number, fact: unknown): string {
  return JSON.stringify({ atUs, fact }, (_key, value: unknown) => {
    if (value instanceof BigUint64Array) return Array.from(value, (hash) => hash.toString(16));
    return value;
  });
}
