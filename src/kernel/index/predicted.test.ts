import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import type { WorkerId } from '../../model/ids.ts';
import { PredictedIndex } from './predicted.ts';

const A = 'a' as WorkerId;
const B = 'b' as WorkerId;

test('what was sent is believed for a while, and no longer', () => {
  const index = new PredictedIndex({ blocksMax: 100, beliefUs: 1000 });
  index.placed(0, A, chain(1, 8), 100);
  assert.equal(depth(index, 999, chain(1, 8)), 8);
  assert.equal(depth(index, 1000, chain(1, 8)), 0);
  assert.equal(index.count(A), 0);
  index.placed(1000, A, chain(1, 8), 100);
  index.placed(1500, A, chain(1, 4), 100);
  assert.equal(depth(index, 2200, chain(1, 8)), 4, 'use renews belief');
  index.check();
});

test('no more is believed than the worker can hold, and prefixes outlive what follows them', () => {
  const index = new PredictedIndex({ blocksMax: 100, beliefUs: 1000 });
  index.placed(0, A, chain(1, 8), 10);
  index.placed(1, A, chain(101, 6), 10);
  assert.equal(index.count(A), 10);
  assert.equal(depth(index, 2, chain(101, 6)), 6);
  assert.equal(depth(index, 2, chain(1, 8)), 4);
  index.placed(3, A, chain(201, 30), 10);
  assert.equal(depth(index, 3, chain(201, 30)), 10, 'of a prompt that is too long, the beginning');
  index.check();
  index.cleared(A);
  assert.equal(depth(index, 2, chain(201, 6)), 0);
});

test('all workers together are believed to hold so many blocks and no more', () => {
  const index = new PredictedIndex({ blocksMax: 20, beliefUs: 1000 });
  index.placed(0, A, chain(1, 12), 100);
  index.placed(1, B, chain(101, 12), 100);
  assert.deepEqual([index.count(A), index.count(B)], [0, 12], 'the oldest placement went');
  index.check();
});

test('an engine that dropped what was believed has dropped what it used before that, too', () => {
  const index = new PredictedIndex({ blocksMax: 1000, beliefUs: 1000 });
  for (let i = 0; i < 5; i++) index.placed(i, A, chain(100 * i + 1, 8), 1000);
  index.placed(5, A, chain(201, 12), 1000);
  index.confirm(A, chain(201, 12), { believed: 8, reported: 8 });
  assert.equal(index.count(A), 44, 'as believed');
  index.confirm(A, chain(201, 12), { believed: 8, reported: 3 });
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((i) => depth(index, 6, chain(100 * i + 1, 12))),
    [0, 0, 12, 8, 8],
  );
  index.check();
});

test('after any placements each worker is believed to hold what its twin holds', () => {
  for (let seed = 1; seed <= 12; seed++) {
    const rng = new Prng(seed);
    const prompts = promptsOf(rng, 24);
    const index = new PredictedIndex({ blocksMax: 100_000, beliefUs: 400 });
    const twins = new Map([A, B].map((worker) => [worker, new Twin(400)]));
    for (let nowUs = 0; nowUs < 3000; nowUs += rng.below(12)) {
      const worker = rng.pick([A, B]);
      const twin = twins.get(worker) as Twin;
      const kind = rng.below(40);
      const prompt = rng.pick(prompts);
      if (kind === 0) {
        index.cleared(worker);
        twin.ends.length = 0;
      } else if (kind < 24) {
        index.placed(nowUs, worker, prompt, 60);
        twin.placed(nowUs, prompt, 60);
      }
      index.look(nowUs, prompt);
      for (const [each, other] of twins) {
        other.expire(nowUs);
        assert.equal(index.matched(each)?.device ?? 0, other.depth(prompt), `seed ${seed}`);
        assert.equal(index.count(each), other.held().size, `seed ${seed}`);
      }
      index.check();
    }
  }
});

/** A list of placements, oldest first, and the set of all blocks they need. */
class Twin {
  readonly ends: { untilUs: number; blocks: bigint[] }[] = [];
  readonly #beliefUs: number;

  constructor(beliefUs: number) {
    this.#beliefUs = beliefUs;
  }

  placed(nowUs: number, prompt: BigUint64Array, capacity: number): void {
    this.expire(nowUs);
    const blocks = [...prompt.subarray(0, capacity)];
    const same = this.ends.findIndex(
      (end) => end.blocks.length === blocks.length && end.blocks.at(-1) === blocks.at(-1),
    );
    if (same >= 0) this.ends.splice(same, 1);
    this.ends.push({ untilUs: nowUs + this.#beliefUs, blocks });
    while (this.held().size > capacity) {
      this.ends[0].blocks.pop();
      if (this.ends[0].blocks.length === 0) this.ends.shift();
    }
  }

  expire(nowUs: number): void {
    while (this.ends.length > 0 && this.ends[0].untilUs <= nowUs) this.ends.shift();
  }

  held(): Set<bigint> {
    return new Set(this.ends.flatMap(({ blocks }) => blocks));
  }

  depth(prompt: BigUint64Array): number {
    const held = this.held();
    const depth = prompt.findIndex((hash) => !held.has(hash));
    return depth < 0 ? prompt.length : depth;
  }
}

/** Prompts of up to 40 blocks, many of which go on from the middle of another. */
function promptsOf(rng: Prng, count: number): BigUint64Array[] {
  const prompts: BigUint64Array[] = [];
  for (let i = 0; i < count; i++) {
    const base = i === 0 || rng.below(4) === 0 ? [] : [...rng.pick(prompts)];
    const shared = base.slice(0, rng.below(base.length + 1));
    const own = Array.from({ length: 1 + rng.below(14) }, () => BigInt(rng.uint32()));
    prompts.push(BigUint64Array.from([...shared, ...own].slice(0, 40)));
  }
  return prompts;
}

function chain(first: number, length: number): BigUint64Array {
  return BigUint64Array.from({ length }, (_, i) => BigInt(first + i));
}

/** Of worker A. */
function depth(index: PredictedIndex, nowUs: number, hashes: BigUint64Array): number {
  index.look(nowUs, hashes);
  return index.matched(A)?.disk ?? 0;
}
