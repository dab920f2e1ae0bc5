/**
 * All who wait: for a slot, in the order of their turns; at the gate, in whatever order it has; and those
 * that nobody waits for, until there is nothing else to do.
 */
import type { RequestId, TenantId } from '../../model/ids.ts';
import type { Arrival, Decision } from '../../model/kernel-io.ts';
import type { KernelSettings } from '../settings.ts';
import type { Workers } from '../workers.ts';
import { IdleWork } from './idle-work.ts';
import type { Outlook } from './outlook.ts';
import { Turns } from './turns.ts';
import { type Waiter, Waiting } from './waiting.ts';

export class Queues {
  readonly slots: Waiting;
  readonly line: Waiting;
  readonly idle: IdleWork;
  readonly #turns: Turns;

  /** Each of the three holds so many. `siblings`: open requests of its program, itself included. */
  constructor(
    settings: Pick<KernelSettings, 'queueRequestsMax' | 'queueUsMax' | 'threadsMax'>,
    parts: {
      workers: Workers;
      siblings: (request: Arrival) => number;
      weightOf: (tenant: TenantId) => number;
    },
  ) {
    const limits = { requestsMax: settings.queueRequestsMax, waitUsMax: settings.queueUsMax };
    this.slots = new Waiting(limits);
    this.line = new Waiting(limits);
    this.idle = new IdleWork(parts.workers, limits);
    this.#turns = new Turns({
      programsMax: settings.threadsMax,
      siblings: parts.siblings,
      weightOf: parts.weightOf,
      deadlineUs: (waiter) => this.slots.deadlineUs(waiter),
    });
  }

  /** Those that somebody waits for. */
  get size(): number {
    return this.slots.size + this.line.size;
  }

  has(request: RequestId): boolean {
    return this.slots.has(request) || this.line.has(request);
  }

  /** Who waits for a slot, in the order of their turns. */
  inTurn(nowUs: number): Iterable<Waiter> {
    return this.#turns.inOrder(nowUs, this.slots.inOrder());
  }

  /** Models that somebody waits for a slot with. */
  get modelsInTurn(): number {
    return this.slots.modelCount;
  }

  /** It has its slot, for as much time of its engine as was predicted. */
  served({ request }: Waiter, { chosen, candidates }: Decision, slots: number): void {
    const terms = candidates.find(({ worker }) => worker === chosen)?.terms;
    const usedUs = terms === undefined ? 0 : terms.prefill + terms.fetch + terms.decode / slots;
    const isAlone = this.slots.size - (this.slots.has(request.id) ? 1 : 0) === 0;
    this.#turns.served(request, usedUs, isAlone ? 'alone' : 'others wait');
  }

  /** Predicted time until one more would have a slot: those that go before it, one by one. */
  slotUs(request: Arrival, outlook: Outlook): number {
    const ahead = this.#turns.ahead(request, this.slots.inOrder());
    return this.slots.predictedUs(request.model, outlook, ahead);
  }

  remove(request: RequestId): boolean {
    return this.slots.remove(request) || this.line.remove(request) || this.idle.remove(request);
  }

  /** The gate holds back who waited for a slot; stays where it is if the line is full. */
  toLine(waiter: Waiter): void {
    if (this.line.push(waiter) === 'taken') this.slots.remove(waiter.request.id);
  }

  /** Who passed the gate, and found a slot or not. */
  passed(nowUs: number, waiter: Waiter, found: 'placed' | 'full'): void {
    const { id, model } = waiter.request;
    if (found === 'full' && this.slots.push(waiter) === 'full') return;
    this.line.ended(nowUs, model);
    this.line.remove(id);
  }

  /** How long one more would wait at the gate, as fast as it lets in lately. */
  lineUs(model: string): number {
    return this.line.predictedUs(model, { beyondSlots: 0, gapUs: 0 }, this.line.size);
  }

  takeExpired(nowUs: number): Waiter[] {
    const { slots, line, idle } = this;
    return [slots, line, idle].flatMap((queue) => queue.takeExpired(nowUs));
  }

  /** When something is to be done though nothing happens; infinite where nobody waits. */
  nextUs(nowUs: number): number {
    const { slots, line, idle } = this;
    const deadlines = [slots, line, idle].map((queue) => queue.nextDeadlineUs());
    deadlines.push(idle.nextAwayUs(nowUs));
    return Math.min(...deadlines.map((atUs) => atUs ?? Number.POSITIVE_INFINITY));
  }
}
