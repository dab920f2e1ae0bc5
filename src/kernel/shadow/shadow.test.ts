import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import { Config } from '../../model/config.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { Fact } from '../../model/kernel-io.ts';
import type { Figures, PolicyReport } from '../../model/policy-report.ts';
import type { Worker } from '../../model/worker.ts';
import { Kernel } from '../kernel.ts';
import { POLICY_NAMES } from '../route/policies.ts';
import { Shadows } from './shadow.ts';

const BLOCK = 16;

test('one thread of three turns: what each policy would have found, by hand', () => {
  const fleet = new Fleet({ policy: 'sticky', workers: 2 });
  for (const blocks of [10, 20, 30]) fleet.turn('t', blocks);
  const tokens = (10 + 20 + 30) * BLOCK + 3;
  // Sticky finds 0, 10 and 20 blocks; taking turns between two workers finds 0, 0 and 10.
  assert.deepEqual(fleet.figures('sticky', 'live'), { prompt: tokens, cached: 30 * BLOCK });
  assert.deepEqual(fleet.figures('round-robin'), { prompt: tokens, cached: 10 * BLOCK });
  // Its second turn, and its third by ten blocks, were computed where somebody held them elsewhere.
  assert.equal(fleet.row('round-robin').regretUs, (10 + 10) * BLOCK * 50);
  assert.equal(fleet.row('sticky', 'live').regretUs, 0);
});

test('the live policy and a shadow of the same name are told the same story', () => {
  const fleet = new Fleet({ policy: 'round-robin', workers: 3 });
  const rng = new Prng(5);
  for (let i = 0; i < 200; i++) fleet.turn(`t${rng.below(7)}`, 10 + i);
  assert.deepEqual(fleet.row('round-robin', 'shadow'), fleet.row('round-robin', 'live'));
});

test('a cache that is too small is too small for shadows', () => {
  const roomy = new Fleet({ policy: 'random', workers: 1 });
  const small = new Fleet({ policy: 'random', workers: 1, cacheTokens: 50 * BLOCK });
  for (const fleet of [roomy, small]) {
    for (let i = 0; i < 20; i++) for (const thread of ['a', 'b', 'c']) fleet.turn(thread, 30 + i);
  }
  assert.ok((roomy.row('sticky').hitRatio ?? 0) > 0.9);
  assert.ok((small.row('sticky').hitRatio ?? 1) < 0.1);
});

test('a policy that cannot keep up would refuse, and does not fall behind without end', () => {
  const fleet = new Fleet({ policy: 'sticky', workers: 2, queueUsMax: 1_000_000 });
  // A turn takes 1.6 s where its thread is not known; they come faster than that.
  for (let i = 0; i < 300; i++) fleet.turn(`t${i % 20}`, 2000 + 2 * i);
  const random = fleet.row('random');
  assert.ok(random.refused > 0);
  assert.ok((random.ttftUsMean ?? 0) < 1_000_000 + 2_600 * BLOCK * 50);
  assert.equal(random.requests + random.refused, 300);
});

test('the live policy is changed: its rows are kept apart', () => {
  const fleet = new Fleet({ policy: 'sticky', workers: 2 });
  for (let i = 1; i <= 5; i++) fleet.turn('t', i);
  fleet.tell({ kind: 'policyChanged', policy: 'least-requests' });
  for (let i = 6; i <= 9; i++) fleet.turn('t', i);
  assert.equal(fleet.row('sticky', 'former').requests, 5);
  assert.equal(fleet.row('least-requests', 'live').requests, 4);
});

test('shadows are off where none is asked for', () => {
  const fleet = new Fleet({ policy: 'sticky', workers: 2, shadows: [] });
  fleet.turn('t', 5);
  assert.equal(fleet.report().length, 1);
  assert.equal(fleet.row('sticky', 'live').requests, 0);
});

test('whatever comes and goes, every answer is counted once for each policy, and books balance', () => {
  fc.assert(
    fc.property(fc.integer(), fc.constantFrom(...POLICY_NAMES), (seed, policy) => {
      const shadows = POLICY_NAMES;
      const fleet = new Fleet({ policy, workers: 3, shadows, seed });
      const answered = fleet.wander(new Prng(seed), 150);
      for (const { policy: of, wouldBe } of fleet.report()) {
        assert.equal(wouldBe.requests + wouldBe.refused, answered, of);
        assert.ok(wouldBe.cachedTokens <= wouldBe.promptTokens && wouldBe.regretUs >= 0);
      }
    }),
    { numRuns: 20 },
  );
});

interface Given {
  policy: string;
  workers: number;
  shadows?: readonly string[];
  cacheTokens?: number;
  queueUsMax?: number;
  seed?: number;
}

