/**
 * The kernel's keeper: feeds it facts with the time they came, carries out its orders, wakes it when it
 * asked to be, and shows every exchange to a sink (the journal).
 */
import { must, unreachable } from '../base/assert.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Standing } from '../kernel/program/standing.ts';
import type { Held } from '../kernel/session/whereabouts.ts';
import type { KernelState } from '../kernel/state.ts';
import type { BlockHashes } from '../model/block.ts';
import { GatewayError } from '../model/error.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../model/ids.ts';
import type { Arrival, Decision, Fact, Forgone, KeepOrder, Order } from '../model/kernel-io.ts';
import type { Cancel, Clock, Sink } from '../ports.ts';

export interface Placement {
  worker: WorkerId;
  decision: Decision;
  /** When it was decided. */
  atUs: number;
}

interface Pending {
  resolve(placement: Placement): void;
  reject(error: GatewayError): void;
}

/** A prompt that is computed before it is asked for. */
export interface Foreseen {
  start(worker: WorkerId): void;
  /** Before its start or after: it is over. */
  stop(why: Forgone): void;
}

export class Host {
  readonly #kernel: Kernel;
  readonly #clock: Clock;
  readonly #sink: Sink;
  readonly #probe: (worker: WorkerId) => void;
  readonly #replicate: ((order: Extract<Order, { kind: 'replicate' }>) => void) | undefined;
  readonly #keep: ((order: KeepOrder) => void) | undefined;
  readonly #pending = new Map<RequestId, Pending>();
  /** What stops requests that run, so that they go on elsewhere. */
  readonly #movable = new Map<RequestId, () => void>();
  /** Placed requests, by the move whose end they wait for. */
  readonly #held = new Map<number, (() => void)[]>();
  readonly #foreseen = new Map<RequestId, Foreseen>();
  #wake: { atUs: number; cancel: Cancel } | undefined;

  constructor(given: {
    kernel: Kernel;
    clock: Clock;
    sink: Sink;
    /** Needed where workers move KV (`Worker.kvLayout`): no order to do so is given elsewhere. */
    replicate?: (order: Extract<Order, { kind: 'replicate' }>) => void;
    /** Where there is none, the next request is the test. */
    probe?: (worker: WorkerId) => void;
    /** Where there is none, engines keep KV as they always do. */
    keep?: (order: KeepOrder) => void;
  }) {
    this.#kernel = given.kernel;
    this.#clock = given.clock;
    this.#sink = given.sink;
    this.#probe = given.probe ?? ((worker) => this.tell({ kind: 'probed', worker, ok: true }));
    this.#replicate = given.replicate;
    this.#keep = given.keep;
  }

  /** Resolves when the request may run; rejects when it was refused or its client left. */
  admit(request: Arrival, signal: AbortSignal): Promise<Placement> {
    return this.#placement(request.id, signal, { kind: 'arrived', request });
  }

  /** The worker failed, or is to be freed: another place, or a refusal. */
  elsewhere(
    failed: Omit<Extract<Fact, { kind: 'failed' }>, 'kind' | 'retry'>,
    signal: AbortSignal,
  ): Promise<Placement> {
    return this.#placement(failed.request, signal, { kind: 'failed', ...failed, retry: true });
  }

