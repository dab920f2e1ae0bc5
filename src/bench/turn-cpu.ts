/**
 * CPU time that this thread takes between two turns of its event loop. Unlike the time on the wall it
 * leaves out what other processes took, so it says on a busy machine too for how long our own code would
 * hold up a request. Its helpers (garbage collection, sockets) are not in it.
 *
 * Read from Linux's /proc/thread-self/schedstat; asking for the process's usage first brings the
 * thread's figure up to date, which is otherwise as old as the scheduler's last tick.
 */
import { closeSync, openSync, readSync } from 'node:fs';

const FILE = '/proc/thread-self/schedstat';
const NUMBER_BYTES = 32;

export class TurnCpu {
  readonly #file: number;
  readonly #bytes = Buffer.alloc(NUMBER_BYTES);
  #nowMs: number;
  #msMax = 0;
  #isOver = false;

  /** Keeps the event loop turning until `end`. Undefined where the system does not tell. */
  static start(): TurnCpu | undefined {
    try {
      return new TurnCpu(openSync(FILE, 'r'));
    } catch {
      return undefined;
    }
  }

  private constructor(file: number) {
    this.#file = file;
    this.#nowMs = this.#read();
    this.#turn();
  }

  /** The most of any turn, in milliseconds. */
  end(): number {
    this.#isOver = true;
    closeSync(this.#file);
    return this.#msMax;
  }

  #turn(): void {
    if (this.#isOver) return;
    const nowMs = this.#read();
    this.#msMax = Math.max(this.#msMax, nowMs - this.#nowMs);
    this.#nowMs = nowMs;
    setImmediate(() => this.#turn());
  }

  #read(): number {
    process.cpuUsage();
    readSync(this.#file, this.#bytes, 0, NUMBER_BYTES, 0);
    return Number.parseInt(this.#bytes.toString('latin1'), 10) / 1e6;
  }
}
