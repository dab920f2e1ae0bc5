import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Trace } from '../traces/trace.ts';
import { TraceBuilder } from '../traces/trace-builder.ts';
import { Play } from './play.ts';
import { Playbook } from './playbook.ts';

const BLOCK_TOKENS = 10;

test('what two sessions share is the same for all; the rest is each play’s own', () => {
  const playbook = new Playbook(twoSessions(), { contextTokensMax: 1000, turnsMin: 1 });
  const [a, b] = playbook.sessions;
  assert.equal(playbook.sharedBlocks, 2);
  assert.deepEqual([a.ownBlocks, b.ownBlocks], [4, 1]);
  const bases = { shared: 100, own: 200 };
  assert.deepEqual([...playbook.path(a.turns[0], bases)], [100, 101, 200]);
  assert.deepEqual([...playbook.path(a.turns[1], bases)].slice(0, 3), [100, 101, 200]);
  assert.deepEqual([...playbook.path(b.turns[0], { ...bases, own: 300 })], [100, 101, 300]);
});

test('a block that is not full is none, and only what is new to the session is new', () => {
  const playbook = new Playbook(twoSessions(), { contextTokensMax: 1000, turnsMin: 1 });
  const [a] = playbook.sessions;
  // 35 tokens are three full blocks, of which two are shared with the other session.
  assert.equal(a.turns[0].newTokens, 15);
  // 58 tokens: 30 were there before.
  assert.equal(a.turns[1].newTokens, 28);
});

test('a thread is cut before its context is too long, and with it what the rest would spawn', () => {
  const limits = { contextTokensMax: 50, turnsMin: 1 };
  const [a] = new Playbook(twoSessions(), limits).sessions;
  assert.deepEqual(
    a.turns.map(({ promptTokens }) => promptTokens),
    [35],
  );
  assert.equal(new Playbook(twoSessions(), { ...limits, turnsMin: 2 }).sessions.length, 0);
});

test('turns are sent when all they wait for is done, after their think time at most capped', () => {
  const [session] = new Playbook(withAgent(), { contextTokensMax: 1000, turnsMin: 1 }).sessions;
  const sent: string[] = [];
  const play = new Play(0, session, 1000, {
    startTurn: 0,
    thinkUsMax: 5_000_000,
    ownBase: 0,
    aloneUs: () => 1_000_000,
    send: (turn, atUs) => sent.push(`${turn} at ${atUs}`),
  });
  play.begin();
  assert.deepEqual(sent, ['0 at 1000']);
  play.sent(0, 1000);
  assert.deepEqual(sent, ['0 at 1000', '2 at 2001000'], 'the agent begins while turn 0 runs');
  play.ended(0, 3_000_000);
  assert.equal(sent.length, 2, 'turn 1 waits for the agent, too');
  play.ended(2, 9_000_000);
  assert.equal(sent[2], '1 at 9000000', 'its own think time, capped to 5 s, was over before');
  play.ended(1, 9_500_000);
  assert.ok(play.isOver);
  // Alone: turn 0 ends at 1 s, the agent begins at 2 s and ends at 3 s; turn 1 thinks until 6 s.
  assert.equal(play.aloneUs, 7_000_000);
});

test('a session that begins in the middle has done what was before, and what that spawned', () => {
  const [session] = new Playbook(withAgent(), { contextTokensMax: 1000, turnsMin: 1 }).sessions;
  const sent: number[] = [];
  const play = new Play(0, session, 0, {
    startTurn: 1,
    thinkUsMax: 5_000_000,
    ownBase: 0,
    aloneUs: () => 1,
    send: (turn) => sent.push(turn),
  });
  play.begin();
  assert.deepEqual(sent, [1]);
  play.ended(1, 10);
  assert.ok(play.isOver);
});

/** Two sessions with two blocks in common; the first has two turns. */
function twoSessions(): Trace {
  const builder = new TraceBuilder();
  const scope = builder.scope();
  const say = (session: string, ids: string[], promptTokens: number, on?: number) => {
    const thread = builder.thread(builder.session(session), 'main');
    const turn = builder.turn({ ...TURN, thread, promptTokens, leaf: scope.path(ids) });
    if (on !== undefined) builder.wait({ ...WAIT, turn, on, delayMs: 0, relation: 'sequence' });
    return turn;
  };
  const first = say('a', ['s1', 's2', 'a1'], 35);
  say('a', ['s1', 's2', 'a1', 'a2', 'a3', 'a4'], 58, first);
  say('b', ['s1', 's2', 'b1'], 31);
  return builder.build(ABOUT, BLOCK_TOKENS);
}

/** Turn 0 spawns an agent (turn 2) two seconds after it was sent; turn 1 waits for both. */
function withAgent(): Trace {
  const builder = new TraceBuilder();
  const scope = builder.scope();
  const session = builder.session('a');
  const say = (thread: string, id: string) =>
    builder.turn({
      ...TURN,
      thread: builder.thread(session, thread),
      promptTokens: 15,
      leaf: scope.path([id]),
    });
  const [zero, one] = [say('main', 'x'), say('main', 'y')];
  const agent = say('agent', 'z');
  builder.wait({ ...WAIT, turn: one, on: zero, delayMs: 60_000, relation: 'sequence' });
  builder.wait({ ...WAIT, turn: one, on: agent, delayMs: 0, relation: 'join' });
  builder.wait({ turn: agent, on: zero, delayMs: 2000, relation: 'spawn', trigger: 'dispatch' });
  return builder.build(ABOUT, BLOCK_TOKENS);
}

const TURN = { outputTokens: 5, startMs: 0, serviceMs: 0, model: 'm' };
const WAIT = { trigger: 'completion' } as const;
const ABOUT = {
  format: 'test',
  clock: 'session' as const,
  notes: [],
  malformed: { count: 0, first: [] },
};
