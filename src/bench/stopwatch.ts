/** Time that something took: what a user waits, and what this process worked for it. */
export interface Took {
  wallMs: number;
  /** User and system, of all threads; what other processes do disturbs it less than wall time. */
  cpuMs: number;
}

/** Runs until it is read. */
export class Stopwatch {
  readonly #startNs = process.hrtime.bigint();
  readonly #cpu = process.cpuUsage();

  read(): Took {
    const { user, system } = process.cpuUsage(this.#cpu);
    return {
      wallMs: Number(process.hrtime.bigint() - this.#startNs) / 1e6,
      cpuMs: (user + system) / 1000,
    };
  }
}
