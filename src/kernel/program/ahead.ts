/**
 * Prompts before they are asked for. When a turn ends, what is already known of the thread's next prompt is
 * told (`foreseen`). Where the last turn left other KV than the next one will look for, because reasoning is
 * dropped or a call is written anew, say, the difference is computed while nobody needs the engine.
 *
 *   foreseen ─► waiting ─ its worker is idle ─► something is gained? ─► dispatched ─► over
 *                  │                                   │ no                 │
 *                  └─ its thread is back, no room ──► forgo ◄── somebody else comes, its thread is back
 *
 * Like batch work it is booked apart, so no price counts it, and a worker gets one at a time. Unlike batch
 * work it stops for good when somebody comes: what was computed of it stays in cache.
 */
import { assert, must } from '../../base/assert.ts';
import { RunningMean } from '../../base/running-mean.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { Arrival, Fact, Forgone, Order } from '../../model/kernel-io.ts';
import type { ExactIndex } from '../index/exact.ts';
import type { Placing } from '../placing.ts';
import { obstacle } from '../route/filter.ts';
import type { Threads } from '../session/threads.ts';
import type { Underway } from '../underway.ts';
import type { WorkerState, Workers } from '../workers.ts';

export interface AheadParts {
  workers: Workers;
  threads: Threads;
  exact: ExactIndex;
  underway: Underway;
  placing: Pick<Placing, 'place' | 'ended' | 'policy'>;
}

interface Foreseen {
  readonly request: Arrival;
  readonly key: string;
  /** Where its thread is at home. */
  readonly worker: WorkerId;
  readonly foreseenUs: number;
  /** Leading blocks that were computed there with the last turn. */
  readonly heldBlocks: number;
  runs: boolean;
}

/** A worker's traffic is looked back upon so far. */
const GAPS = 20;
/** Their tokens lie in the gateway's memory until then: beyond so many the oldest goes. */
const FORESEEN_MAX = 64;
/** The block in which a turn ended is never whole: to complete it early is hardly a gain. */
const PARTIAL_BLOCKS = 1;
/** Events of what the last turn computed have come by then: the index knows better what is left of it. */
const EVENTS_US = 1_000_000;

export class Ahead {
  readonly #parts: AheadParts;
  /** Oldest first: whoever left first is back first. */
  readonly #byRequest = new Map<RequestId, Foreseen>();
  readonly #byThread = new Map<string, Foreseen>();
  readonly #running = new Map<WorkerId, Foreseen>();
  /** When each worker was sent something last, and how long that takes on average. */
  readonly #traffic = new Map<WorkerId, { lastUs: number; gapUs: RunningMean }>();

  constructor(parts: AheadParts) {
    this.#parts = parts;
  }

