/** Workers in a list that somebody else writes. What cannot be used of it leaves the last one as it is. */
import type { WorkerConfig } from '../model/fleet-config.ts';
import type { Clock, Sink } from '../ports.ts';
import type { Discovery, Found } from './discovery.ts';
import { WatchedFile } from './watched-file.ts';

export interface FileDiscoveryGiven {
  clock: Clock;
  sink: Sink;
  path: string;
  everyUs: number;
  /** What the file says; throws a sentence. */
  parse: (text: string) => WorkerConfig[];
}

export class FileDiscovery implements Discovery {
  readonly #given: FileDiscoveryGiven;
  #file: WatchedFile | undefined;

  constructor(given: FileDiscoveryGiven) {
    this.#given = given;
  }

  watch(on: (found: readonly Found[]) => void): void {
    const { clock, path, everyUs, parse } = this.#given;
    this.#file = new WatchedFile({
      ...{ clock, path, everyUs },
      on: (text) => {
        let workers: WorkerConfig[];
        try {
          workers = parse(text);
        } catch (error) {
          return this.#warn(`is wrong: ${(error as Error).message}`);
        }
        on(workers.map((config) => ({ config })));
      },
      unreadable: (reason) => this.#warn(`cannot be read: ${reason}`),
    });
  }

  close(): void {
    this.#file?.close();
  }

  #warn(what: string): void {
    const sentence = `The list of workers in ${this.#given.path} ${what}; those that were there last stay.`;
    this.#given.sink.note({ kind: 'warning', sentence });
  }
}
