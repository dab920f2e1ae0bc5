/**
 * What stands between arrivals and places: the programs that requests belong to, and the policy's gate,
 * if it has one. Keeps of each request whether it waits or runs, so that whatever becomes of it is told
 * to its program once.
 */
import { assert } from '../../base/assert.ts';
import type { RequestId, WorkerId } from '../../model/ids.ts';
import type { Arrival, Fact, Order } from '../../model/kernel-io.ts';
import type { Policy } from '../policy.ts';
import type { Program } from '../program/programs.ts';
import type { Waiter } from '../queue/waiting.ts';
import type { Curve } from '../route/curve.ts';
import { type Admission, type Gate, type GateView, OPEN } from './gate.ts';

interface Open {
  program: Program;
  /** Of its prompt with all that its thread knew before in cache. */
  prefillUs: number;
  curve: Curve | undefined;
  runs: boolean;
}

export class Gating {
  readonly #view: GateView;
  readonly #open = new Map<RequestId, Open>();
  #gate: Gate | undefined;

  constructor(view: GateView) {
    this.#view = view;
  }

  /** From now on this policy's; those it held wait for slots only where it has none. */
  gateOf(policy: Policy): void {
    this.#gate = policy.gate?.(this.#view);
  }

  /** Before the kernel acts on it. */
  hears(nowUs: number, fact: Fact): void {
    this.#gate?.hears?.(nowUs, fact);
    if (fact.kind === 'finished') this.#closed(nowUs, fact.request, fact.outputTokens);
    else if (fact.kind === 'cancelled') this.#closed(nowUs, fact.request, 0);
    else if (fact.kind === 'failed' && !fact.retry) this.#closed(nowUs, fact.request, 0);
    else if (fact.kind === 'failed') this.#retried(fact.request);
  }

  /** A turn of a thread, and so of a program. What nobody waits for holds no room, and needs no turn. */
  arrived(nowUs: number, request: Arrival): void {
    const { threads, programs, workers } = this.#view;
    const { id, model, promptTokens } = request;
    if (request.thread === undefined || request.whenIdle) return;
    const knownTokens = threads.of(request)?.contextTokens ?? 0;
    const thread = threads.arrived(nowUs, request.tenant, request.thread);
    const curve = workers.serving(model).at(0)?.curve;
    // A shorter prompt than before is another one: a title, a compaction.
    const isLonger = promptTokens > knownTokens;
    const uncachedTokens = isLonger ? promptTokens - knownTokens : promptTokens;
    const none = { hostTokens: 0, diskTokens: 0, decoding: 0 };
    const work = { uncachedTokens, contextTokens: promptTokens, ...none };
    const prefillUs = curve?.prefillUs(work) ?? 0;
    const aloneUs = prefillUs + answerUs(curve, this.#view.outputTokens());
    const lapseUs = threads.lapseUs();
    const parent = threads.of({ tenant: request.tenant, thread: request.parent });
    const program = programs.arrived(nowUs, request, { thread, parent, aloneUs, lapseUs });
    for (const one of program.threads) {
      // Sub-agents come and go: those that hold nothing any more are no burden to it.
      const isLeft = one !== thread && one.running === 0 && threads.seatOf(one) === undefined;
      if (isLeft) program.threads.delete(one);
    }
    this.#open.set(id, { program, prefillUs, curve, runs: false });
  }

  admit(nowUs: number, waiter: Waiter): Admission {
    const open = this.#open.get(waiter.request.id);
    // The second of two stages: it was let in with the first.
    if (this.#gate === undefined || open?.runs) return OPEN;
    return this.#gate.admit(nowUs, waiter);
  }

  placed(nowUs: number, waiter: Waiter, worker: WorkerId): number | undefined {
    const open = this.#open.get(waiter.request.id);
    if (open !== undefined && !open.runs) {
      open.runs = true;
      this.#view.programs.placed(open.program);
      // It may have been taken for one that left while it waited.
      const thread = this.#view.threads.of(waiter.request);
      if (thread !== undefined) open.program.threads.add(thread);
    }
    return this.#gate?.placed?.(nowUs, waiter, worker);
  }

  /** What was refused waits no longer. */
  decided(nowUs: number, orders: readonly Order[]): void {
    for (const order of orders) {
      if (order.kind !== 'reject') continue;
      this.#gate?.refused?.(nowUs, order.request);
      this.#closed(nowUs, order.request, 0);
    }
  }

  inOrder(nowUs: number, line: readonly Waiter[]): readonly Waiter[] {
    return this.#gate === undefined ? line : this.#gate.inOrder(nowUs, line);
  }

  /** When those in line should be tried again; infinite: never for its own sake. */
  nextUs(nowUs: number): number {
    return this.#gate?.nextUs(nowUs) ?? Number.POSITIVE_INFINITY;
  }

  /** Requests of its program that wait or run, itself included. */
  siblings({ id }: Arrival): number {
    const program = this.#open.get(id)?.program;
    return program === undefined ? 1 : Math.max(1, program.waiting + program.running);
  }

  /** Programs of those in line. */
  countPrograms(line: readonly Waiter[]): number {
    return new Set(line.map(({ request }) => this.#open.get(request.id)?.program)).size;
  }

  check(known: number): void {
    assert(this.#open.size <= known, 'a request is open as long as it waits or runs');
    const counts = new Map<Program, { waiting: number; running: number }>();
    for (const { program, runs } of this.#open.values()) {
      const count = counts.get(program) ?? { waiting: 0, running: 0 };
      counts.set(program, count);
      if (runs) count.running++;
      else count.waiting++;
    }
    for (const [{ waiting, running }, count] of counts) {
      assert(waiting === count.waiting, 'who waits is counted with its program');
      assert(running === count.running, 'who runs is counted with its program');
    }
  }

  #closed(nowUs: number, request: RequestId, outputTokens: number): void {
    const open = this.#open.get(request);
    if (open === undefined) return;
    this.#open.delete(request);
    const { program, prefillUs, curve, runs } = open;
    if (!runs) this.#view.programs.left(nowUs, program);
    else this.#view.programs.ended(nowUs, program, prefillUs + answerUs(curve, outputTokens));
  }

  #retried(request: RequestId): void {
    const open = this.#open.get(request);
    if (open === undefined || !open.runs) return;
    open.runs = false;
    this.#view.programs.retried(open.program);
  }
}

function answerUs(curve: Curve | undefined, outputTokens: number): number {
  return (curve?.stepUs(1, 0) ?? 0) * outputTokens;
}
