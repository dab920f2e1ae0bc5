import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import { TIERS } from '../../model/block.ts';
import type { WorkerId } from '../../model/ids.ts';
import { ExactIndex } from './exact.ts';

const WORKERS = ['a', 'b', 'c'] as WorkerId[];

/** The dumb twin: per worker and tier a set, and a walk per worker. */
class Twin {
  readonly #held = new Map<string, Set<bigint>>();

  set(worker: WorkerId, tier: string): Set<bigint> {
    const key = `${worker} ${tier}`;
    const known = this.#held.get(key) ?? new Set<bigint>();
    this.#held.set(key, known);
    return known;
  }

  depth(worker: WorkerId, hashes: BigUint64Array): number {
    let depth = 0;
    while (
      depth < hashes.length &&
      TIERS.some((tier) => this.set(worker, tier).has(hashes[depth]))
    ) {
      depth++;
    }
    return depth;
  }

  count(worker: WorkerId): number {
    return new Set(TIERS.flatMap((tier) => [...this.set(worker, tier)])).size;
  }
}

test('after any events the index answers as a set of sets would', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const rng = new Prng(seed);
      const index = new ExactIndex();
      const twin = new Twin();
      const chains = Array.from({ length: 4 }, () =>
        BigUint64Array.from({ length: 12 }, () => BigInt(rng.below(40))),
      );
      for (let i = 0; i < 200; i++) {
        const worker = rng.pick(WORKERS);
        const tier = rng.pick(TIERS);
        const chain = rng.pick(chains);
        const from = rng.below(chain.length);
        const part = chain.slice(from, from + 1 + rng.below(4));
        const kind = rng.below(20);
        if (kind < 11) {
          index.stored(worker, part, tier);
          for (const hash of part) twin.set(worker, tier).add(hash);
        } else if (kind < 19) {
          index.removed(worker, part, tier);
          for (const hash of part) twin.set(worker, tier).delete(hash);
        } else {
          index.cleared(worker);
          for (const each of TIERS) twin.set(worker, each).clear();
        }
        index.check();
        const depths = index.depths(chain);
        for (const each of WORKERS) {
          assert.equal(depths.get(each) ?? 0, twin.depth(each, chain));
          assert.equal(index.count(each), twin.count(each));
        }
      }
    }),
    { numRuns: 60 },
  );
});
