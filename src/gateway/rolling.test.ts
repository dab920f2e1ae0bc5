import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WorkerId } from '../model/ids.ts';
import type { Fact } from '../model/kernel-io.ts';
import { SimClock } from '../sim/clock.ts';
import { Draining } from './draining.ts';
import type { Host } from './host.ts';
import { Rolling } from './rolling.ts';

const DRAIN_US = 1_000_000;

test('one after the other: drained, empty, started anew; whoever asks meanwhile means the same', async () => {
  const rig = new Rig({ a: 2, b: 0 });
  rig.clock.after(300_000, () => rig.running.set('a', 0));
  const [restarted, again] = await rig.run(() =>
    Promise.all([rig.rolling.restartAll(), rig.rolling.restartAll()]),
  );
  assert.deepEqual(restarted, ['a', 'b']);
  assert.equal(again, restarted);
  assert.deepEqual(rig.story, ['drain a', 'restart a', 'drain b', 'restart b']);
  assert.ok(
    rig.clock.nowUs() < DRAIN_US,
    'nobody waits longer than there is something to wait for',
  );
});

test('what does not end in time is moved, and what cannot be moved is broken off at last', async () => {
  const rig = new Rig({ a: 1, b: 1 });
  rig.movable.add('a');
  assert.deepEqual(await rig.run(() => rig.rolling.restartAll()), ['a', 'b']);
  assert.deepEqual(rig.story, ['drain a', 'move a', 'restart a', 'drain b', 'move b', 'restart b']);
});

test('one that does not come back ends it, and those behind it serve on', async () => {
  const rig = new Rig({ a: 0, b: 0 });
  rig.broken = 'a';
  await assert.rejects(
    rig.run(() => rig.rolling.restartAll()),
    /^GatewayError: a does not come back: No memory is left\.$/,
  );
  assert.deepEqual(rig.story, ['drain a', 'restart a', 'undrain a']);
  rig.broken = undefined;
  assert.deepEqual(await rig.run(() => rig.rolling.restartAll()), ['a', 'b']);
});

test('one that dies while it is drained is left to whoever restarts those', async () => {
  const rig = new Rig({ a: 1, b: 0 });
  rig.clock.after(500_000, () => rig.running.delete('a'));
  await rig.run(() => rig.rolling.restartAll());
  assert.deepEqual(rig.story, ['drain a', 'drain b', 'restart b']);
});

class Rig {
  readonly clock = new SimClock();
  readonly story: string[] = [];
  /** Requests, by worker. */
  readonly running: Map<string, number>;
  readonly movable = new Set<string>();
  broken: string | undefined;
  readonly rolling: Rolling;

  constructor(running: Record<string, number>) {
    this.running = new Map(Object.entries(running));
    const host = {
      state: () => ({ workers: [...this.running.keys()].map((id) => ({ id })) }),
      countOn: (worker: WorkerId) => this.running.get(worker) ?? 0,
      tell: (fact: Fact) => this.#told(fact),
    } as unknown as Host;
    this.rolling = new Rolling({
      ...{ host, sink: { note: () => {} } },
      draining: new Draining({ host, clock: this.clock, drainUs: DRAIN_US }),
      restart: async (worker) => {
        this.story.push(`restart ${worker}`);
        if (this.broken === worker) throw new Error('No memory is left.');
      },
    });
  }

  async run<T>(what: () => Promise<T>): Promise<T> {
    let isOver = false;
    const result = what().finally(() => {
      isOver = true;
    });
    result.catch(() => {});
    while (!isOver) {
      await new Promise((resolve) => setImmediate(resolve));
      if (!isOver) this.clock.step();
    }
    return await result;
  }

  #told(fact: Fact): void {
    if (fact.kind !== 'drainChanged') return;
    const { worker, draining, moves } = fact;
    this.story.push(`${moves ? 'move' : draining ? 'drain' : 'undrain'} ${worker}`);
    if (moves && this.movable.has(worker)) this.running.set(worker, 0);
  }
}
