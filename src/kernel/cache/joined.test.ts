/**
 * All tiers together, under everything that can happen to them: whatever is reused, moved, saved,
 * loaded, lost or forgotten, answers are those of an engine that computes everything anew.
 *
 *   STATOR_CACHE_OPERATIONS=10000x200 node --import tsx --test src/kernel/cache/joined.test.ts
 *
 * is the full size, about three minutes
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CacheRig, ids } from '../../../test/cache-rig.ts';
import { Prng } from '../../base/prng.ts';

const [OPERATIONS, SEEDS] = (process.env.STATOR_CACHE_OPERATIONS ?? '1500x12')
  .split('x')
  .map(Number);

test(`${OPERATIONS} random operations × ${SEEDS} seeds: answers equal the twin's, books balance`, () => {
  const totals = { cached: 0, prompt: 0, loads: 0, saves: 0, lost: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const rig = new CacheRig(new Prng(seed));
    try {
      for (let i = 0; i < OPERATIONS; i++) rig.act();
      rig.finish();
    } catch (error) {
      (error as Error).message += ` [seed ${seed}]`;
      throw error;
    }
    for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += rig.seen[key];
  }
  console.log(`  ${JSON.stringify(totals)}`);
  assert.ok(
    totals.loads > 0 && totals.saves > 0 && totals.lost > 0,
    'the disk was used and failed',
  );
});

test('what left memory comes back from disk, and only what is not there is computed', () => {
  const rig = new CacheRig(new Prng(1), {
    slots: 1,
    hostBlocks: 12,
    diskBlocks: 400,
    faults: false,
  });
  const random = new Prng(2);
  const prompts = Array.from({ length: 6 }, () => ids(random, 45));
  for (const prompt of prompts) {
    rig.ask(prompt, '');
    rig.settle();
  }
  assert.ok(rig.cache.diskBlockCount >= 6 * 10, `${rig.cache.diskBlockCount} blocks on disk`);
  rig.seen.cached = 0;
  rig.ask(Uint32Array.from([...prompts[0], 1, 2]), '');
  rig.settle();
  assert.equal(rig.seen.cached, 44);
  rig.ask(Uint32Array.from([...prompts[0], 1, 2]), 'another salt');
  rig.settle();
  assert.equal(rig.seen.cached, 44, 'nothing crosses a salt');
});

test('who waits for the disk holds up nobody', () => {
  const rig = new CacheRig(new Prng(1), {
    slots: 2,
    hostBlocks: 12,
    diskBlocks: 400,
    faults: false,
  });
  const random = new Prng(2);
  const prompts = Array.from({ length: 6 }, () => ids(random, 45));
  for (const prompt of prompts) {
    rig.ask(prompt, '');
    rig.settle();
  }
  const waits = rig.ask(Uint32Array.from([...prompts[0], 1, 2]), '');
  rig.step();
  assert.equal(rig.cache.isLoading(waits), true);
  const other = rig.ask(ids(random, 20), '');
  for (let i = 0; i < 30 && !rig.ended.has(other); i++) rig.step();
  assert.ok(rig.ended.has(other) && !rig.ended.has(waits));
  rig.settle();
  assert.ok(rig.ended.has(waits));
});
