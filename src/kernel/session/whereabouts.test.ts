import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import { Config } from '../../model/config.ts';
import type { WorkerId } from '../../model/ids.ts';
import type { Worker } from '../../model/worker.ts';
import { Kernel } from '../kernel.ts';

const [A, B] = ['a', 'b'] as WorkerId[];
const HASHES = BigUint64Array.from([1n, 2n, 3n, 4n]);

test('leading blocks are told by worker and tier, as far as each holds them', () => {
  const kernel = kernelOf(A, B);
  const stored = (worker: WorkerId, tier: 'device' | 'host' | 'disk', blocks: number) =>
    kernel.handle(0, { kind: 'blocksStored', worker, hashes: HASHES.slice(0, blocks), tier });
  stored(A, 'device', 1);
  stored(A, 'host', 3);
  stored(B, 'disk', 4);
  const prompt = { model: 'm', hashes: HASHES };
  assert.deepEqual(kernel.whereabouts.of(0, prompt), [
    { worker: A, tier: 'device', tokens: 16 },
    { worker: A, tier: 'host', tokens: 32 },
    { worker: B, tier: 'disk', tokens: 64 },
  ]);
  kernel.handle(0, { kind: 'blocksCleared', worker: A });
  assert.deepEqual(
    kernel.whereabouts.of(0, prompt).map(({ worker }) => worker),
    [B],
  );
  assert.deepEqual(kernel.whereabouts.of(0, { model: 'other', hashes: HASHES }), []);
  assert.deepEqual(kernel.whereabouts.of(0, { model: 'm', hashes: new BigUint64Array(0) }), []);
});

test('what was cached saved the time that computing it would have taken', () => {
  const { whereabouts } = kernelOf(A);
  const saved = (cachedTokens: number) =>
    whereabouts.savedUs(A, { promptTokens: 1000, cachedTokens });
  assert.equal(saved(0), 0);
  assert.ok(saved(500) > 0);
  assert.ok(saved(1000) <= 1000 * 50 + 1000 ** 2 * 0.001);
  assert.ok(saved(1000) > saved(500) && saved(500) < 500 * 50 + 1000 ** 2 * 0.001);
  assert.equal(whereabouts.savedUs(B, { promptTokens: 1000, cachedTokens: 500 }), 0);
});

function kernelOf(...ids: WorkerId[]): Kernel {
  const { limits } = Config.parse({});
  const kernel = new Kernel({ settings: { policy: 'stator', ...limits }, rng: new Prng(1) });
  for (const id of ids) {
    const worker: Worker = {
      ...{ id, models: ['m'], blockTokens: 16, contextTokens: 10_000 },
      ...{ slots: 4, requestsMax: 16, cacheTokens: 10_000, hasEvents: true },
      prefill: { perTokenUs: 50, perTokenContextUs: 0.001 },
      decode: { stepUs: 1000, perSequenceUs: 100 },
    };
    kernel.handle(0, { kind: 'workerJoined', worker });
    kernel.handle(0, { kind: 'blocksCleared', worker: id });
  }
  return kernel;
}
