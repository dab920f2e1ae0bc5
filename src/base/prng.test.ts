import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from './prng.ts';

test('a stream does not depend on what was drawn from its parent, and differs from its siblings', () => {
  fc.assert(
    fc.property(fc.integer(), fc.nat(20), (seed, draws) => {
      const parent = new Prng(seed);
      for (let i = 0; i < draws; i++) parent.uint32();
      const drawn = take(parent.fork('a'));
      assert.deepEqual(drawn, take(new Prng(seed).fork('a')));
      assert.notDeepEqual(drawn, take(new Prng(seed).fork('b')));
      assert.notDeepEqual(drawn, take(new Prng(seed)));
    }),
  );
});

test('draws stay in their range, reach all of it, and favour nothing', () => {
  const random = new Prng(1);
  const counts = new Array<number>(7).fill(0);
  for (let i = 0; i < 70_000; i++) counts[random.below(7)]++;
  for (const count of counts) assert.ok(Math.abs(count - 10_000) < 500, `${counts}`);
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < 20_000; i++) {
    const x = random.normal();
    sum += x;
    squares += x * x;
  }
  assert.ok(Math.abs(sum / 20_000) < 0.05);
  assert.ok(Math.abs(squares / 20_000 - 1) < 0.05);
});

test('a shuffle keeps what it shuffles', () => {
  fc.assert(
    fc.property(fc.integer(), fc.array(fc.integer()), (seed, items) => {
      const shuffled = new Prng(seed).shuffle([...items]);
      const order = (a: number, b: number) => a - b;
      assert.deepEqual(shuffled.toSorted(order), items.toSorted(order));
    }),
  );
});

function take(random: Prng): number[] {
  return Array.from({ length: 4 }, () => random.uint32());
}
