import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WorkerId } from '../model/ids.ts';
import type { Engine, WorkerChange } from '../ports.ts';
import { SimClock } from '../sim/clock.ts';
import { MemoryPlane } from './memory.ts';

const id = 'w' as WorkerId;

test('events come late and in order, and not at all once nobody listens', () => {
  const clock = new SimClock();
  const plane = new MemoryPlane({ clock, lagUs: 50 });
  const publisher = plane.publisher(id);
  const heard: [number, string][] = [];
  const cancel = plane.subscribe(
    { id },
    {
      events: (events) => heard.push([clock.nowUs(), events[0].kind]),
      lost: () => assert.fail('nothing is lost'),
    },
  );
  publisher.publish([{ kind: 'removed', hashes: [1n], tier: 'device' }]);
  publisher.publish([{ kind: 'cleared' }]);
  plane.publisher('other' as WorkerId).publish([{ kind: 'cleared' }]);
  while (clock.step());
  assert.deepEqual(heard, [
    [50, 'removed'],
    [50, 'cleared'],
  ]);
  publisher.publish([{ kind: 'cleared' }]);
  cancel();
  while (clock.step());
  assert.equal(heard.length, 2);
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
