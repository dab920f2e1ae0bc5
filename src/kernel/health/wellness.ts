/**
 * Who is well enough to be sent requests: circuits that open where most fail, and workers set aside that
 * are much slower than their like. Circuits of more than half of a fleet are never open: what fails
 * everywhere is no worker's fault. Never more than a third of a fleet is set aside for being slow, and a
 * fleet of two has no like to compare with.
 *
 *   fit ──most fail, or far too slow──► unfit ──after a while──► trial ──one answer──► fit
 *                                          ▲                       │
 *                                          └───────────────────────┘
 */
import type { WorkerId } from '../../model/ids.ts';
import type { Fact, Order } from '../../model/kernel-io.ts';
import type { Book, Booking } from '../book.ts';
import type { WorkerState, Workers } from '../workers.ts';
import { Circuit } from './circuit.ts';
import { HeldBack, isHeldBack } from './held-back.ts';
import { Retries } from './retries.ts';
import { Speeds } from './speeds.ts';

/** Circuits of no more than so many of a fleet are open at once. */
const SHUT_SHARE_MAX = 1 / 2;
const SLOW_SHARE_MAX = 1 / 3;
const ASIDE_US_MIN = 10_000_000;
const ASIDE_US_MAX = 300_000_000;
/** Answers with fewer tokens say little about the time between two of them. */
const STEPS_MIN = 4;
/** Shorter prompts say more about their way than about their worker. */
const PREFILL_US_MIN = 20_000;

const FAULTS: ReadonlySet<Told<'failed'>['why']> = new Set(['engine', 'unreached', 'denied']);

type Told<Kind extends Fact['kind']> = Extract<Fact, { kind: Kind }>;

interface Patient {
  circuit: Circuit;
  /** Set aside until then for being slow; undefined: it is not. */
  asideUntilUs: number | undefined;
  asideUs: number;
}

export class Wellness {
  readonly #parts: { workers: Workers; book: Book };
  readonly #speeds = new Speeds();
  readonly #heldBack = new HeldBack();
  readonly #patients = new Map<WorkerId, Patient>();
  readonly retries: Retries;

  constructor(parts: { workers: Workers; book: Book }, settings: { attemptsMax: number }) {
    this.#parts = parts;
    this.retries = new Retries({ ...parts, ...settings });
  }

  /** To be told before the book changes. */
  hears(nowUs: number, fact: Fact, orders: Order[]): void {
    if (nowUs >= this.nextUs) this.#due(nowUs, orders);
    switch (fact.kind) {
      case 'arrived':
        return this.retries.arrived();
      case 'firstTokenSent':
        return this.#firstToken(nowUs, this.#parts.book.get(fact.request));
      case 'progressed':
        return this.#progressed(nowUs, fact, orders);
      case 'finished':
        return this.#finished(nowUs, fact, orders);
      case 'failed':
        return FAULTS.has(fact.why) ? this.#failed(nowUs, fact.worker, orders) : undefined;
      case 'probed':
        return this.#probed(nowUs, fact);
      case 'workerJoined':
        return this.#forget(fact.worker.id);
      case 'workerLeft':
        return this.#forget(fact.worker);
      case 'drainChanged':
        if (fact.draining && fact.moves) this.#move(fact.worker, orders);
    }
  }

