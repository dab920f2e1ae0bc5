import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { interleave } from '../interleave.ts';
import { RELATIONS, type Trace } from '../trace.ts';
import { summarize } from '../trace-summary.ts';
import { generateSessions } from './coding-agents.ts';
import { PUBLISHED_CODING_AGENTS } from './published.ts';
import { CODING_AGENTS, type CodingAgentsSettings, LIVE_CODING_AGENTS } from './settings.ts';

const SUMMARY = { live: 16, thinkMsMax: 60_000, contextTokensMax: undefined };

test('the same settings and seed are the same trace; other sessions do not depend on how many there are', () => {
  const of = (sessions: number, seed: number) =>
    generateSessions({ ...CODING_AGENTS, sessions }, seed);
  assert.deepEqual(of(5, 3), of(5, 3));
  assert.notDeepEqual(of(5, 3).promptTokens, of(5, 4).promptTokens);
  const [few, many] = [of(3, 9), of(6, 9)];
  assert.deepEqual(many.promptTokens.subarray(0, few.turnCount), few.promptTokens);
  assert.deepEqual(many.leaf.subarray(0, few.turnCount), few.leaf);
});

test('statistics lie near those published of real sessions', () => {
  const trace = generateSessions({ ...CODING_AGENTS, sessions: 200 }, 1);
  const { summary } = summarize(trace, SUMMARY);
  const names = ['outputTokens', 'thinkS', 'serviceS', 'turnsPerThread', 'uncachedTokens'] as const;
  for (const name of [...names, 'promptTokens'] as const) {
    for (const q of ['p25', 'p50', 'p75', 'p90'] as const) {
      const [own, published] = [summary.spreads[name]?.[q] ?? 0, PUBLISHED_CODING_AGENTS[name][q]];
      const off = Math.abs(Math.log(own / published));
      assert.ok(off < Math.log(1.4), `${name} ${q}: ${own}, published ${published}`);
    }
  }
  assert.ok(Math.abs(summary.hit.tokens - PUBLISHED_CODING_AGENTS.hitTokens) < 0.015);
  assert.ok(Math.abs(summary.resets - PUBLISHED_CODING_AGENTS.resets) < 0.008);
});

test('whatever the settings: prompts fit their window, turns come once, parents wait for sub-agents', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0 }), fc.boolean(), (seed, isSmall) => {
      const contextTokens = isSmall ? 30_000 : 60_000;
      const settings = busy(contextTokens);
      const trace = generateSessions(settings, seed);
      const tokensMax = Math.max(contextTokens * settings.compactAt, longestBase(settings));
      assert.ok(trace.promptTokens.every((tokens) => tokens <= tokensMax));
      for (let turn = 0; turn < trace.turnCount; turn++) {
        const blocks = Math.floor(trace.promptTokens[turn] / trace.blockTokens);
        assert.equal(trace.tree.depth[trace.leaf[turn]], blocks);
        for (const on of waitsOn(trace, turn)) {
          const endMs = trace.startMs[on] + trace.serviceMs[on];
          assert.ok(trace.startMs[turn] >= endMs - 1e-6);
        }
      }
      const sessions = trace.sessionIds.map((_, i) => i);
      const order = interleave(trace, { live: 3, thinkMsMax: 1000, sessions });
      assert.equal(new Set(order).size, trace.turnCount);
      const place = new Map([...order].map((turn, i) => [turn, i]));
      for (const turn of order) {
        for (const on of waitsOn(trace, turn)) assert.ok(place.get(on)! < place.get(turn)!);
      }
      assertJoined(trace);
    }),
    { numRuns: 15 },
  );
});

test('the live form: ten turns from 2,000 shared tokens to about 12,000', () => {
  const trace = generateSessions({ ...LIVE_CODING_AGENTS, sessions: 300 }, 2);
  const { summary } = summarize(trace, { ...SUMMARY, live: 8 });
  const { turnsPerThread, firstPromptTokens, lastPromptTokens, thinkS } = summary.spreads;
  assert.deepEqual([turnsPerThread?.p5, turnsPerThread?.max], [10, 10]);
  assert.ok((firstPromptTokens?.p5 ?? 0) > LIVE_CODING_AGENTS.sharedTokens);
  assert.ok(Math.abs((lastPromptTokens?.mean ?? 0) - 12_000) < 800, `${lastPromptTokens?.mean}`);
  assert.equal(thinkS?.mean, 0.5);
  assert.ok(trace.outputTokens.every((tokens) => tokens === 60));
  // All begin with the same text: two sessions share it, block for block.
  const path = (turn: number) => {
    let node = trace.leaf[turn];
    while (trace.tree.depth[node] > LIVE_CODING_AGENTS.sharedTokens / 16)
      node = trace.tree.parent[node];
    return node;
  };
  assert.equal(path(trace.threadTurns[0]), path(trace.threadTurns[17]));
});

/** Everything happens often, and contexts are short. */
function busy(contextTokens: number): CodingAgentsSettings {
  return {
    ...CODING_AGENTS,
    sessions: 5,
    sharedTokens: 3_000,
    turns: { kind: 'weibull', scale: 20, shape: 1 },
    subAgents: CODING_AGENTS.subAgents && { ...CODING_AGENTS.subAgents, share: 0.2 },
    contexts: [{ share: 1, tokens: contextTokens }],
    summaryTokens: { kind: 'fixed', value: 2_000 },
    ownTokens: { kind: 'fixed', value: 1_000 },
    repositories: { count: 3, tokens: { kind: 'fixed', value: 700 } },
    rewrites: { share: 0.1, keepLeast: 0, keepMost: 1 },
  };
}

/** Tokens of what no compaction takes away. */
function longestBase({ sharedTokens }: CodingAgentsSettings): number {
  return sharedTokens + 700 + 2_000 + 1;
}

function waitsOn({ waits }: Trace, turn: number): number[] {
  return [...waits.on.subarray(waits.begin[turn], waits.begin[turn + 1])];
}

/** Each sub-agent's last turn lets a turn of its parent go. */
function assertJoined({ threadIds, threadTurns, waits }: Trace): void {
  const joined = new Set<number>();
  waits.on.forEach((on, i) => {
    if (RELATIONS[waits.relation[i]] === 'join') joined.add(on);
  });
  const agents = threadIds.flatMap((id, thread) => (id === 'main' ? [] : [thread]));
  for (const thread of agents) assert.ok(joined.has(threadTurns[thread + 1] - 1));
}