  /** Before the kernel acts on it: what is given up counts for nobody who comes now. */
  hears(nowUs: number, fact: Fact, orders: Order[]): void {
    switch (fact.kind) {
      case 'foreseen':
        return this.#foreseen(nowUs, fact, orders);
      case 'arrived':
        return this.#back(nowUs, fact.request, orders);
      case 'threadEnded':
        return this.#back(nowUs, fact, orders);
      case 'finished':
      case 'failed':
      case 'cancelled':
        return this.#over(fact.request);
      case 'workerLeft':
        this.#traffic.delete(fact.worker);
        for (const one of [...this.#byRequest.values()]) {
          if (one.worker === fact.worker) this.#forgo(nowUs, one, 'homeless', orders);
        }
    }
  }

  /** Nobody waits anywhere: who has an idle worker has its turn. */
  serve(nowUs: number, orders: Order[]): void {
    for (const one of this.#byRequest.values()) {
      if (one.runs) continue;
      const state = this.#parts.workers.get(one.worker);
      const isOut = state === undefined || obstacle(one.request, state) !== undefined;
      if (isOut) this.#forgo(nowUs, one, 'homeless', orders);
      else if (isIdle(state) && !this.#running.has(one.worker))
        this.#turn(nowUs, one, state, orders);
    }
  }

  /** After the kernel's decisions: whoever was sent to a worker has it for itself. */
  decided(nowUs: number, orders: Order[]): void {
    for (const order of orders.slice()) {
      if (order.kind !== 'dispatch') continue;
      const one = this.#running.get(order.worker);
      if (one?.request.id === order.request) continue;
      this.#sent(nowUs, order.worker);
      if (one !== undefined) this.#forgo(nowUs, one, 'wanted', orders);
    }
  }

  check(): void {
    assert(this.#byRequest.size <= FORESEEN_MAX, 'what is foreseen is bounded');
    assert(this.#byRequest.size === this.#byThread.size, 'a thread has one next prompt');
    let running = 0;
    for (const [id, one] of this.#byRequest) {
      assert(one.request.id === id && this.#byThread.get(one.key) === one, 'found both ways');
      if (!one.runs) continue;
      running++;
      assert(this.#running.get(one.worker) === one, 'a worker has one at a time');
    }
    assert(running === this.#running.size, 'what runs was foreseen');
  }

  #foreseen(nowUs: number, fact: Extract<Fact, { kind: 'foreseen' }>, orders: Order[]): void {
    const { request, thread, heldBlocks } = fact;
    const { tenant } = request;
    const { threads, placing } = this.#parts;
    this.#back(nowUs, { tenant, thread }, orders);
    const known = threads.of({ tenant, thread });
    const worker = known?.home;
    const forgo = (why: Forgone) => orders.push({ kind: 'forgo', request: request.id, why });
    // Rivals must not profit from our index.
    if (placing.policy.view !== 'price') return void forgo('unknown');
    if (known === undefined || worker === undefined) return void forgo('homeless');
    // Its client was quicker.
    if (known.running > 0) return void forgo('back');
    const [oldest] = this.#byRequest.values();
    if (this.#byRequest.size >= FORESEEN_MAX) this.#forgo(nowUs, oldest, 'full', orders);
    const wants = { ...(request.wants ?? { tolerations: [], labels: [] }), worker };
    const key = keyOf(tenant, thread);
    const pinned = { ...request, thread: undefined, whenIdle: true as const, wants };
    const given = { request: pinned, key, worker, foreseenUs: nowUs, heldBlocks, runs: false };
    this.#byRequest.set(request.id, given);
    this.#byThread.set(key, given);
  }

  /** Its next request is there, or never will be. */
  #back(
    nowUs: number,
    { tenant, thread }: { tenant: TenantId; thread: ThreadId | undefined },
    orders: Order[],
  ): void {
    const one = thread === undefined ? undefined : this.#byThread.get(keyOf(tenant, thread));
    if (one !== undefined) this.#forgo(nowUs, one, 'back', orders);
  }

  #turn(nowUs: number, one: Foreseen, state: WorkerState, orders: Order[]): void {
    const why = this.#whyNot(nowUs, one, state);
    if (why !== undefined) return this.#forgo(nowUs, one, why, orders);
    const { request, foreseenUs: arrivedUs, worker } = one;
    const waiter = { request, arrivedUs, excluded: new Set<WorkerId>(), attempt: 1 };
    const decision = this.#parts.placing.place(nowUs, waiter, { orders, among: new Set([worker]) });
    if (decision === undefined) return;
    one.runs = true;
    this.#running.set(worker, one);
    orders.push({ kind: 'dispatch', request: request.id, worker, decision });
  }

  #sent(nowUs: number, worker: WorkerId): void {
    const traffic = this.#traffic.get(worker);
    if (traffic === undefined) {
      const gapUs = new RunningMean({ memory: GAPS, prior: 0 });
      this.#traffic.set(worker, { lastUs: nowUs, gapUs });
      return;
    }
    traffic.gapUs.add(nowUs - traffic.lastUs);
    traffic.lastUs = nowUs;
  }

  /** How long a worker goes without being sent anything; no less than it has gone now. */
  #gapUs(nowUs: number, { worker }: WorkerState): number {
    const traffic = this.#traffic.get(worker.id);
    if (traffic === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(traffic.gapUs.mean, nowUs - traffic.lastUs);
  }

  /** Undefined where the next request would be spared more than the job itself costs. */
  #whyNot(nowUs: number, one: Foreseen, state: WorkerState): Forgone | undefined {
    const { mode, curve } = state;
    // Without events nobody knows what became of the last answer.
    if (mode !== 'exact') return 'unknown';
    const { request, foreseenUs, heldBlocks } = one;
    const { hashes, blockTokens, promptTokens } = request;
    const { exact, underway } = this.#parts;
    exact.look(hashes);
    const known = exact.matched(state.worker.id);
    const lately = nowUs - foreseenUs < EVENTS_US ? heldBlocks : 0;
    const computing = underway.depths(nowUs, hashes).get(state.worker.id) ?? 0;
    // Whoever asks for just so much computes its last token: a full last block cannot be told from that.
    const usable = Math.floor((promptTokens - 1) / blockTokens);
    const device = Math.min(usable, Math.max(known?.device ?? 0, lately, computing));
    const host = Math.max(device, Math.min(usable, known?.host ?? 0));
    const disk = Math.max(host, Math.min(usable, known?.disk ?? 0));
    const nothing = { uncachedTokens: 0, hostTokens: 0, diskTokens: 0 };
    const context = { contextTokens: promptTokens, decoding: 0 };
    const baseUs = curve.prefillUs({ ...nothing, ...context });
    const fetched = {
      uncachedTokens: (usable - disk) * blockTokens,
      hostTokens: (host - device) * blockTokens,
      diskTokens: (disk - host) * blockTokens,
    };
    const anew = { ...nothing, uncachedTokens: (usable - device) * blockTokens };
    const leastUs = Math.min(
      curve.prefillUs({ ...fetched, ...context }),
      curve.prefillUs({ ...anew, ...context }),
    );
    const sparesUs = leastUs - baseUs;
    // Whoever comes meanwhile waits for what is left of it, half of it on average.
    const delayUs = (leastUs * leastUs) / (2 * this.#gapUs(nowUs, state));
    return usable - device > PARTIAL_BLOCKS && sparesUs > delayUs ? undefined : 'ready';
  }

  #forgo(nowUs: number, one: Foreseen, why: Forgone, orders: Order[]): void {
    const { id } = one.request;
    if (one.runs) this.#parts.placing.ended(nowUs, id, undefined);
    this.#over(id);
    orders.push({ kind: 'forgo', request: id, why });
  }

  #over(request: RequestId): void {
    const one = this.#byRequest.get(request);
    if (one === undefined) return;
    this.#byRequest.delete(request);
    const own = must(this.#byThread.get(one.key), 'what is foreseen is its thread’s');
    assert(own === one, 'a thread has one next prompt');
    this.#byThread.delete(one.key);
    if (one.runs) this.#running.delete(one.worker);
  }
}

function keyOf(tenant: TenantId, thread: ThreadId): string {
  return JSON.stringify([tenant, thread]);
}

/** Others that give way may run there, but no second prompt. */
function isIdle({ worker, load, healthy, draining }: WorkerState): boolean {
  const isFree = load.requests === 0 && load.idlePrompts === 0;
  return healthy && !draining && isFree && load.idleRequests < worker.slots;
}
