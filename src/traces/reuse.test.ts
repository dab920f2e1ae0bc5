import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../base/prng.ts';
import { capacityFor, reuseOf, reuseQuantile, sharingOf } from './reuse.ts';
import { pathOf, type Trace } from './trace.ts';
import { TraceBuilder } from './trace-builder.ts';

test('stack distances equal those of a list that is searched, for any prompts', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const trace = randomTrace(seed);
      const order = Uint32Array.from(trace.leaf, (_, i) => i);
      new Prng(seed).shuffle([...order]).forEach((turn, i) => {
        order[i] = turn;
      });
      const reuse = reuseOf(trace, order);
      const twin = searched(trace, order);
      assert.equal(reuse.blocks - reuse.coldBlocks, twin.distances.length);
      for (const capacity of [0, 1, 2, 3, 5, 8, 13, 40, trace.tree.nodeCount]) {
        const blocks = Math.min(capacity, reuse.within.length - 1);
        const hits = twin.distances.filter((distance) => distance < capacity).length;
        assert.equal(reuse.within[blocks], hits, `capacity ${capacity}`);
        assert.equal(reuse.tokensWithin[blocks], lruTokens(trace, order, capacity));
      }
      assert.deepEqual([...reuse.matchedTokens], twin.matchedTokens);
    }),
    { numRuns: 80 },
  );
});

test('a session finds what it had itself, whatever the others share with it', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const trace = randomTrace(seed);
      const sessions = trace.sessionIds.map((_, i) => i);
      const sharing = sharingOf(trace, sessions);
      let ownTokens = 0;
      const users = new Map<number, Set<number>>();
      for (const session of sessions) {
        const turns = turnsOf(trace, session);
        ownTokens += searched(trace, turns).matchedTokens.reduce((a, b) => a + b, 0);
        for (const turn of turns) {
          for (const node of blocksOf(trace, turn)) {
            users.set(node, (users.get(node) ?? new Set()).add(session));
          }
        }
      }
      assert.equal(sharing.ownTokens, ownTokens);
      assert.equal(sharing.distinctBlocks, users.size);
      assert.equal(sharing.sharedBlocks, [...users.values()].filter(({ size }) => size > 1).length);
    }),
    { numRuns: 40 },
  );
});

test('quantiles and capacities are read off the same curve', () => {
  // Three prompts of two blocks in turn, twice: each block comes back after the four of the others.
  const builder = new TraceBuilder();
  const scope = builder.scope();
  const leaves = ['a', 'b', 'c'].map((name) => scope.path([`${name}1`, `${name}2`]));
  for (const round of [0, 1]) {
    for (const [i, leaf] of leaves.entries()) tell(builder, { session: `${i}`, leaf, at: round });
  }
  const trace = builder.build(ABOUT, BLOCK_TOKENS);
  const reuse = reuseOf(trace, Uint32Array.of(0, 2, 4, 1, 3, 5));
  assert.equal(reuse.coldBlocks, 6);
  // Of six places, the first block of a prompt is at distance 4, the second at 5.
  assert.deepEqual([...reuse.within.slice(0, 7)], [0, 0, 0, 0, 0, 3, 6]);
  assert.equal(reuseQuantile(reuse, 0.5), 5);
  assert.equal(capacityFor(reuse, 0.5), 6);
  assert.equal(capacityFor(reuse, 0.6), undefined);
});

const BLOCK_TOKENS = 4;
const ABOUT: Trace['about'] = {
  format: 'test',
  clock: 'none',
  notes: [],
  malformed: { count: 0, first: [] },
};

function tell(builder: TraceBuilder, given: { session: string; leaf: number; at: number }): void {
  const thread = builder.thread(builder.session(given.session), 'main');
  const promptTokens = builder.depth(given.leaf) * BLOCK_TOKENS;
  const turn = { thread, promptTokens, outputTokens: 1, serviceMs: 0, model: 'm' };
  builder.turn({ ...turn, startMs: given.at, leaf: given.leaf });
}

/** Sessions whose prompts branch anywhere off what others had, with last blocks that may not be full. */
function randomTrace(seed: number): Trace {
  const rng = new Prng(seed);
  const builder = new TraceBuilder();
  const scope = builder.scope();
  const leaves = [0];
  for (let i = 0; i < 60; i++) {
    const thread = builder.thread(builder.session(`s${rng.below(4)}`), 'main');
    let leaf = rng.pick(leaves);
    for (let grow = rng.below(5); grow > 0; grow--) leaf = scope.child(leaf, rng.below(30));
    leaves.push(leaf);
    const full = builder.depth(leaf) * BLOCK_TOKENS;
    const promptTokens = Math.max(0, full - (leaf === 0 ? 0 : rng.below(BLOCK_TOKENS)));
    const turn = { thread, promptTokens, outputTokens: 1, serviceMs: 0, model: 'm' };
    builder.turn({ ...turn, startMs: 0, leaf });
  }
  return builder.build(ABOUT, BLOCK_TOKENS);
}

function turnsOf(trace: Trace, session: number): Uint32Array {
  const turns = Array.from(trace.leaf, (_, turn) => turn);
  return Uint32Array.from(
    turns.filter((turn) => trace.threadSession[trace.turnThread[turn]] === session),
  );
}

function blocksOf(trace: Trace, turn: number): number[] {
  const path = new Uint32Array(trace.tree.nodeCount);
  return [...path.subarray(0, pathOf(trace.tree, trace.leaf[turn], path))];
}

/** The twin: all blocks in a list, the one used last in front. */
function searched(trace: Trace, order: Iterable<number>) {
  let recent: number[] = [];
  const distances: number[] = [];
  const matchedTokens: number[] = [];
  for (const turn of order) {
    const path = blocksOf(trace, turn);
    const found = path.map((block) => recent.indexOf(block)).filter((distance) => distance >= 0);
    distances.push(...found);
    matchedTokens.push(Math.min(found.length * BLOCK_TOKENS, trace.promptTokens[turn]));
    recent = [...path, ...recent.filter((block) => !path.includes(block))];
  }
  return { distances, matchedTokens };
}

/** The twin of the curve: one cache of that size, really run. */
function lruTokens(trace: Trace, order: Iterable<number>, capacity: number): number {
  let held: number[] = [];
  let tokens = 0;
  for (const turn of order) {
    const path = blocksOf(trace, turn);
    let found = 0;
    while (found < path.length && held.includes(path[found])) found++;
    tokens += Math.min(found * BLOCK_TOKENS, trace.promptTokens[turn]);
    held = [...path, ...held.filter((block) => !path.includes(block))].slice(0, capacity);
  }
  return tokens;
}
