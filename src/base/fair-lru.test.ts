import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FairLru } from './fair-lru.ts';

const operation = fc.record({
  kind: fc.constantFrom('get', 'peek', 'set', 'set', 'set', 'delete'),
  owner: fc.constantFrom('a', 'b', 'c'),
  key: fc.integer({ min: 0, max: 9 }),
  bytes: fc.integer({ min: 0, max: 3000 }),
});

test('within its bound, whoever holds most loses what it used longest ago', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
      // The dumb twin: one list over all owners, the last used at its end, and what left as told.
      let twin: { owner: string; key: number; value: number }[] = [];
      const lru = new FairLru<string, number, number>({
        bytesMax: 20_000,
        onEvict: (owner, key, value) => {
          const oldest = twin.find((entry) => entry.owner === owner);
          assert.deepEqual(oldest, { owner, key, value }, 'the owner’s oldest goes');
          twin = twin.filter((entry) => entry !== oldest);
        },
      });
      operations.forEach(({ kind, owner, key, bytes }, i) => {
        const known = twin.find((entry) => entry.owner === owner && entry.key === key);
        const rest = twin.filter((entry) => entry !== known);
        if (kind === 'set') {
          twin = [...rest, { owner, key, value: i }];
          lru.set(owner, key, { value: i, bytes });
        } else if (kind === 'delete') {
          twin = rest;
          assert.equal(lru.delete(owner, key), known?.value);
        } else {
          const value = kind === 'get' ? lru.get(owner, key) : lru.peek(owner, key);
          assert.equal(value, known?.value);
          if (kind === 'get' && known !== undefined) twin = [...rest, known];
        }
        lru.check();
        for (const name of ['a', 'b', 'c']) {
          const expected = twin.filter((entry) => entry.owner === name);
          assert.deepEqual(
            [...lru.values(name)],
            expected.map(({ value }) => value),
          );
        }
      });
    }),
    { numRuns: 60 },
  );
});

test('whoever makes up keys pushes out only itself', () => {
  const lost: string[] = [];
  const lru = new FairLru<string, number, null>({
    bytesMax: 100_000,
    onEvict: (owner) => lost.push(owner),
  });
  for (let i = 0; i < 40; i++) lru.set('quiet', i, { value: null, bytes: 500 });
  for (let i = 0; i < 5000; i++) lru.set('noisy', i, { value: null, bytes: 500 });
  assert.ok(lost.length > 4000);
  assert.deepEqual(new Set(lost), new Set(['noisy']));
  assert.equal([...lru.values('quiet')].length, 40);
});

test('what is larger than the bound is not kept', () => {
  const lost: number[] = [];
  const lru = new FairLru<string, number, number>({
    bytesMax: 10_000,
    onEvict: (_owner, key) => lost.push(key),
  });
  lru.set('a', 1, { value: 1, bytes: 50_000 });
  assert.deepEqual(lost, [1]);
  assert.equal(lru.bytes, 0);
  lru.check();
});
