import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Config } from '../model/config.ts';
import { generateSessions } from '../traces/generate/coding-agents.ts';
import { LIVE_CODING_AGENTS } from '../traces/generate/settings.ts';
import { readProfile } from './profile.ts';
import { rerun } from './rerun.ts';

const TURNS = 5;
const CHUNK = 256;

test('every turn is played once, so many sessions at a time, each turn after the one before', () => {
  for (const live of [1, 3, 50]) {
    const { outcomes, window, sessionsOver } = play({ live });
    assert.equal(outcomes.length, 8 * TURNS);
    assert.equal(sessionsOver, 8);
    assert.equal(window.endUs, Math.max(...outcomes.map(({ endedUs }) => endedUs)));
    const moments = outcomes.flatMap(({ arrivedUs, endedUs }) => [arrivedUs, endedUs]);
    for (const moment of moments) {
      const here = outcomes.filter((one) => one.arrivedUs <= moment && moment < one.endedUs);
      assert.ok(here.length <= live, `${here.length} at once of ${live}`);
    }
  }
});

test('with one session at a time only what a turn adds is computed: its answer is in cache already', () => {
  const { trace, outcomes } = play({ live: 1 });
  outcomes.forEach(({ cachedTokens }, turn) => {
    if (turn % TURNS === 0) return;
    const before = trace.promptTokens[turn - 1] + trace.outputTokens[turn - 1];
    // Whole blocks; the last token said was never computed.
    assert.equal(cachedTokens, Math.floor((before - 1) / 16) * 16, `turn ${turn}`);
  });
});

test('prompts that begin alike compute that once where an engine waits for it, else as often as they are at once', () => {
  const shared = 2000;
  const first = (waitsForPrefix: boolean) => {
    const { outcomes } = play({ live: 4, waitsForPrefix });
    return outcomes
      .toSorted((a, b) => a.arrivedUs - b.arrivedUs)
      .slice(0, 4)
      .map(({ cachedTokens }) => cachedTokens);
  };
  // Who comes during the first chunk finds that chunk.
  assert.deepEqual(first(false), [0, CHUNK, CHUNK, CHUNK]);
  const waited = first(true);
  assert.equal(waited.filter((tokens) => tokens === 0).length, 1);
  assert.equal(waited.filter((tokens) => tokens >= shared).length, 3, waited.join(' '));
});

function play({ live, waitsForPrefix = false }: { live: number; waitsForPrefix?: boolean }) {
  const trace = generateSessions(
    { ...LIVE_CODING_AGENTS, sessions: 8, turns: { kind: 'fixed', value: TURNS } },
    3,
  );
  const run = rerun(trace, {
    fleet: {
      seed: 1,
      world: 'private',
      workers: 1,
      profile: { ...readProfile('h100-qwen3-8b'), batchedTokensMax: CHUNK, waitsForPrefix },
      deviceTokens: 1_000_000,
      hostTokens: 0,
      routingLagUs: 1000,
      eventLagUs: 1000,
      kernel: { ...Config.parse({}).limits, policy: 'stator' },
    },
    live,
    thinkUsMax: 1e9,
  });
  return { trace, ...run };
}
