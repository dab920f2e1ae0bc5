/** Each rival on an example small enough to compute by hand; blocks are of 16 tokens. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../../base/assert.ts';
import { Prng } from '../../../base/prng.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../../../model/ids.ts';
import type { Arrival, Candidate } from '../../../model/kernel-io.ts';
import type { Worker } from '../../../model/worker.ts';
import { type Policy, seenAs } from '../../policy.ts';
import { makePolicy } from '../policies.ts';

test('power-of-two: the idler of two, so that the busiest of three is never chosen', () => {
  const stage = new Stage('power-of-two');
  stage.requests = { a: 5, b: 1, c: 2 };
  const chosen = new Set(Array.from({ length: 60 }, () => stage.choose(stage.request(100))));
  assert.deepEqual([...chosen].sort(), ['b', 'c']);
});

test('dynamo: uncached and queued prefill blocks, plus blocks that would be active', () => {
  const stage = new Stage('dynamo');
  // 160 tokens are 10 blocks. a: 10 − 6 + 10 = 14; b: 10 + 10 = 20; c: 20.
  stage.matched = { a: 96 };
  assert.equal(stage.place(stage.request(160, 1)), 'a');
  // Now a has 64 tokens (4 blocks) to prefill and 10 active blocks. Another prompt of 10 blocks:
  // a: (4 + 10) − 3 + 20 = 31; b: 20; so b or c, though a holds more of it.
  stage.matched = { a: 48 };
  assert.notEqual(stage.choose(stage.request(160, 200)), 'a');
  // The same prompt again: its blocks on a are active already. a: (4 + 10) − 9 + 10 = 15.
  stage.matched = { a: 144 };
  assert.equal(stage.choose(stage.request(160, 1)), 'a');
});

test('dynamo: the first token ends a prefill, the end frees the blocks', () => {
  const stage = new Stage('dynamo', ['a', 'b']);
  stage.matched = { a: 16 };
  assert.equal(stage.place(stage.request(160, 1)), 'a');
  stage.matched = { a: 16 };
  // a: 9 + 10 − 1 + 20 = 38, b: 20. After the first token a: 10 − 1 + 20 = 29. At the end: 19.
  const next = () => stage.choose(stage.request(160, 300));
  assert.equal(next(), 'b');
  stage.hears('firstTokenSent', 1);
  assert.equal(next(), 'b');
  stage.hears('finished', 1);
  assert.equal(next(), 'a');
});

test('dynamo: a block in host memory is worth three quarters, one on disk a quarter', () => {
  const stage = new Stage('dynamo', ['a', 'b']);
  // a: 10 − 0.75·8 + 10 = 14; b: 10 − 5 + 10 = 15.
  stage.matched = { a: 128, b: 80 };
  stage.host = { a: 128 };
  assert.equal(stage.choose(stage.request(160, 1)), 'a');
  // a: 10 − 0.25·8 + 10 = 18.
  stage.host = {};
  stage.disk = { a: 128 };
  assert.equal(stage.choose(stage.request(160, 1)), 'b');
});

test('dynamo at weight 8 stays with its cache where weight 1 leaves it', () => {
  // The other has nothing: 10·w + 10. Here 4 blocks are missing and 17 active: 4·w + 27.
  // w = 1: 31 against 20; w = 8: 59 against 90.
  for (const [name, expected] of [
    ['dynamo', 'b'],
    ['dynamo-w8', 'a'],
  ]) {
    const stage = new Stage(name, ['a', 'b']);
    stage.matched = { a: 260 };
    assert.equal(stage.place(stage.request(272, 500)), 'a');
    stage.hears('firstTokenSent', 1);
    stage.matched = { a: 96 };
    assert.equal(stage.choose(stage.request(160, 1)), expected, name);
  }
});

test('dynamo-decay: a backlog of one prompt halves the credit', () => {
  // a: 160 tokens queued, excess (160 − 0) / 16 / 10 = 1, decay 1/2.
  // Without decay: 20 − 9 + 20 = 31; with: 20 − 4.5 + 20 = 35.5. b, with 16 active: 10 + 26 − 2.5 = 33.5.
  const chosen = ['dynamo', 'dynamo-decay'].map((name) => {
    const stage = new Stage(name, ['a', 'b']);
    stage.matched = {};
    stage.only = ['a'];
    stage.place(stage.request(160, 300));
    stage.only = ['b'];
    stage.place(stage.request(256, 600));
    stage.hears('firstTokenSent', 2);
    stage.only = undefined;
    stage.matched = { a: 144, b: 40 };
    return stage.choose(stage.request(160, 1));
  });
  assert.deepEqual(chosen, ['a', 'b']);
});

test('dynamo-agentic: an active request weighs 64 blocks, an overlap counts eightfold', () => {
  const stage = new Stage('dynamo-agentic', ['a', 'b']);
  stage.matched = { a: 16 };
  assert.equal(stage.place(stage.request(160, 300)), 'a');
  stage.hears('firstTokenSent', 1);
  // b: 4·10 + 10 = 50. a: 4·max(0, 10 − 2·5) + 20 + 64 = 84 with half of it cached: not enough.
  stage.matched = { a: 80 };
  assert.equal(stage.choose(stage.request(160, 1)), 'b');
});

test('smg: above a match of 0.3 the best match, below it the least loaded', () => {
  const stage = new Stage('smg');
  assert.equal(stage.place(stage.request(160, 1)), 'a', 'nothing matches: first in order');
  stage.requests = { a: 1 };
  // Shares 4 of 10 blocks with the first.
  assert.equal(stage.choose(stage.request(160, 1, 4)), 'a');
  // Shares 3 of 10: not more than 0.3.
  assert.equal(stage.choose(stage.request(160, 1, 3)), 'b');
  // Mean 30: 90 is more than 1.5 × the mean, but not than the mean + 64. Mean 32.7: 98 is more than both.
  stage.requests = { a: 90 };
  assert.equal(stage.choose(stage.request(160, 1)), 'a');
  stage.requests = { a: 98 };
  assert.equal(stage.choose(stage.request(160, 1)), 'b');
});

test('llm-d: 3 × prefix + 2 × queue + 2 × free KV', () => {
  const stage = new Stage('llm-d', ['a', 'b']);
  stage.only = ['a'];
  stage.place(stage.request(160, 1));
  stage.only = undefined;
  // a waits for its first token: a = 3·1 + 2·0 + 2·(1 − 160/1600) = 4.8; b = 0 + 2 + 2 = 4.
  assert.equal(stage.choose(stage.request(160, 1)), 'a');
  // Half of the prompt is there: a = 1.5 + 0 + 1.8 = 3.3; b = 4.
  assert.equal(stage.choose(stage.request(160, 1, 5)), 'b');
  stage.hears('firstTokenSent', 1);
  // Nobody waits now: a = 1.5 + 2 + 1.8 = 5.3; b = 4.
  assert.equal(stage.choose(stage.request(160, 1, 5)), 'a');
});

test('vllm-router-hash: a session keeps its worker, and moves only if that one goes', () => {
  const stage = new Stage('vllm-router-hash', ['a', 'b', 'c', 'd']);
  const homes = Array.from({ length: 200 }, (_, i) =>
    stage.choose(stage.request(160, i, 0, `s${i}`)),
  );
  for (const worker of ['a', 'b', 'c', 'd']) {
    assert.ok(homes.filter((home) => home === worker).length > 20, 'each has a fair part');
  }
  stage.only = ['a', 'b', 'c'];
  homes.forEach((home, i) => {
    const now = stage.choose(stage.request(160, i, 0, `s${i}`));
    if (home !== 'd') assert.equal(now, home);
  });
});

test('aibrix: the best match within a standard deviation of the load, else the idlest', () => {
  const stage = new Stage('aibrix');
  stage.only = ['a'];
  stage.place(stage.request(160, 1));
  stage.only = undefined;
  stage.requests = { a: 2, b: 1, c: 1 };
  // Mean 4/3, deviation 0.47: at most 1.80, and a has 2.
  assert.notEqual(stage.choose(stage.request(160, 1)), 'a');
  stage.requests = { a: 2, b: 0, c: 3 };
  // Mean 5/3, deviation 1.25: at most 2.91.
  assert.equal(stage.choose(stage.request(160, 1)), 'a');
  stage.requests = { a: 2, b: 0, c: 9 };
  assert.equal(stage.choose(stage.request(160, 1)), 'b', 'more than 8 apart: the idlest');
});

test('preble: exploits where more is cached than missing, explores by work given otherwise', () => {
  const stage = new Stage('preble', ['a', 'b']);
  stage.only = ['a'];
  stage.place(stage.request(320, 1));
  stage.only = ['b'];
  stage.place(stage.request(240, 900));
  stage.only = undefined;
  // 6 of 10 blocks: exploit, though b was given less.
  assert.equal(stage.choose(stage.request(160, 1, 6)), 'a');
  // 4 of 10 blocks cached on a: explore. L: a 3200 + decode, b 2400 + decode; P: a 960, b 1600.
  // a: 4160, b: 4000 and the same decode.
  assert.equal(stage.choose(stage.request(160, 1, 4)), 'b');
  // Three minutes later nobody was given anything lately: what is cached decides.
  stage.nowUs += 181_000_000;
  stage.hears('ticked', 0);
  assert.equal(stage.choose(stage.request(160, 1, 4)), 'a');
});

test('conductor: queued prefill time plus this prompt’s own', () => {
  const stage = new Stage('conductor', ['a', 'b']);
  stage.matched = { a: 16 };
  assert.equal(stage.place(stage.request(160, 1)), 'a');
  // a: 1440 µs queued. With 48 tokens less to compute: 1440 + 1120 against 1600.
  stage.matched = { a: 48 };
  assert.equal(stage.choose(stage.request(160, 1)), 'b');
  stage.hears('firstTokenSent', 1);
  assert.equal(stage.choose(stage.request(160, 1)), 'a');
});

test('lmetric: tokens to prefill times the batch it would join', () => {
  const stage = new Stage('lmetric', ['a', 'b']);
  stage.matched = { a: 16 };
  assert.equal(stage.place(stage.request(160, 1)), 'a');
  stage.hears('firstTokenSent', 1);
  // a: (160 − 96)·2 = 128 against 160; with 64 cached: 192.
  stage.matched = { a: 96 };
  assert.equal(stage.choose(stage.request(160, 1)), 'a');
  stage.matched = { a: 64 };
  assert.equal(stage.choose(stage.request(160, 1)), 'b');
});

test('a rival sees no more than its view', () => {
  for (const name of ['random', 'smg', 'llm-d', 'aibrix', 'preble', 'vllm-router-hash']) {
    const policy = must(makePolicy(name, { threadsMax: 9 }), name);
    const candidate = { matchedTokens: 64 } as Candidate;
    const seen = seenAs(policy, workerOf('a'), { requests: 0, candidate });
    assert.equal(seen.matchedTokens, 0, name);
    assert.equal(seen.price, undefined, name);
  }
  const dynamo = must(makePolicy('dynamo', { threadsMax: 9 }), 'dynamo');
  const candidate = { matchedTokens: 64 } as Candidate;
  const seen = seenAs(dynamo, workerOf('a'), { requests: 0, candidate });
  assert.deepEqual([seen.matchedTokens, seen.price], [64, undefined]);
});

/** A policy and what it is shown. */
class Stage {
  matched: Record<string, number> = {};
  host: Record<string, number> = {};
  disk: Record<string, number> = {};
  requests: Record<string, number> = {};
  only: string[] | undefined;
  nowUs = 0;
  readonly #policy: Policy;
  readonly #workers: string[];
  readonly #rng = new Prng(1);
  #placed = 0;

