/** An engine that dies or hangs when it is told to, as a process does, or reports what is not so. */
import { sleep } from '../base/sleep.ts';
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part, Usage } from '../model/part.ts';
import type { Clock, Embedding, Engine, EngineReport, Job } from '../ports.ts';

/** What somebody who asks a hung process for its health waits, before he takes it for unwell. */
const HEALTH_US_MAX = 2_000_000;

export class FaultyEngine implements Engine {
  readonly worker: WorkerId;
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #reported: ((usage: Usage) => Usage) | undefined;
  /** Aborts what runs there. */
  readonly #death = new AbortController();
  /** Resolves when it goes on. */
  #hang: Promise<void> | undefined;

  constructor(
    engine: Engine,
    given: { clock: Clock; reported: ((usage: Usage) => Usage) | undefined },
  ) {
    this.worker = engine.worker;
    this.#engine = engine;
    this.#clock = given.clock;
    this.#reported = given.reported;
  }

  /** Connections break, and nobody answers any more. */
  die(): void {
    this.#death.abort();
  }

  /** Connections stand, and nothing comes over them. */
  hang(us: number): void {
    const over = sleep(this.#clock, us, this.#death.signal);
    this.#hang = over.then(() => {
      this.#hang = undefined;
    });
  }

  async *generate(job: Job, signal: AbortSignal): AsyncGenerator<Part> {
    const leaving = AbortSignal.any([signal, this.#death.signal]);
    await this.#answers(signal);
    for await (const part of this.#engine.generate(job, leaving)) {
      await this.#answers(signal);
      if (signal.aborted) return;
      const isLie = part.kind === 'done' && this.#reported !== undefined;
      yield isLie ? { ...part, usage: this.#reported?.(part.usage) ?? part.usage } : part;
    }
    await this.#answers(signal);
  }

  continues(job: Job): boolean {
    return this.#engine.continues?.(job) === true;
  }

  embed(job: Job, signal: AbortSignal): Promise<Embedding> {
    return this.#engine.embed(job, signal);
  }

  resetCache(): Promise<void> {
    return this.#engine.resetCache();
  }

  async healthy(): Promise<boolean> {
    if (this.#hang === undefined) return !this.#death.signal.aborted;
    await sleep(this.#clock, HEALTH_US_MAX, this.#death.signal);
    return false;
  }

  report(): Promise<EngineReport | undefined> {
    return this.#engine.report();
  }

  close(): void {}

  /** Throws where it is dead by then. */
  async #answers(signal: AbortSignal): Promise<void> {
    if (this.#hang !== undefined) await Promise.race([this.#hang, aborted(signal)]);
    if (!this.#death.signal.aborted) return;
    throw new GatewayError('engine_lost', 'The engine could not be reached.', {
      isUnreached: true,
    });
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
