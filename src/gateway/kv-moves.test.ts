import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WorkerId } from '../model/ids.ts';
import type { Fact } from '../model/kernel-io.ts';
import type { KvOutcome } from '../model/kv-control.ts';
import type { KvControl } from '../ports.ts';
import { KvMoves } from './kv-moves.ts';

const DONE: KvOutcome = { answer: 'accepted', blocks: 3, tokens: 48, sentence: undefined };
const FULL: KvOutcome = { answer: 'rejected', blocks: 0, tokens: 0, sentence: 'There is no room.' };

test('what became of a move is told once, later, with what it took; only failures are warned of', async () => {
  const rig = new Rig(async () => {
    rig.nowUs += 700;
    return DONE;
  });
  rig.begin();
  assert.deepEqual(rig.facts, [], 'the kernel is not spoken to while it speaks');
  await settle();
  const told = { kind: 'replicated', move: 7, ok: true, blocks: 3, tokens: 48, tookUs: 700 };
  assert.deepEqual(rig.facts, [told]);
  assert.deepEqual(rig.warnings, []);
  assert.equal(rig.timers.size, 0);
});

test('a worker that refuses, fails or is gone makes a warning, and nothing else', async () => {
  const cases: [string, Rig][] = [
    ['There is no room.', new Rig(async () => FULL)],
    ['socket hang up', new Rig(() => Promise.reject(new Error('socket hang up')))],
    ['one of them is gone, or takes no wishes about its KV', new Rig(async () => DONE, ['a'])],
  ];
  for (const [why, rig] of cases) {
    rig.begin();
    await settle();
    assert.deepEqual(
      rig.facts.map((fact) => fact.kind === 'replicated' && fact.ok),
      [false],
      why,
    );
    const sentence = `A prefix of 3 KV blocks was not copied from a to b: ${why}`;
    assert.deepEqual(rig.warnings, [sentence]);
  }
});

test('one that takes too long is broken off, and so is all at the end, of which nobody hears', async () => {
  const stuck = (signal: AbortSignal) =>
    new Promise<KvOutcome>((_, reject) => {
      signal.addEventListener('abort', () => reject(new Error('aborted')));
    });
  const late = new Rig(stuck);
  late.begin();
  await settle();
  assert.deepEqual(late.facts, []);
  for (const run of late.timers) run();
  await settle();
  assert.equal(late.facts.length, 1);
  assert.match(late.warnings[0], /longer than it would have saved$/);

  const closed = new Rig(stuck);
  closed.begin();
  closed.moves.close();
  await settle();
  assert.deepEqual([closed.facts, closed.warnings, closed.timers.size], [[], [], 0]);
});

class Rig {
  nowUs = 0;
  readonly facts: Fact[] = [];
  readonly warnings: string[] = [];
  readonly timers = new Set<() => void>();
  readonly moves: KvMoves;

  constructor(move: (signal: AbortSignal) => Promise<KvOutcome>, present = ['a', 'b']) {
    const kv = {} as KvControl;
    this.moves = new KvMoves({
      clock: {
        nowUs: () => this.nowUs,
        wallMs: () => 0,
        after: (_us, run) => {
          this.timers.add(run);
          return () => this.timers.delete(run);
        },
      },
      sink: {
        note: (note) => {
          if (note.kind === 'warning') this.warnings.push(note.sentence);
        },
      },
      kvOf: (worker) => (present.includes(worker) ? kv : undefined),
      move: (_chain, _ends, signal) => move(signal),
      tell: (fact) => this.facts.push(fact),
    });
  }

  begin(): void {
    const [from, to] = ['a', 'b'] as WorkerId[];
    const hashes = BigUint64Array.of(1n, 2n, 3n);
    this.moves.begin({ kind: 'replicate', move: 7, from, to, hashes, usMax: 1000 });
  }
}

function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
