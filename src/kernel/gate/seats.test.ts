import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KernelWorld as World, workerOf } from '../../../test/kernel-world.ts';

const S = 1_000_000;

test('where all contexts fit nobody waits, and nothing asks to be woken', () => {
  const world = new World([workerOf('a', 10_000)]);
  for (const id of ['x', 'y', 'z']) {
    assert.equal(world.ask(id, 2_000), 'a');
    world.end(id);
  }
  assert.equal(world.gated, 0);
  assert.equal(world.wakes, 0);
});

test('who does not fit waits in line, and sits down when somebody has gone for good', () => {
  const world = new World([workerOf('a', 10_000)]);
  world.ask('x', 4_000);
  world.ask('y', 4_000);
  world.end('x');
  assert.equal(world.ask('z', 4_000), undefined);
  assert.equal(world.gated, 1);
  // y is in a turn and x away for a moment only: holding x costs less than computing it again.
  world.pass(100_000);
  assert.equal(world.gated, 1);
  world.pass(3600 * S);
  assert.equal(world.placed.get('z'), 'a');
});

test('a program stands up between its turns, never in one, and comes back by its claim', () => {
  const world = new World([workerOf('a', 10_000)]);
  world.ask('x', 9_000);
  assert.equal(world.ask('z', 4_000), undefined);
  world.pass(20 * S);
  assert.equal(world.gated, 1, 'x runs all the time');
  world.end('x');
  // Computing x again takes 9 s of a worker of which it holds nine tenths.
  world.pass(9 * S);
  assert.equal(world.gated, 1, 'x may be back any moment');
  world.pass(2 * S);
  assert.equal(world.placed.get('z'), 'a', 'holding x has cost more than computing it again');
  assert.equal(world.ask('x', 9_100), undefined);
  world.end('z');
  world.pass(3600 * S);
  assert.equal(world.placed.get('x'), 'a');
});

test('a sub-agent of a program that is in never waits for room: its parent waits for it', () => {
  const world = new World([workerOf('a', 10_000)]);
  world.ask('x', 6_000);
  world.end('x');
  assert.equal(world.ask('x/child', 6_000, { session: 'x' }), 'a');
  // Some clients name a sub-agent's session anew, and its parent.
  assert.equal(world.ask('y', 6_000, { parent: 'x' }), 'a');
  assert.equal(world.ask('other', 6_000), undefined);
});

test('contexts that grow too far: the weakest claims stand up, and the others go on', () => {
  const world = new World([workerOf('a', 10_000)]);
  world.ask('x', 4_000);
  world.ask('y', 4_000);
  world.pass(S);
  world.end('x');
  world.end('y');
  assert.equal(world.ask('x', 9_000), 'a', 'y, who is idle, makes room');
  assert.equal(world.ask('y', 4_100), undefined);
});

test('a context larger than any cache is served alone', () => {
  const world = new World([workerOf('a', 10_000, { contextTokens: 50_000 })]);
  assert.equal(world.ask('x', 20_000), 'a');
  world.end('x');
  assert.equal(world.ask('x', 20_100), 'a');
});

test('priority comes before waiting', () => {
  const world = new World([workerOf('a', 10_000)]);
  world.ask('x', 9_000);
  world.ask('plain', 9_000);
  world.pass(S);
  world.ask('tagged', 9_000, { priority: 5 });
  world.end('x');
  world.pass(600 * S);
  assert.equal(world.placed.get('tagged'), 'a');
  assert.equal(world.placed.get('plain'), undefined);
});

test('who leaves the line, or is refused in it, leaves nothing behind', () => {
  const world = new World([workerOf('a', 10_000)], { queueUsMax: 5 * S });
  world.ask('x', 9_000);
  world.ask('y', 9_000);
  world.ask('z', 9_000);
  world.tell({ kind: 'cancelled', request: world.request('y') });
  world.pass(10 * S);
  assert.deepEqual(world.rejected, ['z']);
  assert.equal(world.gated, 0);
  const before = world.wakes;
  world.pass(100 * S);
  assert.ok(world.wakes <= before + 1, 'nobody waits: nothing to look after');
});

test('a client is refused at once where the line is longer than its patience', () => {
  const world = new World([workerOf('a', 10_000)]);
  for (const id of ['x', 'y', 'v']) world.ask(id, 9_000);
  for (const id of ['x', 'y']) {
    world.end(id);
    world.pass(600 * S);
  }
  world.ask('w', 9_000);
  world.ask('z', 9_000, { patienceUs: S });
  assert.deepEqual(world.rejected, ['z']);
});

test('on a worker whose device runs fewer than it keeps, turns of those up front are due at once', () => {
  const world = new World([workerOf('a', 40_000, { deviceTokens: 10_000 })]);
  world.ask('x', 6_000);
  world.ask('y', 6_000);
  assert.equal(world.due.get('x'), world.askedUs.get('x'));
  const dueUs = world.due.get('y') ?? 0;
  assert.ok(dueUs > (world.askedUs.get('y') ?? 0), 'x is up front: y fills what is left over');
  world.end('x');
  world.end('y');
  // y waited all the while and x did not: now it is its turn.
  world.pass(1);
  for (let turn = 1; turn < 5; turn++) {
    world.ask('y', 6_000 + turn);
    world.pass(60 * S);
    world.end('y');
  }
  world.ask('y', 6_100);
  assert.equal(world.due.get('y'), world.askedUs.get('y'));
});
