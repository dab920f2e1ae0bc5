/** One line of JSON per fact worth a person's eye. Ids and numbers; never text, keys or prompts. */
import type { Clock, Note, Sink } from '../ports.ts';

export class Log implements Sink {
  readonly #clock: Clock;
  readonly #write: (line: string) => void;

  constructor(given: { clock: Clock; write: (line: string) => void }) {
    this.#clock = given.clock;
    this.#write = given.write;
  }

  note(note: Note): void {
    switch (note.kind) {
      case 'workerUp':
        return this.#line('info', `${note.worker} is up`);
      case 'workerDown':
        return this.#line('warn', `${note.worker} left: ${note.reason}`);
      case 'workerHealth':
        return note.healthy
          ? this.#line('info', `${note.worker} is well again`)
          : this.#line('warn', `${note.worker} is not well, and gets nothing until it is`);
      case 'feedLost':
        return this.#line(
          'warn',
          `${note.worker} lost ${note.missing} batches of KV events; its cache is predicted until all is known again`,
        );
      case 'feedSynced':
        return this.#line('info', `what ${note.worker} holds is known again`);
      case 'warning':
        return this.#line('warn', note.sentence);
      case 'asked':
      case 'foreseen':
      case 'prefetched':
      case 'kvAction':
      case 'request':
      case 'kernel':
        return;
    }
  }

  #line(level: 'info' | 'warn', message: string): void {
    const time = new Date(this.#clock.wallMs()).toISOString();
    this.#write(JSON.stringify({ time, level, message }));
  }
}
