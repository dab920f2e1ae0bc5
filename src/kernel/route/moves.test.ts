import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import { Config } from '../../model/config.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { Candidate, Fact, Order } from '../../model/kernel-io.ts';
import { Kernel } from '../kernel.ts';

/** 10,000 tokens; at 100 µs a token a second to compute. */
const CONTEXT = BigUint64Array.from({ length: 625 }, (_, i) => BigInt(i + 1));

test('a thread whose worker is busy goes to an idle one, and its KV with it', () => {
  const fleet = new Fleet();
  const [first] = fleet.asks('thread', CONTEXT);
  assert.ok(first.kind === 'dispatch');
  const home = first.worker;
  fleet.holds(home, CONTEXT);
  fleet.ends(first.request);
  // Eight others keep it busy with prompts that only it holds.
  for (let i = 0; i < 8; i++) fleet.occupies(home);
  const [move, dispatch] = fleet.asks('thread', CONTEXT);
  assert.ok(move.kind === 'replicate' && dispatch.kind === 'dispatch');
  assert.notEqual(dispatch.worker, home);
  assert.deepEqual([move.from, move.to, move.leaves], [home, dispatch.worker, true]);
  assert.deepEqual(move.hashes, CONTEXT);
  assert.ok(move.usMax > 500_000 && move.usMax <= 1_000_000, 'as long as computing it would take');
  const { awaits, brings, matchedTokens, terms } = chosen(dispatch);
  assert.deepEqual([awaits, brings, matchedTokens], [move.move, home, 10_000]);
  assert.ok(terms.fetch > 0 && terms.prefill < 100_000);
  fleet.check();
});

test('where its own worker is free, nothing is moved, whatever moving costs', () => {
  const fleet = new Fleet();
  const [first] = fleet.asks('thread', CONTEXT);
  assert.ok(first.kind === 'dispatch');
  fleet.holds(first.worker, CONTEXT);
  fleet.ends(first.request);
  const again = fleet.asks('thread', CONTEXT);
  assert.deepEqual(
    again.map(({ kind }) => kind),
    ['dispatch'],
  );
  assert.ok(again[0].kind === 'dispatch' && again[0].worker === first.worker);
});

test('a prefix that others use stays where it is as well', () => {
  const fleet = new Fleet();
  fleet.holds('w0', CONTEXT);
  for (let i = 0; i < 8; i++) fleet.occupies('w0');
  const [move, dispatch] = fleet.asks('new thread', CONTEXT);
  assert.ok(move.kind === 'replicate' && dispatch.kind === 'dispatch');
  assert.deepEqual([move.from, move.leaves], ['w0', undefined]);
});

test('who just failed to give or take KV is not asked again soon', () => {
  const fleet = new Fleet();
  fleet.holds('w0', CONTEXT);
  for (let i = 0; i < 8; i++) fleet.occupies('w0');
  const [move] = fleet.asks('one', CONTEXT);
  assert.ok(move.kind === 'replicate');
  fleet.tells({
    ...{ kind: 'replicated', move: move.move, ok: false },
    ...{ blocks: 0, tokens: 0, tookUs: 1000 },
  });
  const next = fleet.asks('two', CONTEXT);
  assert.deepEqual(
    next.map(({ kind }) => kind),
    ['dispatch'],
  );
  fleet.check();
});

function chosen({ worker, decision }: Extract<Order, { kind: 'dispatch' }>): Candidate {
  const found = decision.candidates.find((one) => one.worker === worker);
  assert.ok(found !== undefined);
  return found;
}

/** Two workers of one class that take and give KV. */
class Fleet {
  readonly #kernel: Kernel;
  #nowUs = 0;
  #requests = 0;

  constructor() {
    const settings = { policy: 'stator', ...Config.parse({}).limits };
    this.#kernel = new Kernel({ settings, rng: new Prng(1) });
    for (const id of ['w0', 'w1'] as WorkerId[]) {
      const worker = {
        ...{ id, models: ['m'], blockTokens: 16, contextTokens: 32_000, slots: 16 },
        ...{ requestsMax: 100, cacheTokens: 200_000, hasEvents: true },
        ...{ class: 'one', kvLayout: 'equal' },
        prefill: { perTokenUs: 100, perTokenContextUs: 0 },
        decode: { stepUs: 500, perSequenceUs: 300 },
      };
      this.tells({ kind: 'workerJoined', worker });
    }
  }

  tells(fact: Fact): Order[] {
    this.#nowUs += 1000;
    return this.#kernel.handle(this.#nowUs, fact);
  }

  /** What is done with a request, wakes apart. */
  asks(thread: string, hashes: BigUint64Array): Order[] {
    const request = {
      ...{ id: `r${this.#requests++}` as RequestId, tenant: 'default' as TenantId, model: 'm' },
      ...{ thread: thread as ThreadId, promptTokens: hashes.length * 16 + 5, hashes },
      ...{ blockTokens: 16, outputTokensMax: 100, priority: 0 },
    };
    return this.tells({ kind: 'arrived', request }).filter(({ kind }) => kind !== 'wake');
  }

  /** A prompt of its own that only `worker` may serve, and computes for a second. */
  occupies(worker: string): void {
    const number = BigInt(1_000_000 * (this.#requests + 1));
    const hashes = CONTEXT.map((hash) => hash + number);
    const id = `r${this.#requests++}` as RequestId;
    const wants = { worker: worker as WorkerId, tolerations: [], labels: [] };
    const request = {
      ...{ id, tenant: 'default' as TenantId, model: 'm', thread: undefined, hashes },
      ...{ promptTokens: hashes.length * 16 + 5, blockTokens: 16, outputTokensMax: 100 },
      ...{ priority: 0, wants },
    };
    this.tells({ kind: 'arrived', request });
  }

  holds(worker: string, hashes: BigUint64Array): void {
    this.tells({ kind: 'blocksStored', worker: worker as WorkerId, hashes, tier: 'device' });
  }

  /** As long as it was predicted to take. */
  ends(request: RequestId): void {
    this.#nowUs += 1_000_000;
    this.tells({ kind: 'firstTokenSent', request });
    this.tells({ kind: 'finished', request, outputTokens: 10, cachedTokens: 0 });
  }

  check(): void {
    this.#kernel.check();
  }
}
