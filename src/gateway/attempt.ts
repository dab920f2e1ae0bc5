/**
 * One worker's part of an answer, to its end. By hand, for each token pays for each layer: no timer and
 * no promise of its own, but one watch over the whole.
 */
import { GatewayError } from '../model/error.ts';
import type { RequestId, WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Cancel, Engine } from '../ports.ts';
import type { Answered } from './answered.ts';
import type { Given, Take } from './failover.ts';
import { resumed } from './resumed.ts';

/** Why an answer is not whole. */
export interface Failure {
  thrown: unknown;
  /** Its worker did nothing wrong: it is to be freed. */
  isMoved: boolean;
}

/** So often a silent worker is looked at. */
const WATCH_US = 1_000_000;

export class Attempt {
  readonly #given: Given;
  readonly #worker: WorkerId;
  readonly #engine: Engine | undefined;
  readonly #answered: Answered;
  readonly #take: Take;
  readonly #leaving = new AbortController();
  #isMoved = false;
  #finished = false;
  /** When its worker was last asked for a part that has not come; undefined: it is its client's turn. */
  #waitingUs: number | undefined;
  /** Why it was stopped from here. */
  #stopped: GatewayError | undefined;
  #stop: (failure: Failure | undefined) => void = () => {};
  #cancelWatch: Cancel = () => {};

  constructor(given: Given, of: { worker: WorkerId; answered: Answered; take: Take }) {
    this.#given = given;
    this.#worker = of.worker;
    this.#engine = given.engines.engine(of.worker);
    this.#answered = of.answered;
    this.#take = of.take;
  }

  /** Whether another engine of this kind could end the answer. */
  get canGoOn(): boolean {
    const rest = this.#answered.rest();
    if (this.#answered.isEmpty) return true;
    return rest.every(({ job, finish }) => finish !== undefined || this.#continues(job));
  }

  /** Undefined where it ended as it should. Throws what `take` throws. */
  async run(): Promise<Failure | undefined> {
    const { host, job, signal } = this.#given;
    const leave = () => this.#end(new GatewayError('client_closed', 'The client left.'));
    signal.addEventListener('abort', leave, { once: true });
    const stay = host.movable(job.id as RequestId, () => this.#move());
    this.#watch();
    try {
      return await new Promise<Failure | undefined>((resolve, reject) => {
        this.#stop = resolve;
        if (signal.aborted) leave();
        this.#read().then(resolve, reject);
      });
    } finally {
      this.#cancelWatch();
      stay();
      signal.removeEventListener('abort', leave);
      this.#leaving.abort();
    }
  }

  async #read(): Promise<Failure | undefined> {
    const { clock } = this.#given;
    let parts: AsyncIterator<Part> | undefined;
    try {
      for (;;) {
        if (this.#stopped !== undefined) return this.#over(this.#stopped);
        let part: Part;
        this.#waitingUs = clock.nowUs();
        try {
          parts ??= this.#parts();
          // Read to the end of the stream, past `done`: a connection that is cut cannot serve again.
          const next = await parts.next();
          if (next.done === true) {
            parts = undefined;
            return this.#over(unfinished());
          }
          part = next.value;
        } catch (thrown) {
          parts = undefined;
          return this.#over(thrown);
        }
        this.#waitingUs = undefined;
        // It was given up meanwhile: another goes on from where its client is.
        if (this.#stopped !== undefined) return this.#over(this.#stopped);
        if (part.kind === 'error') return this.#over(part.error);
        this.#answered.add(part);
        this.#finished = part.kind === 'done';
        const room = this.#take(part);
        if (room !== undefined) await room;
      }
    } finally {
      this.#leaving.abort();
      await parts?.return?.();
    }
  }

  #parts(): AsyncIterator<Part> {
    const engine = this.#engine;
    const { ask, job } = this.#given;
    const { signal } = this.#leaving;
    if (engine === undefined) {
      throw new GatewayError('engine_lost', 'The engine left before the request reached it.');
    }
    if (this.#answered.isEmpty) return ask(engine, job, signal)[Symbol.asyncIterator]();
    if (!this.canGoOn) {
      const sentence = 'The engine failed in mid-answer, and no other can go on from there.';
      throw new GatewayError('engine_failed', sentence);
    }
    return resumed(this.#answered, (rest, stop) => ask(engine, rest, stop), signal);
  }

  #continues(job: Given['job']): boolean {
    return this.#engine?.continues?.(job) === true;
  }

  #over(thrown: unknown): Failure | undefined {
    if (this.#finished) return undefined;
    return { thrown: this.#stopped ?? thrown, isMoved: this.#isMoved };
  }

  /** Its worker is to be freed; where no other could go on, it ends where it is. */
  #move(): void {
    if (this.#finished || !this.canGoOn) return;
    this.#isMoved = true;
    this.#end(new GatewayError('engine_lost', 'The engine was drained.'));
  }

  /** Ends it now where it waits for its worker, and else when its client has taken the last part. */
  #end(why: GatewayError): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = why;
    if (this.#waitingUs === undefined) return;
    this.#stop(this.#over(why));
    this.#leaving.abort(why);
  }

  #watch(): void {
    const { clock, engines } = this.#given;
    this.#cancelWatch = clock.after(WATCH_US, () => {
      const silentUs = this.#waitingUs === undefined ? 0 : clock.nowUs() - this.#waitingUs;
      const why = silentUs < WATCH_US ? undefined : engines.givenUp(this.#worker, silentUs);
      if (why !== undefined) this.#end(why);
      else this.#watch();
    });
  }
}

function unfinished(): GatewayError {
  return new GatewayError('engine_lost', 'The engine ended its answer without finishing it.');
}