  constructor(name: string, workers = ['a', 'b', 'c']) {
    this.#policy = must(makePolicy(name, { threadsMax: 100 }), name);
    this.#workers = workers;
  }

  /** Its first `shared` blocks are those of any prompt with the same `start`, the others nobody has. */
  request(tokens: number, start = 1, shared = tokens / 16, thread?: string): Arrival {
    const count = Math.floor(tokens / 16);
    const own = BigInt(1_000_000 + this.#placed * 1000);
    return {
      id: `r${this.#placed + 1}` as RequestId,
      tenant: 't' as TenantId,
      model: 'm',
      thread: thread as ThreadId | undefined,
      promptTokens: tokens,
      hashes: BigUint64Array.from({ length: count }, (_, i) =>
        i < shared ? BigInt(start * 1000 + i) : own + BigInt(i),
      ),
      blockTokens: 16,
      outputTokensMax: 100,
      priority: 0,
    };
  }

  choose(request: Arrival): string {
    const seen = (this.only ?? this.#workers).map((worker) =>
      seenAs(this.#policy, workerOf(worker), {
        requests: this.requests[worker] ?? 0,
        candidate: {
          matchedTokens: this.matched[worker] ?? 0,
          hostTokens: this.host[worker] ?? 0,
          diskTokens: this.disk[worker] ?? 0,
        } as Candidate,
      }),
    );
    return this.#policy.choose(request, seen, this.#rng);
  }

  place(request: Arrival): string {
    const worker = this.choose(request);
    this.#policy.placed?.(request, worker as WorkerId);
    this.#placed++;
    return worker;
  }

  /** Of the request that was placed as the nth. */
  hears(kind: 'firstTokenSent' | 'finished' | 'ticked', nth: number): void {
    const request = `r${nth}` as RequestId;
    const finished = { kind: 'finished', request, outputTokens: 200, cachedTokens: 0 } as const;
    if (kind === 'finished') this.#policy.hears?.(this.nowUs, finished);
    else if (kind === 'ticked') this.#policy.hears?.(this.nowUs, { kind });
    else this.#policy.hears?.(this.nowUs, { kind, request });
  }
}

function workerOf(id: string): Worker {
  return {
    id: id as WorkerId,
    models: ['m'],
    blockTokens: 16,
    contextTokens: 10_000,
    slots: 4,
    requestsMax: 100,
    cacheTokens: 1600,
    hasEvents: true,
    prefill: { perTokenUs: 10, perTokenContextUs: 0 },
    decode: { stepUs: 100, perSequenceUs: 0 },
  };
}
