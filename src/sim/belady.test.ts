import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Belady } from './belady.ts';
import { BlockSpace } from './block-space.ts';
import { ChainCache } from './chain-cache.ts';

test('whose thread returns last leaves first, however long ago it was used; whoever never does, before', () => {
  const space = new BlockSpace();
  const cache = new ChainCache(space, { deviceBlocks: 12, hostBlocks: 0 });
  const belady = new Belady([cache]);
  const returns: Record<string, number> = { soon: 5, later: 90, never: Number.POSITIVE_INFINITY };
  const paths = new Map<string, Int32Array>();
  const play = (thread: string) => {
    const base = space.open(4);
    const path = Int32Array.from({ length: 4 }, (_, i) => base + i);
    paths.set(thread, path);
    belady.began(thread, cache, path);
    assert.ok(cache.admit(path, 0, 4));
    cache.computed(path, 0, 4);
    cache.release(0, path, { kept: 4, unused: 0 });
    belady.ended(thread, { path, cache, returnsUs: () => returns[thread] ?? 50 });
  };
  const there = () =>
    [...paths].filter(([, path]) => cache.match(path, 4).blocks === 4).map(([thread]) => thread);
  for (const thread of ['soon', 'later', 'never', 'x']) play(thread);
  assert.deepEqual(there(), ['soon', 'later', 'x']);
  play('y');
  assert.deepEqual(there(), ['soon', 'x', 'y']);
  // What is known of a return may change: it is asked when room is needed.
  returns.soon = 1000;
  play('z');
  assert.deepEqual(there(), ['x', 'y', 'z']);
  cache.check();
});
