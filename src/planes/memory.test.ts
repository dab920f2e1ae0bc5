import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../base/prng.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Engine, FeedListener, WorkerChange } from '../ports.ts';
import { SimClock } from '../sim/clock.ts';
import { MemoryPlane } from './memory.ts';

const id = 'w' as WorkerId;

test('batches come late and in order, and not at all once nobody listens', () => {
  const clock = new SimClock();
  const plane = new MemoryPlane({ clock, lagUs: 50 });
  const publisher = plane.publisher(id);
  const heard: [number, number][] = [];
  const link = plane.subscribe({ id }, listener(clock, heard));
  publisher.publish([{ kind: 'removed', hashes: [1n], tier: 'device' }]);
  publisher.publish([{ kind: 'cleared' }]);
  plane.publisher('other' as WorkerId).publish([{ kind: 'cleared' }]);
  while (clock.step());
  assert.deepEqual(heard, [
    [0, 0],
    [50, 1],
    [50, 2],
  ]);
  publisher.publish([{ kind: 'cleared' }]);
  link.close();
  while (clock.step());
  assert.equal(heard.length, 3);
});

test('with faults batches are lost, come twice or after the next, and all can be asked for', async () => {
  const clock = new SimClock();
  const faults = { rng: new Prng(1), dropped: 0.2, doubled: 0.2, late: 0.2, batchesKept: 1000 };
  const plane = new MemoryPlane({ clock, lagUs: 50, faults });
  const heard: [number, number][] = [];
  const link = plane.subscribe({ id }, listener(clock, heard));
  for (let i = 0; i < 500; i++) {
    plane.publisher(id).publish([{ kind: 'cleared' }]);
    const nextUs = clock.nowUs() + 10;
    clock.after(10, () => {});
    while (clock.nowUs() < nextUs) clock.step();
  }
  while (clock.step());
  const numbers = heard.map(([, number]) => number);
  const distinct = new Set(numbers);
  assert.ok(distinct.size < 450 && numbers.length - distinct.size > 50);
  assert.ok(numbers.filter((number, i) => i > 0 && number < numbers[i - 1]).length > 50);
  const asked: number[] = [];
  for await (const { number } of link.replay(490)) asked.push(number);
  assert.deepEqual(asked, [490, 491, 492, 493, 494, 495, 496, 497, 498, 499, 500]);
});

test('who watches hears who is up first, then each change once', () => {
  const plane = new MemoryPlane({ clock: new SimClock(), lagUs: 0 });
  const up = { kind: 'up', worker: { id }, engine: {} as Engine } as WorkerChange;
  const down: WorkerChange = { kind: 'down', worker: id, reason: 'x' };
  plane.tell(up);
  const heard: string[] = [];
  const cancel = plane.watch(({ kind }) => heard.push(kind));
  plane.tell(down);
  // It had left before: nobody needs to hear it again.
  plane.tell(down);
  const later: string[] = [];
  plane.watch(({ kind }) => later.push(kind));
  cancel();
  plane.tell(up);
  assert.deepEqual([heard, later], [['up', 'down'], ['up']]);
});

function listener(clock: SimClock, heard: [number, number][]): FeedListener {
  return {
    batch: (number) => heard.push([clock.nowUs(), number]),
    reconnected: () => assert.fail('nothing breaks'),
    failed: assert.fail,
  };
}
