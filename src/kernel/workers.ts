/** The workers of the fleet, as the kernel knows them now. */
import type { WorkerId } from '../model/ids.ts';
import type { Candidate } from '../model/kernel-io.ts';
import type { Worker, WorkerMode } from '../model/worker.ts';
import type { Book, Load } from './book.ts';
import { blankCandidate } from './route/candidate.ts';
import { Curve } from './route/curve.ts';
import type { LiveThreads, Threads } from './session/threads.ts';

export interface WorkerState {
  readonly worker: Worker;
  healthy: boolean;
  /** Takes nothing new; what runs there ends. */
  draining: boolean;
  /** As its answers show (health/): `trial`: it gets one request at a time; undefined: `fit`. */
  fitness?: 'fit' | 'trial' | 'unfit';
  /** Its answers come in one piece: something before it holds streams back; undefined: they do not. */
  heldBack?: boolean;
  /** It computes prompts for others, of whom nobody is left: it answers too. */
  standsIn?: boolean | undefined;
  mode: WorkerMode;
  /** What is booked and who sits there, live. */
  readonly load: Load;
  readonly live: LiveThreads;
  /** Shared by all workers of its class. */
  readonly curve: Curve;
  /** Where a survey writes its price: decisions over ten thousand workers allocate nothing. */
  readonly candidate: Candidate;
}

export class Workers {
  readonly #parts: { book: Book; threads: Threads };
  readonly #states = new Map<WorkerId, WorkerState>();
  readonly #byModel = new Map<string, Served>();
  /** Kept when the last worker of a class leaves: the next one is as fast. */
  readonly #curves = new Map<string, Curve>();

  constructor(parts: { book: Book; threads: Threads }) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#states.size;
  }

  joined(worker: Worker): void {
    this.left(worker.id);
    const { book, threads } = this.#parts;
    const mode = worker.hasEvents ? 'exact' : 'predicted';
    const state: WorkerState = {
      worker,
      healthy: true,
      draining: false,
      mode,
      load: book.load(worker.id),
      live: threads.live(worker.id),
      curve: this.#curveOf(worker),
      candidate: blankCandidate(worker.id),
    };
    this.#states.set(worker.id, state);
    for (const model of worker.models) {
      let served = this.#byModel.get(model);
      if (served === undefined) this.#byModel.set(model, (served = emptyServed()));
      served.states.push(state);
      served.contextMax = Math.max(served.contextMax, worker.contextTokens);
      if (worker.rules !== undefined) served.ruled++;
      if (worker.kvLayout !== undefined) served.movers++;
    }
    this.#rearrange(worker);
  }

  left(id: WorkerId): void {
    const state = this.#states.get(id);
    if (state === undefined) return;
    this.#states.delete(id);
    for (const model of state.worker.models) {
      const others = this.serving(model).filter((one) => one !== state);
      this.#byModel.delete(model);
      if (others.length === 0) continue;
      const served = { ...emptyServed(), states: others };
      for (const { worker } of others) {
        served.contextMax = Math.max(served.contextMax, worker.contextTokens);
        if (worker.rules !== undefined) served.ruled++;
        if (worker.kvLayout !== undefined) served.movers++;
      }
      this.#byModel.set(model, served);
    }
    this.#rearrange(state.worker);
    this.#parts.book.workerLeft(id);
    this.#parts.threads.workerLeft(id);
  }

  get(worker: WorkerId): WorkerState | undefined {
    return this.#states.get(worker);
  }

  /** News of a worker; of one that has left they are none. */
  set(worker: WorkerId, news: Partial<Pick<WorkerState, 'healthy' | 'draining'>>): void {
    const state = this.#states.get(worker);
    if (state === undefined) return;
    Object.assign(state, news);
    this.#rearrange(state.worker);
  }

  /** In the order they joined. */
  serving(model: string): readonly WorkerState[] {
    return this.#byModel.get(model)?.states ?? NOBODY;
  }

  /** Whether some worker of the model does not serve everybody. */
  hasRules(model: string): boolean {
    return (this.#byModel.get(model)?.ruled ?? 0) > 0;
  }

  /** Whether KV could move between workers of the model. */
  movesKv(model: string): boolean {
    return (this.#byModel.get(model)?.movers ?? 0) > 1;
  }

  /** The longest context a worker of the model has; undefined where there is none. */
  contextMax(model: string): number | undefined {
    return this.#byModel.get(model)?.contextMax;
  }

  values(): IterableIterator<WorkerState> {
    return this.#states.values();
  }

  /** Where nobody is left who answers, those that compute prompts do it. */
  #rearrange({ models }: Worker): void {
    for (const model of models) {
      const served = this.#byModel.get(model);
      if (served === undefined || served.ruled === 0) continue;
      const isLeft = served.states.some(
        (state) => !isPrefiller(state) && state.healthy && !state.draining,
      );
      for (const state of served.states) if (isPrefiller(state)) state.standsIn = !isLeft;
    }
  }

  #curveOf(worker: Worker): Curve {
    // Without a class it shares with nobody.
    const key = worker.class ?? `worker ${worker.id}`;
    let curve = this.#curves.get(key);
    if (curve === undefined) {
      if (this.#curves.size >= CLASSES_MAX) this.#curves.clear();
      this.#curves.set(key, (curve = new Curve(worker)));
    }
    return curve;
  }
}

export function isPrefiller({ worker }: Pick<WorkerState, 'worker'>): boolean {
  return worker.rules?.role === 'prefill';
}

interface Served {
  states: WorkerState[];
  contextMax: number;
  /** How many of them have rules. */
  ruled: number;
  /** How many of them take and give KV. */
  movers: number;
}

const NOBODY: readonly WorkerState[] = [];

function emptyServed(): Served {
  return { states: [], contextMax: 0, ruled: 0, movers: 0 };
}

/** Beyond this, learning starts over for those that join. */
const CLASSES_MAX = 20_000;