/** A kernel with shadows beside it, as the gateway keeps them. */
class Fleet {
  readonly #kernel: Kernel;
  readonly #shadows: Shadows;
  readonly #cacheTokens: number;
  readonly #running = new Map<string, WorkerId>();
  #nowUs = 0;
  #requests = 0;

  constructor({ policy, workers, shadows, cacheTokens, queueUsMax, seed = 1 }: Given) {
    const config = Config.parse({});
    const limits = queueUsMax === undefined ? config.limits : { ...config.limits, queueUsMax };
    const rng = new Prng(seed);
    this.#kernel = new Kernel({ settings: { policy, ...limits }, rng: rng.fork('kernel') });
    const names = shadows ?? ['random', 'round-robin', 'sticky'];
    this.#shadows = new Shadows({ policy, ...limits, shadows: names }, rng.fork('shadows'));
    this.#cacheTokens = cacheTokens ?? 100_000;
    for (let i = 0; i < workers; i++) this.join(i);
  }

  report(): PolicyReport[] {
    return this.#shadows.report(this.#nowUs);
  }

  row(policy: string, role = 'shadow'): Figures {
    const row = this.report().find((one) => one.policy === policy && one.role === role);
    return row?.wouldBe ?? assert.fail(`there is no row of ${policy} as ${role}`);
  }

  figures(policy: string, role?: string) {
    const { promptTokens, cachedTokens } = this.row(policy, role);
    return { prompt: promptTokens, cached: cachedTokens };
  }

  join(i: number): void {
    const worker: Worker = {
      id: `w${i}` as WorkerId,
      models: ['demo'],
      blockTokens: BLOCK,
      contextTokens: 1_000_000,
      slots: 4,
      requestsMax: 64,
      cacheTokens: this.#cacheTokens,
      hasEvents: false,
      prefill: { perTokenUs: 50, perTokenContextUs: 0 },
      decode: { stepUs: 1000, perSequenceUs: 10 },
    };
    this.tell({ kind: 'workerJoined', worker });
  }

  /** A whole request of a thread that only grows. */
  turn(thread: string, blocks: number): void {
    const id = this.ask(thread, blocks);
    this.#nowUs += 20_000;
    this.tell({ kind: 'firstTokenSent', request: id });
    this.#nowUs += 5_000;
    this.end(id);
  }

  ask(thread: string, blocks: number): RequestId {
    const id = `r${this.#requests++}` as RequestId;
    const start = BigInt([...thread].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7));
    const request = {
      id,
      tenant: 'default' as TenantId,
      model: 'demo',
      thread: thread as ThreadId,
      promptTokens: blocks * BLOCK + 1,
      hashes: BigUint64Array.from({ length: blocks }, (_, i) => start * 100_000n + BigInt(i)),
      blockTokens: BLOCK,
      outputTokensMax: 20,
      priority: 0,
    };
    this.tell({ kind: 'arrived', request });
    return id;
  }

  end(request: RequestId): void {
    this.tell({ kind: 'finished', request, outputTokens: 20, cachedTokens: undefined });
  }

  /** Requests at random, some of which fail or are given up, while workers come and go. */
  wander(rng: Prng, steps: number): number {
    let answered = 0;
    const open = () => [...this.#running.keys()] as RequestId[];
    for (let i = 0; i < steps; i++) {
      this.#shadows.check();
      this.#nowUs += rng.below(100_000);
      const draw = rng.below(100);
      if (draw < 45 || this.#running.size === 0) this.ask(`t${rng.below(5)}`, 1 + rng.below(60));
      else if (draw < 55) this.tell({ kind: 'firstTokenSent', request: rng.pick(open()) });
      else if (draw < 85) {
        answered++;
        this.end(rng.pick(open()));
      } else if (draw < 90) this.tell({ kind: 'cancelled', request: rng.pick(open()) });
      else if (draw < 95) {
        const request = rng.pick(open());
        const worker = this.#running.get(request) as WorkerId;
        this.#running.delete(request);
        this.tell({ kind: 'failed', request, worker, retry: rng.below(2) === 0 });
      } else if (draw < 97) {
        const worker = `w${rng.below(3)}` as WorkerId;
        this.tell({ kind: 'healthChanged', worker, healthy: rng.below(3) > 0 });
      }
    }
    return answered;
  }

  tell(fact: Fact): void {
    const orders = this.#kernel.handle(this.#nowUs, fact);
    this.#shadows.handle(this.#nowUs, fact, orders);
    if (fact.kind === 'finished' || fact.kind === 'cancelled') this.#running.delete(fact.request);
    for (const order of orders) {
      if (order.kind === 'dispatch') this.#running.set(order.request, order.worker);
    }
  }
}