  /** `move` stops the request where it runs, until the returned function is called. */
  movable(request: RequestId, move: () => void): Cancel {
    this.#movable.set(request, move);
    return () => {
      if (this.#movable.get(request) === move) this.#movable.delete(request);
    };
  }

  /** `one` hears when and where to compute it; whoever starts it tells how it ended. */
  foresee(fact: Extract<Fact, { kind: 'foreseen' }>, one: Foreseen): void {
    this.#foreseen.set(fact.request.id, one);
    this.tell(fact);
  }

  /** The first of its two stages ended; resolves when the second may begin. */
  prefilled(
    request: RequestId,
    cachedTokens: number | undefined,
    signal: AbortSignal,
  ): Promise<Placement> {
    return this.#placement(request, signal, { kind: 'prefilled', request, cachedTokens });
  }

  get policy(): string {
    return this.#kernel.policy;
  }

  tell(fact: Fact): void {
    const nowUs = this.#clock.nowUs();
    const orders = this.#kernel.handle(nowUs, fact);
    const tookUs = this.#clock.nowUs() - nowUs;
    this.#sink.note({ kind: 'kernel', atUs: nowUs, fact, orders, tookUs });
    for (const order of orders) this.#perform(order);
    if (fact.kind === 'finished' || fact.kind === 'failed' || fact.kind === 'cancelled') {
      this.#foreseen.delete(fact.request);
    }
    if (fact.kind !== 'replicated') return;
    const held = this.#held.get(fact.move) ?? [];
    this.#held.delete(fact.move);
    for (const dispatch of held) dispatch();
  }

  state(): KernelState {
    return this.#kernel.state(this.#clock.nowUs());
  }

  /** Requests that run there, those that give way too. */
  countOn(worker: WorkerId): number {
    const found = this.state().workers.find(({ id }) => id === worker);
    return found === undefined ? 0 : found.requests + found.idleRequests;
  }

  /** What a thread does now, and when it will probably be back. */
  standing(thread: { tenant: TenantId; thread: ThreadId }): Standing | undefined {
    return this.#kernel.lifetime.standing(this.#clock.nowUs(), thread);
  }

  /** Where the KV of a prompt is believed to lie. */
  kvOf(prompt: { model: string; hashes: BlockHashes }): Held[] {
    return this.#kernel.whereabouts.of(this.#clock.nowUs(), prompt);
  }

  /** Prefill that cached tokens saved, in microseconds. */
  savedUs(worker: WorkerId, tokens: { promptTokens: number; cachedTokens: number }): number {
    return this.#kernel.whereabouts.savedUs(worker, tokens);
  }

  check(): void {
    this.#kernel.check();
  }

  close(): void {
    this.#wake?.cancel();
    for (const { reject } of this.#pending.values()) {
      reject(new GatewayError('shutting_down', 'Stator is stopping; try again soon.'));
    }
    this.#pending.clear();
    this.#held.clear();
    for (const one of this.#foreseen.values()) one.stop('back');
    this.#foreseen.clear();
  }

  #placement(request: RequestId, signal: AbortSignal, fact: Fact): Promise<Placement> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        if (!this.#pending.delete(request)) return;
        this.tell({ kind: 'cancelled', request });
        reject(new GatewayError('client_closed', 'The client left while its request waited.'));
      };
      const settled = () => signal.removeEventListener('abort', leave);
      this.#pending.set(request, {
        resolve: (placement) => {
          settled();
          resolve(placement);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      });
      signal.addEventListener('abort', leave, { once: true });
      this.tell(fact);
      if (signal.aborted) leave();
    });
  }

  #perform(order: Order): void {
    switch (order.kind) {
      case 'dispatch':
        return this.#dispatch(order);
      case 'reject': {
        const pending = this.#pending.get(order.request);
        this.#pending.delete(order.request);
        const { code, sentence, retryAfterUs } = order;
        pending?.reject(new GatewayError(code, sentence, { retryAfterUs }));
        return;
      }
      case 'wake':
        return this.#wakeAt(order.atUs);
      case 'replicate':
        return must(this.#replicate, 'whoever has workers that move KV can carry it out')(order);
      case 'keep':
        return this.#keep?.(order);
      case 'forgo': {
        const one = this.#foreseen.get(order.request);
        this.#foreseen.delete(order.request);
        return one?.stop(order.why);
      }
      case 'move':
        return this.#movable.get(order.request)?.();
      case 'probe':
        return this.#probe(order.worker);
      case 'warn':
        return this.#sink.note({ kind: 'warning', sentence: order.sentence });
      default:
        unreachable(order);
    }
  }

  /** At once, or when the copy has come that its price counts on; if it has not, it is computed. */
  #dispatch(order: Extract<Order, { kind: 'dispatch' }>): void {
    const { request, worker, decision } = order;
    const foreseen = this.#foreseen.get(request);
    if (foreseen !== undefined) return foreseen.start(worker);
    const pending = this.#pending.get(request);
    const atUs = this.#clock.nowUs();
    const dispatch = () => {
      // Its client may have left meanwhile.
      if (pending === undefined || this.#pending.get(request) !== pending) return;
      this.#pending.delete(request);
      pending.resolve({ worker, decision, atUs });
    };
    const move = decision.candidates.find((one) => one.worker === worker)?.awaits;
    if (move === undefined) return dispatch();
    const held = this.#held.get(move);
    if (held === undefined) this.#held.set(move, [dispatch]);
    else held.push(dispatch);
  }

  #wakeAt(atUs: number): void {
    if (this.#wake !== undefined && this.#wake.atUs <= atUs) return;
    this.#wake?.cancel();
    const cancel = this.#clock.after(Math.max(0, atUs - this.#clock.nowUs()), () => {
      this.#wake = undefined;
      this.tell({ kind: 'ticked' });
    });
    this.#wake = { atUs, cancel };
  }
}
