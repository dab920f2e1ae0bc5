import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { cutAt } from './cut.ts';
import { generateSessions } from './generate/coding-agents.ts';
import { CODING_AGENTS } from './generate/settings.ts';
import { interleave } from './interleave.ts';
import { RELATIONS, type Trace } from './trace.ts';

test('threads end before the first turn that does not fit, and what they spawned later is gone', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0 }), fc.integer({ min: 0, max: 150_000 }), (seed, tokensMax) => {
      const whole = generateSessions(SETTINGS, seed);
      const cut = cutAt(whole, tokensMax);
      assert.deepEqual(named(cut), fitting(whole, tokensMax));
      const sessions = cut.sessionIds.map((_, session) => session);
      const order = interleave(cut, { live: 2, thinkMsMax: 1000, sessions });
      assert.equal(order.length, cut.turnCount, 'nobody waits for what is gone');
      for (const thread of cut.threadIds.keys()) {
        assert.ok(cut.threadTurns[thread] < cut.threadTurns[thread + 1], 'no thread is empty');
      }
    }),
    { numRuns: 60 },
  );
});

const SETTINGS = {
  ...CODING_AGENTS,
  sessions: 5,
  turns: { kind: 'weibull' as const, scale: 12, shape: 1 },
  subAgents: CODING_AGENTS.subAgents && { ...CODING_AGENTS.subAgents, share: 0.15 },
};

/** Turns with their names instead of numbers, and whom they wait for. */
function named(trace: Trace) {
  const nameOf = (turn: number) => {
    const thread = trace.turnThread[turn];
    const session = trace.sessionIds[trace.threadSession[thread]];
    return `${session} ${trace.threadIds[thread]} ${turn - trace.threadTurns[thread]}`;
  };
  const { waits } = trace;
  return Array.from(trace.leaf, (leaf, turn) => ({
    name: nameOf(turn),
    leaf,
    tokens: trace.promptTokens[turn] + trace.outputTokens[turn],
    startMs: trace.startMs[turn],
    waits: Array.from(waits.on.subarray(waits.begin[turn], waits.begin[turn + 1]), (on, i) => ({
      on: nameOf(on),
      relation: RELATIONS[waits.relation[waits.begin[turn] + i]],
    })),
  }));
}

/** The twin: a turn stays where it fits, the one before it stays, and the one that spawned it stays. */
function fitting(trace: Trace, tokensMax: number) {
  const turns = new Map(named(trace).map((turn) => [turn.name, turn]));
  const stays = (name: string): boolean => {
    const turn = turns.get(name);
    if (turn === undefined || turn.tokens > tokensMax) return false;
    return turn.waits.every(({ on, relation }) => relation === 'join' || stays(on));
  };
  return [...turns.values()]
    .filter(({ name }) => stays(name))
    .map((turn) => ({ ...turn, waits: turn.waits.filter(({ on }) => stays(on)) }));
}
