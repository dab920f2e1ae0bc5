import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import { Leaves } from './leaves.ts';
import { type Idle, Worth } from './worth.ts';

test('the least worthy of the oldest leaves is chosen, of few the older half; where those should stay, the next', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = new Prng(seed);
      interface Item {
        stamp: number;
        worth: number;
        leaf: boolean;
      }
      const items: Item[] = [];
      const leaves = new Leaves<Item>({
        stampOf: ({ stamp }) => stamp,
        isLeaf: ({ leaf }) => leaf,
      });
      let stamps = 0;
      for (let i = 0; i < 3000; i++) {
        const kind = random.below(10);
        const item = items.length > 0 ? random.pick(items) : undefined;
        if (kind < 3 || item === undefined) {
          const added = { stamp: ++stamps, worth: worthOf(random), leaf: random.below(3) > 0 };
          items.push(added);
          leaves.offer(added);
        } else if (kind < 6) {
          item.stamp = ++stamps;
          item.leaf = true;
          leaves.offer(item);
        } else if (kind < 8) {
          item.leaf = false;
        } else {
          const oldest = items.filter(({ leaf }) => leaf).sort((a, b) => a.stamp - b.stamp);
          const known = oldest.slice(0, 16);
          const older = known.slice(0, Math.ceil(known.length / 2));
          const mayGo = ({ worth }: Item) => worth < Number.MAX_VALUE;
          const next = known.filter(mayGo).slice(0, 1);
          const look = older.some(mayGo) ? older : next.length > 0 ? next : known;
          const least = Math.min(...look.map(({ worth }) => worth));
          assert.equal(
            leaves.choose(({ worth }) => worth),
            look.find(({ worth }) => worth === least),
          );
          assert.equal(leaves.oldest(), oldest[0]);
        }
      }
    }),
    { numRuns: 40 },
  );
});

/** Most often so much that it should stay: else the younger leaves are hardly ever asked. */
function worthOf(random: Prng): number {
  return random.pick([random.below(20), Number.MAX_VALUE, Number.POSITIVE_INFINITY]);
}

test('before anything was seen, the unused for longest is worth least, however long it is', () => {
  const worth = new Worth((position, count) => count * (1 + position));
  const idles = Array.from({ length: 50 }, (_, i) =>
    idle({ usedTurn: i, position: (50 - i) * 100 }),
  );
  const values = idles.map((one) => worth.of(one, 60));
  assert.deepEqual(
    values,
    values.toSorted((a, b) => a - b),
  );
});

test('worth is time saved × odds of return ÷ bytes, the odds counted from what was seen', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = new Prng(seed);
      const computeUs = (position: number, count: number) => count * (3 + position / 7);
      const worth = new Worth(computeUs);
      const seen: { age: number; back: boolean }[] = [];
      for (let i = 0; i < 3000; i++) {
        const one = { age: random.below(2 ** random.below(14)), back: random.below(3) > 0 };
        seen.push(one);
        if (one.back) worth.cameBack(one.age);
        else worth.leftFor(one.age);
      }
      for (let i = 0; i < 30; i++) {
        const one = idle({ usedTurn: random.below(9000), position: random.below(5000) });
        const age = 9000 - one.usedTurn;
        // The twin: of those that lived to an age of this size, how many came back.
        const reached = seen.filter((other) => bits(other.age) >= bits(age));
        const back = reached.filter((other) => other.back).length;
        const odds = (back + 1) / (reached.length + 4);
        const expected = (computeUs(one.position, one.tokens) * odds) / one.bytes;
        const value = worth.of(one, 9000);
        assert.ok(Math.abs(value - expected) < 1e-9 * expected, `${value} is not ${expected}`);
      }
    }),
    { numRuns: 30 },
  );
});

test('what is read slower than it is computed is not read', () => {
  const worth = new Worth((_, count) => count * 10);
  const far = { position: 0, tokens: 100, bytes: 4000 };
  assert.equal(worth.isWorthLoading(far), true, 'nobody knows yet');
  for (let i = 0; i < 30; i++) worth.loaded(1000, 100);
  assert.equal(worth.isWorthLoading(far), true);
  for (let i = 0; i < 30; i++) worth.loaded(1000, 1000);
  assert.equal(worth.isWorthLoading(far), false);
});

function idle(given: Partial<Idle>): Idle {
  return { position: 0, tokens: 16, bytes: 64, usedTurn: 0, ...given };
}

/** Its class of ages: as many as it has binary digits. */
function bits(age: number): number {
  return age === 0 ? 0 : Math.min(23, age.toString(2).length);
}
