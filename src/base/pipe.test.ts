import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Pipe } from './pipe.ts';

test('whatever the two sides’ pace, everything arrives once, in order', async () => {
  // Each step pushes so many, then lets the consumer run or not.
  const steps = fc.array(fc.record({ push: fc.nat(4), rest: fc.boolean() }), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(steps, async (given) => {
      const pipe = new Pipe<number>();
      const taken: number[] = [];
      const consumer = (async () => {
        for await (const item of pipe) taken.push(item);
      })();
      let pushed = 0;
      for (const { push, rest } of given) {
        for (let i = 0; i < push; i++) pipe.push(pushed++);
        if (rest) await new Promise((resolve) => setImmediate(resolve));
      }
      pipe.end();
      pipe.push(-1);
      await consumer;
      assert.deepEqual(
        taken,
        Array.from({ length: pushed }, (_, i) => i),
      );
    }),
    { numRuns: 50 },
  );
});

test('nothing is kept for a consumer that left', async () => {
  const pipe = new Pipe<number>();
  pipe.push(1);
  pipe.push(2);
  for await (const item of pipe) {
    assert.equal(item, 1);
    break;
  }
  pipe.push(3);
  pipe.end();
  for await (const item of pipe) assert.fail(`${item} was kept`);
});
