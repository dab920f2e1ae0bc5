import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import { Config } from '../../model/config.ts';
import type { RequestId, TenantId, WorkerId } from '../../model/ids.ts';
import type { Fact } from '../../model/kernel-io.ts';
import { Kernel } from '../kernel.ts';

const WORKERS = 3;

test('it runs only where nothing else does, one prompt at a time, and all of it in the end', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const desk = new Desk(seed);
      const { random } = desk;
      for (let i = 0; i < 150; i++) {
        const action = random.below(10);
        if (action < 3) desk.asks({ prefix: `batch ${random.below(4)}`, whenIdle: true });
        else if (action < 5) desk.asks({ prefix: `agent ${random.below(6)}` });
        else if (action < 7) desk.speaks();
        else if (action < 9) desk.ends();
        else desk.cancels();
        desk.passes(random.below(3_000_000));
      }
      desk.drain();
      assert.equal(desk.open.size, 0, `seed ${seed}: everybody is served`);
    }),
    { numRuns: 60 },
  );
});

test('prompts that begin alike follow each other on one worker', () => {
  const desk = new Desk(1);
  for (let i = 0; i < 120; i++) desk.asks({ prefix: `batch ${i % 6}`, whenIdle: true });
  desk.drain();
  const changes = [...desk.prefixes.values()].flatMap((prefixes) =>
    prefixes.filter((prefix, i) => prefix !== prefixes[i - 1]),
  );
  assert.equal(changes.length, 6, 'each beginning is computed once in the fleet');
});

test('a stream of one beginning does not keep another waiting for ever', () => {
  const desk = new Desk(2, 1);
  for (let i = 0; i < 3; i++) desk.asks({ prefix: 'popular', whenIdle: true });
  const other = desk.asks({ prefix: 'other', whenIdle: true });
  for (let i = 0; desk.open.get(other)?.worker === undefined; i++) {
    assert.ok(i < 200, 'it gets its turn');
    desk.asks({ prefix: 'popular', whenIdle: true });
    desk.passes(1_000_000);
    desk.speaks();
    desk.ends();
  }
});

test('who is at home with a worker that is never idle goes elsewhere after a while', () => {
  const desk = new Desk(3, 2);
  const first = desk.asks({ prefix: 'batch', whenIdle: true });
  const home = desk.open.get(first)?.worker;
  desk.speaks();
  desk.ends();
  for (const worker of ['worker-0', 'worker-1']) desk.asks({ prefix: worker, worker });
  const second = desk.asks({ prefix: 'batch', whenIdle: true });
  desk.ends((one) => one.worker !== home);
  assert.equal(desk.open.get(second)?.worker, undefined, 'its home may soon be idle');
  desk.passesUntilWake();
  assert.notEqual(desk.open.get(second)?.worker ?? home, home);
});

interface Open {
  prefix: string;
  whenIdle: boolean;
  worker: WorkerId | undefined;
  hasSpoken: boolean;
}

/** A kernel, what it ordered, and whether it may. */
class Desk {
  readonly random: Prng;
  readonly open = new Map<RequestId, Open>();
  /** What each worker was given to do when it was idle. */
  readonly prefixes = new Map<WorkerId, string[]>();
  readonly #kernel: Kernel;
  #nowUs = 0;
  #wakeUs = Number.POSITIVE_INFINITY;
  #next = 0;

  constructor(seed: number, workers = WORKERS) {
    this.random = new Prng(seed);
    const { limits } = Config.parse({});
    // Nobody is refused for having waited for too long.
    const settings = {
      policy: 'stator-ungated',
      ...limits,
      queueUsMax: 1e12,
      requestsPerSlotMax: 1,
    };
    this.#kernel = new Kernel({ settings, rng: new Prng(seed) });
    for (let i = 0; i < workers; i++) this.tells({ kind: 'workerJoined', worker: workerOf(i) });
  }

