import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../base/prng.ts';
import { Config } from '../model/config.ts';
import type { RequestId, TenantId, WorkerId } from '../model/ids.ts';
import type { Order } from '../model/kernel-io.ts';
import type { Worker, WorkerMode } from '../model/worker.ts';
import { Kernel } from './kernel.ts';

const BLOCK = 16;
const WORKER = 'w' as WorkerId;
const HONEST: Report = (cached) => cached;
const NEVER: Report = () => 0;
const SILENT: Report = () => undefined;

/** What an engine says it had cached, given what it really had. */
type Report = (cached: number, i: number) => number | undefined;

test('an engine whose events hold stays exact, whatever noise single requests make', () => {
  const engine = new Engine({ hasEvents: true });
  engine.serve(500, (cached, i) => (i % 20 === 0 ? Math.max(0, cached - 64) : cached));
  assert.equal(engine.mode, 'exact');
  assert.deepEqual(engine.warnings, []);
  assert.ok((engine.confidence.agreement ?? 0) > 0.95);
});

test('an engine that never has what it should falls rung by rung, with a word at each, and climbs back', () => {
  const engine = new Engine({ hasEvents: true });
  engine.serve(30, HONEST);
  assert.ok(engine.lastMatched > 0);
  engine.serve(200, NEVER);
  assert.equal(engine.mode, 'loadOnly');
  assert.equal(engine.lastMatched, 0, 'nothing is promised any more');
  assert.equal(engine.warnings.length, 2);
  engine.serve(2000, HONEST);
  assert.equal(engine.mode, 'exact');
  assert.ok(engine.lastMatched > 0);
  assert.equal(engine.warnings.length, 3);
});

test('an engine that claims to have had everything is not believed its events; what it was sent is', () => {
  const engine = new Engine({ hasEvents: true, cacheBlocks: 0 });
  engine.serve(200, (_cached, i) => 100_000 + i);
  assert.equal(engine.mode, 'predicted');
});

test('without events a worker is believed by its placements, and not at all where nothing is cached', () => {
  const engine = new Engine({ hasEvents: false });
  engine.serve(100, HONEST);
  assert.equal(engine.mode, 'predicted');
  assert.ok((engine.confidence.agreement ?? 0) > 0.95);
  engine.serve(400, NEVER);
  assert.equal(engine.mode, 'loadOnly');
  engine.serve(1000, HONEST);
  assert.equal(engine.mode, 'predicted');
});

test('an engine that keeps less than its card says is not taken for one that keeps nothing', () => {
  // Ten sessions of up to eighty blocks do not fit; where one lost its end, older ones are forgotten.
  const engine = new Engine({ hasEvents: false, cacheBlocks: 300 });
  engine.serve(1000, HONEST);
  assert.equal(engine.mode, 'predicted', `${engine.confidence.agreement}`);
  assert.ok((engine.confidence.agreement ?? 0) > 0.5, `${engine.confidence.agreement}`);
});

test('an engine that reports no cached tokens is neither doubted nor trusted more, and that is told', () => {
  const engine = new Engine({ hasEvents: false });
  engine.serve(300, SILENT);
  assert.equal(engine.mode, 'predicted');
  assert.deepEqual(engine.confidence, { agreement: undefined, observations: 0, unreported: 300 });
});

test('an engine that turns now this way, now that, is moved ever more slowly', () => {
  const engine = new Engine({ hasEvents: true });
  for (let i = 0; i < 60; i++) engine.serve(60, i % 2 === 0 ? HONEST : NEVER);
  // Without patience it would fall and climb in each of the sixty spells.
  assert.ok(engine.warnings.length < 25, `${engine.warnings.length} moves`);
});

test('whatever is reported, no mode is above what the events allow, and lost events lower it at once', () => {
  const step = fc.oneof(
    { weight: 20, arbitrary: fc.record({ kind: fc.constant('serve'), lie: fc.nat(1000) }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'lost' }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'cleared' }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const engine = new Engine({ hasEvents: true });
      let heard = true;
      for (const one of steps) {
        if (one.kind === 'serve') engine.serve(1, () => ('lie' in one ? Number(one.lie) : 0));
        else heard = engine.feed(one.kind === 'cleared');
        assert.ok(heard || engine.mode !== 'exact');
      }
    }),
    { numRuns: 100 },
  );
});

