import type { Note, Sink } from '../ports.ts';

/** Tells several sinks as one. */
export class Sinks implements Sink {
  readonly #sinks: readonly Sink[];

  constructor(sinks: readonly Sink[]) {
    this.#sinks = sinks;
  }

  note(note: Note): void {
    for (const sink of this.#sinks) sink.note(note);
  }
}
