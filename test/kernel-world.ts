/** A kernel whose requests are named by their thread, and time that passes in steps. */
import { Prng } from '../src/base/prng.ts';
import { Kernel } from '../src/kernel/kernel.ts';
import { Config } from '../src/model/config.ts';
import type { RequestId, SessionId, TenantId, ThreadId, WorkerId } from '../src/model/ids.ts';
import type { Arrival, Fact, Order } from '../src/model/kernel-io.ts';
import type { Worker } from '../src/model/worker.ts';

export interface Asked {
  session?: string;
  parent?: string;
  priority?: number;
  strictPriority?: number;
  patienceUs?: number;
  tenant?: string;
  model?: string;
  whenIdle?: true;
}

export interface WorldSettings {
  queueUsMax?: number;
  tenantWeights?: ReadonlyMap<string, number>;
}

export class KernelWorld {
  nowUs = 0;
  wakes = 0;
  /** Where each thread's newest request runs, or ran. */
  readonly placed = new Map<string, string>();
  readonly due = new Map<string, number | undefined>();
  readonly askedUs = new Map<string, number>();
  readonly rejected: string[] = [];
  onPlaced: (thread: string) => void = () => {};
  readonly #kernel: Kernel;
  readonly #threadOf = new Map<RequestId, string>();
  readonly #requestOf = new Map<string, RequestId>();

  constructor(workers: readonly Worker[], settings: WorldSettings = {}) {
    const { limits } = Config.parse({});
    const patient = { queueUsMax: Number.MAX_SAFE_INTEGER / 2, ...settings };
    this.#kernel = new Kernel({
      settings: { ...limits, ...patient, policy: 'stator' },
      rng: new Prng(1),
    });
    for (const worker of workers) this.tell({ kind: 'workerJoined', worker });
  }

  /** Programs that wait at the gate. */
  get gated(): number {
    return this.#kernel.state(this.nowUs).gatedPrograms;
  }

  request(thread: string): RequestId {
    return this.#requestOf.get(thread) as RequestId;
  }

  /** Where it was placed at once, if it was. */
  ask(thread: string, promptTokens: number, given: Asked = {}): string | undefined {
    const id = `${thread}#${this.#threadOf.size}` as RequestId;
    this.#threadOf.set(id, thread);
    this.#requestOf.set(thread, id);
    this.placed.delete(thread);
    this.askedUs.set(thread, this.nowUs);
    const { session = thread, parent, tenant = 't', model = 'm', priority = 0, ...asked } = given;
    const request: Arrival = {
      ...asked,
      id,
      tenant: tenant as TenantId,
      model,
      thread: thread as ThreadId,
      session: session as SessionId,
      parent: parent as ThreadId | undefined,
      promptTokens,
      hashes: new BigUint64Array(0),
      blockTokens: 16,
      outputTokensMax: 100,
      priority,
    };
    this.tell({ kind: 'arrived', request });
    return this.placed.get(thread);
  }

  end(thread: string): void {
    const request = this.request(thread);
    this.tell({ kind: 'firstTokenSent', request });
    this.tell({ kind: 'finished', request, outputTokens: 20, cachedTokens: undefined });
  }

  /** Its worker gave it up, and it wants another place. */
  fail(thread: string): void {
    const worker = this.placed.get(thread) as WorkerId;
    this.placed.delete(thread);
    this.tell({ kind: 'failed', request: this.request(thread), worker, retry: true });
  }

  pass(us: number): void {
    this.nowUs += us;
    this.tell({ kind: 'ticked' });
  }

  tell(fact: Fact): void {
    const orders = this.#kernel.handle(this.nowUs, fact);
    this.#kernel.check();
    for (const order of orders) this.#perform(order);
  }

  #perform(order: Order): void {
    if (order.kind === 'wake') this.wakes++;
    if (order.kind === 'reject') {
      this.rejected.push(this.#threadOf.get(order.request) as string);
    }
    if (order.kind !== 'dispatch') return;
    const thread = this.#threadOf.get(order.request) as string;
    this.placed.set(thread, order.worker);
    this.due.set(thread, order.dueUs);
    this.onPlaced(thread);
  }
}

/** One that computes a prompt token in a millisecond, and a step in ten. */
export function workerOf(id: string, cacheTokens: number, given: Partial<Worker> = {}): Worker {
  return {
    id: id as WorkerId,
    models: ['m'],
    blockTokens: 16,
    contextTokens: 60_000,
    slots: 64,
    requestsMax: 1_000,
    cacheTokens,
    hasEvents: false,
    class: 'c',
    prefill: { perTokenUs: 1_000, perTokenContextUs: 0 },
    decode: { stepUs: 10_000, perSequenceUs: 0 },
    ...given,
  };
}