/** One worker with a cache that forgets its oldest blocks, and sessions that grow on it. */
class Engine {
  readonly warnings: string[] = [];
  lastMatched = 0;
  readonly #kernel: Kernel;
  readonly #hasEvents: boolean;
  readonly #cacheBlocks: number;
  /** Blocks it holds, oldest first. */
  readonly #held = new Set<bigint>();
  readonly #lengths: number[] = [];
  readonly #rng = new Prng(3);
  #nowUs = 0;
  #served = 0;

  constructor(given: { hasEvents: boolean; cacheBlocks?: number }) {
    this.#hasEvents = given.hasEvents;
    this.#cacheBlocks = given.cacheBlocks ?? 2000;
    const settings = { policy: 'stator', ...Config.parse({}).limits };
    this.#kernel = new Kernel({ settings, rng: new Prng(1) });
    this.#tell({ kind: 'workerJoined', worker: workerOf(given.hasEvents) });
    this.feed(true);
  }

  get #state() {
    return this.#kernel.state(this.#nowUs).workers[0];
  }

  get mode(): WorkerMode {
    return this.#state.mode;
  }

  get confidence() {
    return this.#state.confidence;
  }

  /** Its cache starts over, or events of it are lost. Returns whether its events are whole. */
  feed(whole: boolean): boolean {
    if (!this.#hasEvents) return false;
    if (whole) this.#held.clear();
    this.#tell({ kind: whole ? 'blocksCleared' : 'feedLost', worker: WORKER });
    return whole;
  }

  /** Turns of ten sessions in any order; a session starts over when it is long. */
  serve(turns: number, report: Report): void {
    for (let i = 0; i < turns; i++) {
      this.#served++;
      const session = this.#rng.below(10);
      const length = (this.#lengths[session] ?? 0) + 4;
      this.#lengths[session] = length > 80 ? 4 : length;
      this.#turn(session, this.#lengths[session], (cached) => report(cached, this.#served));
    }
  }

  #turn(session: number, blocks: number, report: (cached: number) => number | undefined): void {
    const id = `r${this.#served}` as RequestId;
    const hashes = BigUint64Array.from({ length: blocks }, (_, i) =>
      BigInt(session * 1000 + i + 1),
    );
    let held = 0;
    while (held < blocks && this.#held.has(hashes[held])) held++;
    const request = {
      id,
      tenant: 'default' as TenantId,
      model: 'demo',
      thread: undefined,
      promptTokens: blocks * BLOCK + 5,
      hashes,
      blockTokens: BLOCK,
      outputTokensMax: 20,
      priority: 0,
    };
    for (const order of this.#tell({ kind: 'arrived', request })) {
      if (order.kind === 'dispatch') this.lastMatched = order.decision.candidates[0].matchedTokens;
    }
    for (let i = blocks - 1; i >= 0; i--) {
      this.#held.delete(hashes[i]);
      this.#held.add(hashes[i]);
    }
    const gone: bigint[] = [];
    for (const hash of this.#held) {
      if (this.#held.size <= this.#cacheBlocks) break;
      this.#held.delete(hash);
      gone.push(hash);
    }
    if (this.#hasEvents) {
      this.#tell({ kind: 'blocksStored', worker: WORKER, hashes, tier: 'device' });
      const removed = BigUint64Array.from(gone);
      this.#tell({ kind: 'blocksRemoved', worker: WORKER, hashes: removed, tier: 'device' });
    }
    const cachedTokens = report(held * BLOCK);
    this.#tell({ kind: 'finished', request: id, outputTokens: 20, cachedTokens });
  }

  #tell(fact: Parameters<Kernel['handle']>[1]): Order[] {
    this.#nowUs += 1000;
    const orders = this.#kernel.handle(this.#nowUs, fact);
    for (const order of orders) if (order.kind === 'warn') this.warnings.push(order.sentence);
    this.#kernel.check();
    return orders;
  }
}

function workerOf(hasEvents: boolean): Worker {
  return {
    id: WORKER,
    models: ['demo'],
    blockTokens: BLOCK,
    contextTokens: 100_000,
    slots: 4,
    requestsMax: 64,
    cacheTokens: 2000 * BLOCK,
    hasEvents,
    prefill: { perTokenUs: 50, perTokenContextUs: 0 },
    decode: { stepUs: 5000, perSequenceUs: 100 },
  };
}
