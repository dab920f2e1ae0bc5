/** What goes wrong in a simulated fleet, and when: workers that die, hang, crawl and lie. */

import type { WorkerId } from '../model/ids.ts';
import type { Usage } from '../model/part.ts';
import type { Clock, Engine, WorkerChange } from '../ports.ts';
import { FaultyEngine } from './faulty-engine.ts';

export type Fault =
  /** Its process dies; another takes its place after `us`, and holds nothing. */
  | { kind: 'kill'; atUs: number; worker: number; us: number }
  /** It answers nothing for `us`, not even whether it is well, and then goes on. */
  | { kind: 'hang'; atUs: number; worker: number; us: number };

export interface Faults {
  list: readonly Fault[];
  /** The worker that takes so many times as long for each step. */
  slow?: { worker: number; factor: number };
  /** The worker that reports a usage of its own making. */
  liar?: { worker: number; reported: (usage: Usage) => Usage };
  /** Between checks of a worker that is well, and of one that is not. */
  checkUs: number;
  recheckUs: number;
}

/** Who runs, and what happens to them. */
export class Accidents {
  readonly #faults: Faults;
  readonly #clock: Clock;
  readonly #start: (id: WorkerId, engine: (engine: Engine) => Engine) => WorkerChange;
  readonly #tell: (change: WorkerChange) => void;
  readonly #running: { engine: FaultyEngine; starts: number }[] = [];

  /** `start`: a worker of that name, its engine wrapped. */
  constructor(
    faults: Faults,
    given: {
      clock: Clock;
      start: (id: WorkerId, wrapped: (engine: Engine) => Engine) => WorkerChange;
      tell: (change: WorkerChange) => void;
    },
  ) {
    this.#faults = faults;
    this.#clock = given.clock;
    this.#start = given.start;
    this.#tell = given.tell;
  }

  begin(workers: number): void {
    for (let i = 0; i < workers; i++) this.#begin(i);
    for (const fault of this.#faults.list) {
      this.#clock.after(fault.atUs, () => this.#happens(fault));
    }
  }

  #begin(index: number): void {
    const starts = (this.#running[index]?.starts ?? 0) + 1;
    const name = `worker-${index + 1}`;
    const id = (starts === 1 ? name : `${name}.${starts}`) as WorkerId;
    const { liar } = this.#faults;
    const reported = liar?.worker === index ? liar.reported : undefined;
    const wrapped = (engine: Engine) => {
      const faulty = new FaultyEngine(engine, { clock: this.#clock, reported });
      this.#running[index] = { engine: faulty, starts };
      return faulty;
    };
    this.#tell(this.#start(id, wrapped));
  }

  #happens({ kind, worker, us }: Fault): void {
    const { engine } = this.#running[worker];
    if (kind === 'hang') return engine.hang(us);
    engine.die();
    this.#tell({ kind: 'down', worker: engine.worker, reason: 'killed' });
    this.#clock.after(us, () => this.#begin(worker));
  }
}
