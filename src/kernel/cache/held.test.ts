/** What a cache tells when it is asked for all it holds, beside what its events told one by one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CacheRig } from '../../../test/cache-rig.ts';
import { hasherOf } from '../../../test/engine-twin.ts';
import { Prng } from '../../base/prng.ts';
import { type BlockHash, type KvEvent, TIERS, type Tier } from '../../model/block.ts';

const BLOCK = 4;
const hashBlock = hasherOf(BLOCK);

test('told at once, it is just what the events told, each block after its parent', () => {
  let blocks = 0;
  let lower = 0;
  for (let seed = 1; seed <= 8; seed++) {
    const rig = new CacheRig(new Prng(seed), { diskBlocks: 400 });
    for (let i = 0; i < 400; i++) {
      rig.act();
      if (i % 40 !== 0) continue;
      rig.hear();
      const index = new Index();
      for (const piece of rig.cache.held()) {
        for (const event of piece) {
          // One whose parent was lost is told of as well, and matched when the parent is there again.
          const parent = event.kind === 'stored' ? event.parent : undefined;
          if (parent !== undefined && knows(rig.told, parent)) {
            assert.ok(knows(index.held, parent), 'a parent is told of before what follows it');
          }
          index.take(event);
        }
      }
      assert.deepEqual(index.held, rig.told, `seed ${seed}, operation ${i}`);
      blocks += index.held.device.size;
      lower += index.held.host.size + index.held.disk.size;
    }
  }
  assert.ok(blocks > 1000 && lower > 1000, 'there was something to tell');
});

test('told piece by piece while blocks come and go, with the events in between, it is the same', () => {
  let pieces = 0;
  for (let seed = 1; seed <= 5; seed++) {
    const random = new Prng(seed);
    const rig = new CacheRig(new Prng(seed), { hostBlocks: 2000, diskBlocks: 400 });
    const index = new Index();
    follow(rig, (event) => index.take(event));
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 150; i++) rig.act();
      rig.hear();
      index.take({ kind: 'cleared' });
      for (const piece of rig.cache.held()) {
        pieces++;
        for (const event of piece) index.take(event);
        for (let i = random.below(20); i > 0; i--) rig.act();
        rig.hear();
      }
      assert.deepEqual(index.held, rig.told, `seed ${seed}, round ${round}`);
    }
  }
  assert.ok(pieces > 60, `${pieces} pieces were drawn`);
});

/** Hears what the rig hears. */
function follow({ cache }: CacheRig, on: (event: KvEvent) => void): void {
  const take = cache.takeEvents.bind(cache);
  cache.takeEvents = () => {
    const events = take();
    for (const event of events) on(event);
    return events;
  };
}

/** Names blocks by their tokens, as a gateway does. */
class Index {
  readonly held: Record<Tier, Set<BlockHash>> = {
    device: new Set(),
    host: new Set(),
    disk: new Set(),
  };

  take(event: KvEvent): void {
    if (event.kind === 'cleared') {
      for (const tier of TIERS) this.held[tier].clear();
      return;
    }
    if (event.kind === 'removed') {
      for (const hash of event.hashes) this.held[event.tier].delete(hash);
      return;
    }
    const [salt = ''] = event.extraKeys;
    let hash = event.parent ?? BigInt(1 + salt.length);
    event.hashes.forEach((told, i) => {
      hash = hashBlock(hash, event.tokens, i * BLOCK);
      assert.equal(hash, told, 'its tokens are those it was named by');
      this.held[event.tier].add(hash);
    });
  }
}

function knows(held: Record<Tier, Set<BlockHash>>, hash: BlockHash): boolean {
  return TIERS.some((tier) => held[tier].has(hash));
}