  asks(given: { prefix: string; whenIdle?: true; worker?: string }): RequestId {
    const id = `r${this.#next++}` as RequestId;
    const { prefix, whenIdle, worker } = given;
    const isIdle = whenIdle === true;
    this.open.set(id, { prefix, whenIdle: isIdle, worker: undefined, hasSpoken: false });
    const hashes = hashesOf(prefix, this.#next);
    const request = {
      ...{ id, tenant: 't' as TenantId, model: 'm', thread: undefined, hashes, blockTokens: 16 },
      ...{ promptTokens: hashes.length * 16 + 1, outputTokensMax: 10, priority: 0, whenIdle },
      wants:
        worker === undefined
          ? undefined
          : { worker: worker as WorkerId, tolerations: [], labels: [] },
    };
    this.tells({ kind: 'arrived', request });
    return id;
  }

  /** Somebody's first token. */
  speaks(): void {
    const silent = this.#running().filter(([, { hasSpoken }]) => !hasSpoken);
    if (silent.length === 0) return;
    const [id, one] = this.random.pick(silent);
    one.hasSpoken = true;
    this.tells({ kind: 'firstTokenSent', request: id });
  }

  ends(which: (one: Open) => boolean = () => true): void {
    const spoken = this.#running().filter(
      ([, one]) => (one.hasSpoken || !one.whenIdle) && which(one),
    );
    if (spoken.length === 0) return;
    const [id] = this.random.pick(spoken);
    this.open.delete(id);
    this.tells({ kind: 'finished', request: id, outputTokens: 5, cachedTokens: undefined });
  }

  cancels(): void {
    if (this.open.size === 0) return;
    const id = this.random.pick([...this.open.keys()]);
    this.open.delete(id);
    this.tells({ kind: 'cancelled', request: id });
  }

  passes(us: number): void {
    this.#nowUs += us;
  }

  /** Nothing happens but what the kernel asked for. */
  passesUntilWake(): void {
    assert.ok(Number.isFinite(this.#wakeUs), 'it asked to be woken');
    this.#nowUs = this.#wakeUs;
    this.tells({ kind: 'ticked' });
  }

  drain(): void {
    for (let i = 0; this.open.size > 0; i++) {
      assert.ok(i < 5_000, 'it comes to an end');
      this.passes(10_000);
      this.speaks();
      this.ends();
      if (this.#nowUs >= this.#wakeUs) this.tells({ kind: 'ticked' });
    }
  }

  tells(fact: Fact): void {
    const orders = this.#kernel.handle(this.#nowUs, fact);
    this.#kernel.check();
    this.#wakeUs = Number.POSITIVE_INFINITY;
    for (const order of orders) {
      if (order.kind === 'wake') this.#wakeUs = order.atUs;
      if (order.kind !== 'dispatch') continue;
      const one = this.open.get(order.request);
      assert.ok(one !== undefined && one.worker === undefined, 'who asks is sent once');
      if (one.whenIdle) this.#mayRun(order.worker, one);
      one.worker = order.worker;
    }
  }

  #mayRun(worker: WorkerId, one: Open): void {
    for (const other of this.open.values()) {
      if (other === one) continue;
      if (!other.whenIdle) {
        assert.ok(other.worker !== undefined, 'while somebody waits nothing else is begun');
        assert.notEqual(other.worker, worker, 'nor beside those that run');
      } else if (other.worker === worker) assert.ok(other.hasSpoken, 'one prompt at a time');
    }
    const prefixes = this.prefixes.get(worker) ?? [];
    this.prefixes.set(worker, [...prefixes, one.prefix]);
  }

  #running(): [RequestId, Open][] {
    return [...this.open].filter(([, { worker }]) => worker !== undefined);
  }
}

/** Forty blocks of the prefix, two of its own. */
function hashesOf(prefix: string, serial: number): BigUint64Array {
  const seed = BigInt([...prefix].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7));
  return BigUint64Array.from(
    { length: 42 },
    (_, i) => BigInt(i) + (i < 40 ? seed * 1_000n : 1_000_000_000_000n + BigInt(serial) * 1_000n),
  );
}

function workerOf(index: number) {
  return {
    id: `worker-${index}` as WorkerId,
    models: ['m'],
    blockTokens: 16,
    contextTokens: 32_768,
    slots: 4,
    requestsMax: 64,
    cacheTokens: 100_000,
    hasEvents: true,
    class: 'c',
    prefill: { perTokenUs: 100, perTokenContextUs: 0.05 },
    decode: { stepUs: 500, perSequenceUs: 300 },
  };
}
