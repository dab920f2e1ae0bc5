import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import { type Block, BlockTree } from './tree.ts';

/** Chains over a small alphabet, so that they share beginnings. A path is a chain's hashes. */
function pathOf(random: Prng): bigint[] {
  let hash = 1n;
  return Array.from({ length: 1 + random.below(6) }, () => {
    hash = (hash * 31n + BigInt(random.below(3))) % 1_000_003n;
    return hash;
  });
}

test('what may leave is what no sequence uses: the unused for longest, and never before its children', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = new Prng(seed);
      const tree = new BlockTree();
      const running: Block[][] = [];
      // The dumb twin: every known path, when it was last let go of, and how many run through it.
      const twin = new Map<bigint, { path: bigint[]; letGo: number }>();
      let clock = 0;
      const uses = (hash: bigint) =>
        running.filter((chain) => chain.some((block) => block.hash === hash)).length;
      for (let i = 0; i < 120; i++) {
        const kind = random.below(6);
        if (kind < 3) {
          const path = pathOf(random);
          const chain = tree.match(BigUint64Array.from(path), path.length);
          const known = path.findIndex((hash) => !twin.has(hash));
          assert.equal(chain.length, known < 0 ? path.length : known);
          tree.lock(chain);
          for (let at = chain.length; at < path.length; at++) {
            const parent = chain[at - 1];
            chain.push(tree.add({ hash: path[at], parent, tokens: new Uint32Array(1), salt: '' }));
            twin.set(path[at], { path: path.slice(0, at), letGo: 0 });
          }
          running.push(chain);
        } else if (kind < 5 && running.length > 0) {
          const [chain] = running.splice(random.below(running.length), 1);
          tree.unlock(chain);
          for (const block of chain.toReversed()) {
            const entry = twin.get(block.hash);
            if (entry !== undefined && uses(block.hash) === 0) entry.letGo = ++clock;
          }
        } else {
          const idle = [...twin].filter(([hash]) => uses(hash) === 0);
          const [first] = idle.toSorted(([, a], [, b]) => a.letGo - b.letGo);
          const oldest = tree.oldest();
          assert.equal(oldest?.hash, first?.[0]);
          if (oldest === undefined) continue;
          tree.remove(oldest);
          for (const { path } of twin.values()) assert.ok(!path.includes(oldest.hash));
          twin.delete(oldest.hash);
        }
        tree.check();
        assert.equal(tree.size, twin.size);
        assert.equal(tree.idleCount, [...twin.keys()].filter((hash) => uses(hash) === 0).length);
      }
    }),
    { numRuns: 150 },
  );
});

test('a block in use, or with children, cannot leave', () => {
  const tree = new BlockTree();
  const parent = tree.add({ hash: 1n, parent: undefined, tokens: new Uint32Array(1), salt: '' });
  const child = tree.add({ hash: 2n, parent, tokens: new Uint32Array(1), salt: '' });
  assert.throws(() => tree.remove(child));
  tree.unlock([parent, child]);
  assert.throws(() => tree.remove(parent));
  assert.throws(() => tree.unlock([child]));
  tree.remove(child);
  tree.remove(parent);
  assert.equal(tree.size, 0);
});