  /** When something is to be done about a worker; infinite: nothing. */
  get nextUs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { circuit, asideUntilUs } of this.#patients.values()) {
      next = Math.min(next, circuit.nextUs ?? next, asideUntilUs ?? next);
    }
    return next;
  }

  #forget(worker: WorkerId): void {
    this.#patients.delete(worker);
    this.#speeds.forget(worker);
    this.#heldBack.forget(worker);
  }

  /** What it was sent failed by its own fault. */
  #failed(nowUs: number, worker: WorkerId, orders: Order[]): void {
    const state = this.#parts.workers.get(worker);
    if (state === undefined) return;
    // One request that every engine fails at must not shut them all.
    const fleet = this.#parts.workers.serving(state.worker.models[0]);
    const shut = fleet.filter((one) => this.#isShut(one.worker.id)).length;
    const { circuit } = this.#patient(worker);
    const wasClosed = circuit.state === 'closed';
    circuit.failed(nowUs, shut + 1 <= fleet.length * SHUT_SHARE_MAX);
    this.#set(worker);
    if (!wasClosed || circuit.state === 'closed') return;
    const sentence = `${worker} failed at most of what it was sent lately, so it gets nothing until it answers again`;
    orders.push({ kind: 'warn', worker, sentence });
  }

  #probed(nowUs: number, { worker, ok }: { worker: WorkerId; ok: boolean }): void {
    this.#patients.get(worker)?.circuit.probed(nowUs, ok);
    this.#set(worker);
  }

  #firstToken(nowUs: number, booking: Booking | undefined): void {
    if (booking === undefined || booking.phase !== 'prefill' || booking.whenIdle) return;
    const { worker, alone, prefillUs, dispatchedUs } = booking;
    if (!alone || prefillUs < PREFILL_US_MIN) return;
    this.#speeds.sawPrefill(worker, (nowUs - dispatchedUs) / prefillUs);
  }

  /** Of a long answer its beginning tells, so that nobody waits for the end of a slow one. */
  #progressed(nowUs: number, fact: Told<'progressed'>, orders: Order[]): void {
    const booking = this.#parts.book.get(fact.request);
    if (booking === undefined || booking.outputTokens > 0) return;
    this.#sawItl(nowUs, booking, fact.outputTokens);
    this.#judge(nowUs, booking.worker, orders);
  }

  #finished(nowUs: number, fact: Told<'finished'>, orders: Order[]): void {
    const booking = this.#parts.book.get(fact.request);
    if (booking === undefined) return;
    const { worker } = booking;
    this.#patients.get(worker)?.circuit.answered();
    const held = isHeldBack(booking, { atUs: nowUs }, fact.outputTokens);
    if (held !== undefined) this.#sawPieces(worker, held, orders);
    if (booking.outputTokens === 0 && !held) this.#sawItl(nowUs, booking, fact.outputTokens);
    this.#judge(nowUs, worker, orders);
    this.#set(worker);
  }

  #sawPieces(worker: WorkerId, held: boolean, orders: Order[]): void {
    const { isSo, isNews } = this.#heldBack.saw(worker, held);
    const state = this.#parts.workers.get(worker);
    if (state !== undefined) state.heldBack = isSo;
    if (!isNews) return;
    const sentence = `answers of ${worker} come in one piece, long after they began: something before it holds streams back (nginx: proxy_buffering off)`;
    orders.push({ kind: 'warn', worker, sentence });
  }

  /** Who is to be asked, and who may show again how fast it is. */
  #due(nowUs: number, orders: Order[]): void {
    for (const [worker, patient] of this.#patients) {
      if (patient.circuit.isDue(nowUs)) orders.push({ kind: 'probe', worker });
      const { asideUntilUs } = patient;
      if (asideUntilUs === undefined || nowUs < asideUntilUs) continue;
      patient.asideUntilUs = undefined;
      this.#speeds.forget(worker);
      this.#set(worker);
    }
  }

  #sawItl(nowUs: number, { worker, first, whenIdle }: Booking, outputTokens: number): void {
    // Who gives way takes longer than it takes.
    if (first === undefined || whenIdle || outputTokens <= STEPS_MIN) return;
    this.#speeds.sawItl(worker, (nowUs - first.atUs) / (outputTokens - 1));
  }

  #judge(nowUs: number, worker: WorkerId, orders: Order[]): void {
    const state = this.#parts.workers.get(worker);
    if (state === undefined || this.#patients.get(worker)?.asideUntilUs !== undefined) return;
    const like = this.#like(state);
    const slowness = this.#speeds.outlier(worker, like);
    if (slowness === undefined) return;
    const aside = like.filter((one) => this.#patients.get(one)?.asideUntilUs !== undefined);
    if (aside.length + 1 > like.length * SLOW_SHARE_MAX) return;
    const patient = this.#patient(worker);
    patient.asideUntilUs = nowUs + patient.asideUs;
    patient.asideUs = Math.min(ASIDE_US_MAX, 2 * patient.asideUs);
    this.#set(worker);
    const seconds = Math.round((patient.asideUntilUs - nowUs) / 1e6);
    const sentence = `${worker} is ${slowness.toFixed(1)} times slower than its like, so it gets nothing for ${seconds} s`;
    orders.push({ kind: 'warn', worker, sentence });
    this.#move(worker, orders);
  }

  #move(worker: WorkerId, orders: Order[]): void {
    for (const request of this.#parts.book.on(worker)) orders.push({ kind: 'move', request });
  }

  /** Workers that ought to be as fast, and itself. */
  #like({ worker }: WorkerState): WorkerId[] {
    return this.#parts.workers
      .serving(worker.models[0])
      .filter((other) => other.worker.class === worker.class)
      .map((other) => other.worker.id);
  }

  #isShut(worker: WorkerId): boolean {
    const state = this.#patients.get(worker)?.circuit.state ?? 'closed';
    return state !== 'closed';
  }

  #patient(worker: WorkerId): Patient {
    let patient = this.#patients.get(worker);
    if (patient === undefined) {
      patient = { circuit: new Circuit(), asideUntilUs: undefined, asideUs: ASIDE_US_MIN };
      this.#patients.set(worker, patient);
    }
    return patient;
  }

  #set(worker: WorkerId): void {
    const patient = this.#patients.get(worker);
    const state = this.#parts.workers.get(worker);
    if (patient === undefined || state === undefined) return;
    const { circuit, asideUntilUs } = patient;
    if (asideUntilUs !== undefined || circuit.state === 'open' || circuit.state === 'asked') {
      state.fitness = 'unfit';
    } else state.fitness = circuit.state === 'halfOpen' ? 'trial' : 'fit';
  }
}
