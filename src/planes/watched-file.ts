/**
 * A small file that somebody else writes, looked at again and again: that works wherever it lies, however
 * it is put in its place. What is new counts when it is read twice the same, since whoever writes it may
 * not be done.
 */
import { readFile } from 'node:fs/promises';
import type { Cancel, Clock } from '../ports.ts';

export interface WatchedFileGiven {
  clock: Clock;
  path: string;
  everyUs: number;
  /** What is in it already known; undefined: its first text counts at once. */
  known?: string;
  on: (text: string) => void;
  /** It could not be read; told once until it can. */
  unreadable: (reason: string) => void;
}

export class WatchedFile {
  readonly #given: WatchedFileGiven;
  /** What counts. */
  #text: string | undefined;
  /** What may count next time. */
  #next: string | undefined;
  #isReadable = true;
  #closed = false;
  #cancel: Cancel = () => {};

  constructor(given: WatchedFileGiven) {
    this.#given = given;
    this.#text = given.known;
    void this.#look();
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  async #look(): Promise<void> {
    const { clock, path, everyUs } = this.#given;
    try {
      this.#read(await readFile(path, 'utf8'));
      this.#isReadable = true;
    } catch (error) {
      this.#unreadable(error as NodeJS.ErrnoException);
    }
    if (!this.#closed) this.#cancel = clock.after(everyUs, () => void this.#look());
  }

  #read(text: string): void {
    if (this.#closed || text === this.#text) {
      this.#next = undefined;
    } else if (this.#text === undefined || text === this.#next) {
      this.#text = text;
      this.#next = undefined;
      this.#given.on(text);
    } else this.#next = text;
  }

  #unreadable({ code, message }: NodeJS.ErrnoException): void {
    this.#next = undefined;
    if (this.#closed || !this.#isReadable) return;
    this.#isReadable = false;
    this.#given.unreadable(code ?? message);
  }
}
