/** Each rival with a gate on an example small enough to compute by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../../base/prng.ts';
import { Config } from '../../../model/config.ts';
import type { RequestId, SessionId, TenantId, ThreadId, WorkerId } from '../../../model/ids.ts';
import type { Arrival, Fact } from '../../../model/kernel-io.ts';
import type { Worker } from '../../../model/worker.ts';
import { Kernel } from '../../kernel.ts';

const S = 1_000_000;

test('thunderagent: a program begins where most is left, and waits where its context fits nowhere', () => {
  const stage = new Stage('thunderagent', { a: 10_000, b: 8_000 });
  assert.equal(stage.ask('p', 5_000), 'a');
  // a has 10,000 − 5,357 = 4,643 left, b 8,000.
  assert.equal(stage.ask('q', 5_000), 'b');
  // b has 2,643 left: 4,200 and the buffer of 357 fit on a, 4,400 and it nowhere.
  assert.equal(stage.ask('r', 4_400), undefined);
  assert.equal(stage.ask('s', 4_200), 'a');
});

test('thunderagent: what acts counts half with each second, and room is given every five', () => {
  const stage = new Stage('thunderagent', { a: 10_000 });
  stage.ask('p', 8_000);
  stage.at(4 * S);
  stage.end('p');
  assert.equal(stage.ask('q', 4_000), undefined, 'p has just begun to act');
  stage.at(5 * S);
  // p: 4,000 + 357; q: 4,357; together 8,714, more than 0.85 of 10,000.
  assert.equal(stage.placed.get('q'), undefined);
  stage.at(9 * S);
  // p would be 250 by now, but the next tick is at 10 s.
  assert.equal(stage.placed.get('q'), undefined);
  stage.at(10 * S);
  assert.equal(stage.placed.get('q'), 'a');
});

test('thunderagent: above 0.95 the smallest acting program is paused, then the smallest at work', () => {
  const stage = new Stage('thunderagent', { a: 10_000 });
  for (const [id, tokens] of Object.entries({ p: 3_000, q: 2_500, r: 3_000 })) {
    assert.equal(stage.ask(id, tokens), 'a');
  }
  stage.end('p');
  stage.end('q');
  stage.end('r');
  stage.at(4.9 * S);
  assert.equal(stage.ask('p', 5_000), 'a');
  assert.equal(stage.ask('q', 4_500), 'a');
  // At the tick r acts (357 and little more); p and q are at work: 5,357 + 4,857. r is not enough.
  stage.at(5 * S);
  assert.equal(stage.ask('r', 3_100), undefined, 'paused');
  stage.end('q');
  assert.equal(stage.ask('q', 4_100), undefined, 'paused when its call ended');
  stage.at(10 * S);
  // p leaves 0.85 · 10,000 − 5,357 = 3,143, too little for 3,100 and a buffer.
  assert.equal(stage.placed.get('r'), undefined);
  // p acts from 10 s on; at 15 s it is 357 and a little: both are resumed, the smaller first.
  stage.end('p');
  stage.at(15 * S);
  assert.equal(stage.placed.get('r'), 'a');
  assert.equal(stage.placed.get('q'), 'a');
});

test('thunderagent: whoever is paused for half an hour is resumed whatever there is', () => {
  const stage = new Stage('thunderagent', { a: 10_000 });
  stage.ask('p', 9_000);
  assert.equal(stage.ask('q', 9_000), undefined);
  stage.at(1_799 * S);
  assert.equal(stage.placed.get('q'), undefined);
  stage.at(1_805 * S);
  assert.equal(stage.placed.get('q'), 'a');
});

test('continuum: an ended turn keeps its room for its time to live', () => {
  const stage = new Stage('continuum', { a: 10_000 });
  stage.ask('p', 8_000);
  stage.end('p');
  // No gap seen: the exponential of 10 s. Of the shares tried, q·8.02 s − (−ln(1 − q)·10 s)·0.802 is
  // above 0 nowhere (0.25: 2.005 − 2.307), so nothing is kept for 8 s of prefill,
  assert.equal(stage.ask('q', 8_000), 'a');
  // but with 100 s of it q·80.2 s − … is most at 0.9: 72.2 − 18.5 = 53.7 (0.95: 52.2; 0.8: 51.3).
  const slow = new Stage('continuum', { a: 10_000 }, 10_000);
  slow.ask('other', 500);
  slow.ask('p', 8_000);
  slow.end('p');
  assert.equal(slow.ask('q', 8_000), undefined);
  slow.at(23 * S);
  assert.equal(slow.placed.get('q'), undefined);
  slow.at(24 * S);
  assert.equal(slow.placed.get('q'), 'a');
});

test('continuum: no pin stops the only one there is', () => {
  const stage = new Stage('continuum', { a: 10_000 }, 10_000);
  stage.ask('p', 8_000);
  stage.end('p');
  assert.equal(stage.ask('q', 8_000), 'a');
});

test('continuum: pins of later programs give way to earlier ones, not the other way round', () => {
  const stage = new Stage('continuum', { a: 10_000 }, 10_000);
  stage.ask('p', 4_000);
  stage.at(1);
  stage.ask('q', 3_000);
  stage.at(2);
  stage.ask('r', 2_000);
  stage.end('q');
  // p runs. r asks for more than is left beside the pin of q, which came first.
  stage.end('r');
  assert.equal(stage.ask('r', 4_000), undefined);
  // q itself needs more: r waits and holds nothing.
  assert.equal(stage.ask('q', 5_500), 'a');
});

test('continuum: who came first goes first, whoever asked first', () => {
  const stage = new Stage('continuum', { a: 10_000 }, 10_000);
  stage.ask('p', 6_000);
  stage.at(1);
  stage.ask('q', 3_000);
  stage.end('q');
  stage.at(2);
  assert.equal(stage.ask('r', 5_000), undefined);
  assert.equal(stage.ask('q', 5_000), undefined);
  stage.at(200 * S);
  stage.end('p');
  stage.at(900 * S);
  assert.equal(stage.placed.get('q'), 'a');
});

class Stage {
  readonly placed = new Map<string, string>();
  readonly #kernel: Kernel;
  readonly #last = new Map<string, RequestId>();
  #nowUs = 0;
  #next = 0;

  /** Caches of workers in tokens. */
  constructor(policy: string, caches: Record<string, number>, perTokenUs = 1_000) {
    const { limits } = Config.parse({});
    const settings = { ...limits, policy, queueUsMax: 1e12, outputTokensExpected: 20 };
    this.#kernel = new Kernel({ settings, rng: new Prng(1) });
    for (const [id, cacheTokens] of Object.entries(caches)) {
      this.#tell({ kind: 'workerJoined', worker: workerOf(id, cacheTokens, perTokenUs) });
    }
  }

  at(nowUs: number): void {
    this.#nowUs = nowUs;
    this.#tell({ kind: 'ticked' });
  }

  ask(session: string, promptTokens: number): string | undefined {
    const id = `r${this.#next++}` as RequestId;
    this.#last.set(session, id);
    this.placed.delete(session);
    const request: Arrival = {
      id,
      tenant: 't' as TenantId,
      model: 'm',
      thread: session as ThreadId,
      session: session as SessionId,
      promptTokens,
      hashes: new BigUint64Array(0),
      blockTokens: 16,
      outputTokensMax: 100,
      priority: 0,
    };
    this.#tell({ kind: 'arrived', request });
    return this.placed.get(session);
  }

  end(session: string): void {
    const request = this.#last.get(session) as RequestId;
    this.#tell({ kind: 'finished', request, outputTokens: 20, cachedTokens: undefined });
  }

  #tell(fact: Fact): void {
    for (const order of this.#kernel.handle(this.#nowUs, fact)) {
      if (order.kind !== 'dispatch') continue;
      const [session] = [...this.#last].find(([, id]) => id === order.request) ?? [];
      if (session !== undefined) this.placed.set(session, order.worker);
    }
    this.#kernel.check();
  }
}

function workerOf(id: string, cacheTokens: number, perTokenUs: number): Worker {
  return {
    id: id as WorkerId,
    models: ['m'],
    blockTokens: 16,
    contextTokens: 100_000,
    slots: 64,
    requestsMax: 1_000,
    cacheTokens,
    hasEvents: false,
    prefill: { perTokenUs, perTokenContextUs: 0 },
    decode: { stepUs: 10_000, perSequenceUs: 0 },
  };
}
