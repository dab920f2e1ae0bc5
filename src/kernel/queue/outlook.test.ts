/** Predicted waits at arrival, through the kernel: what is refused for them, and how right they are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import { Config } from '../../model/config.ts';
import type { RequestId, TenantId, WorkerId } from '../../model/ids.ts';
import type { Order } from '../../model/kernel-io.ts';
import type { Worker } from '../../model/worker.ts';
import { Kernel } from '../kernel.ts';

/** What each request takes, from dispatch to end. */
const SERVICE_US = 10_000_000;
const SLOTS = 4;

test('a wait is predicted to within the time of one answer, once some ends were seen', () => {
  for (const seed of [1, 2, 3]) {
    const fleet = new Fleet();
    const rng = new Prng(seed);
    const predicted = new Map<string, number>();
    for (let i = 0; i < 120; i++) {
      // A little more than the fleet can do, so the queue grows.
      fleet.pass(rng.below((2 * SERVICE_US) / SLOTS / 1.5));
      const waitUs = fleet.probe();
      if (i >= 40) predicted.set(`r${i}`, waitUs);
      fleet.arrive(`r${i}`);
    }
    fleet.pass(100 * SERVICE_US);
    let longest = 0;
    for (const [id, us] of predicted) {
      const waitedUs = fleet.waited.get(id as RequestId) ?? assert.fail(`${id} was served`);
      longest = Math.max(longest, waitedUs);
      const offUs = Math.abs(waitedUs - us);
      assert.ok(offUs <= SERVICE_US + 0.2 * waitedUs, `${id}: ${us}, and it was ${waitedUs}`);
    }
    assert.ok(longest > 5 * SERVICE_US, 'some waited for long');
  }
});

test('whose patience is shorter is refused at once and told when; all others are let in', () => {
  const fleet = new Fleet();
  for (let i = 0; i < 60; i++) {
    fleet.arrive(`r${i}`);
    fleet.pass(SERVICE_US / 20);
  }
  const waitUs = fleet.probe();
  assert.ok(waitUs > 0);
  const [refused] = fleet.arrive('hasty', waitUs - 1);
  assert.ok(refused.kind === 'reject' && refused.code === 'queue_full');
  assert.equal(refused.retryAfterUs, waitUs);
  const seconds = Math.ceil(waitUs / 1e6);
  assert.match(refused.sentence, new RegExp(`come back in ${seconds} s\\.$`));
  assert.deepEqual(kinds(fleet.arrive('patient', waitUs + 1)), ['wake']);
});

test('where a slot is free, or where no engine is up that may come back, nobody is refused for a wait', () => {
  const fleet = new Fleet();
  for (let i = 0; i < SLOTS; i++) assert.equal(kinds(fleet.arrive(`r${i}`, 1))[0], 'dispatch');
  assert.equal(kinds(fleet.arrive('r9', 1))[0], 'reject');
  fleet.tell({ kind: 'healthChanged', worker: 'a' as WorkerId, healthy: false });
  assert.deepEqual(kinds(fleet.arrive('r10', 1)), ['wake']);
});

test('who waits is refused when its own patience ends, not when somebody else’s does', () => {
  const fleet = new Fleet();
  for (let i = 0; i < SLOTS; i++) fleet.arrive(`r${i}`);
  fleet.neverEnd();
  fleet.arrive('long', 90_000_000);
  fleet.arrive('short', 60_000_000);
  fleet.pass(60_000_000);
  assert.deepEqual([...fleet.refused.keys()], ['short']);
  fleet.pass(30_000_000);
  assert.deepEqual([...fleet.refused.keys()], ['short', 'long']);
  for (const backInUs of fleet.refused.values()) assert.ok(backInUs > 0);
});

/** One worker that takes `SLOTS` at once, each for `SERVICE_US`; what waits does so in the kernel. */
class Fleet {
  readonly waited = new Map<RequestId, number>();
  readonly refused = new Map<RequestId, number>();
  readonly #kernel: Kernel;
  readonly #arrivedUs = new Map<RequestId, number>();
  #running: { request: RequestId; endUs: number }[] = [];
  #nowUs = 0;
  #probes = 0;
  #ends = true;

  constructor() {
    const { limits } = Config.parse({});
    const settings = { ...limits, policy: 'stator', requestsPerSlotMax: 1, queueUsMax: 1e12 };
    this.#kernel = new Kernel({ settings, rng: new Prng(1) });
    const worker: Worker = {
      ...{ id: 'a' as WorkerId, models: ['m'], blockTokens: 16, contextTokens: 10_000 },
      ...{ slots: SLOTS, requestsMax: 100, cacheTokens: 20_000, hasEvents: false },
      // Far from what is true: what is seen must outweigh it.
      prefill: { perTokenUs: 1, perTokenContextUs: 0 },
      decode: { stepUs: 100, perSequenceUs: 10 },
    };
    this.tell({ kind: 'workerJoined', worker });
  }

  neverEnd(): void {
    this.#ends = false;
  }

  /** What somebody who comes now is told to wait; 0: nothing. */
  probe(): number {
    const [order] = this.arrive(`probe${this.#probes++}`, 0);
    if (order.kind === 'reject') return order.retryAfterUs ?? 0;
    assert.ok(order.kind === 'dispatch');
    this.tell({ kind: 'cancelled', request: order.request });
    this.#running = this.#running.filter(({ request }) => request !== order.request);
    return 0;
  }

  arrive(id: string, patienceUs?: number): Order[] {
    const request = id as RequestId;
    this.#arrivedUs.set(request, this.#nowUs);
    return this.tell({
      kind: 'arrived',
      request: {
        ...{ id: request, tenant: 't' as TenantId, model: 'm', thread: undefined },
        ...{ promptTokens: 100, hashes: new BigUint64Array(0), blockTokens: 16 },
        ...{ outputTokensMax: 100, priority: 0, patienceUs },
      },
    });
  }

  pass(us: number): void {
    const untilUs = this.#nowUs + us;
    for (;;) {
      const next = this.#ends ? this.#running.toSorted((a, b) => a.endUs - b.endUs)[0] : undefined;
      if (next === undefined || next.endUs > untilUs) break;
      this.#nowUs = next.endUs;
      this.#running = this.#running.filter((one) => one !== next);
      const { request } = next;
      this.tell({ kind: 'finished', request, outputTokens: 20, cachedTokens: undefined });
    }
    this.#nowUs = untilUs;
    this.tell({ kind: 'ticked' });
  }

  tell(fact: Parameters<Kernel['handle']>[1]): Order[] {
    const orders = this.#kernel.handle(this.#nowUs, fact);
    for (const order of orders) {
      if (order.kind === 'dispatch') {
        const { request } = order;
        this.#running.push({ request, endUs: this.#nowUs + SERVICE_US });
        this.waited.set(request, this.#nowUs - (this.#arrivedUs.get(request) ?? 0));
      } else if (order.kind === 'reject' && !order.request.startsWith('probe')) {
        this.refused.set(order.request, order.retryAfterUs ?? 0);
      }
    }
    return orders;
  }
}

function kinds(orders: readonly Order[]): string[] {
  return orders.map(({ kind }) => kind);
}
