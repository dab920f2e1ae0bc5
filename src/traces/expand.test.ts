import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ExpandedTurn, Expansion } from './expand.ts';
import { generateSessions } from './generate/coding-agents.ts';
import { CODING_AGENTS, LIVE_CODING_AGENTS } from './generate/settings.ts';
import { readTrace } from './read-trace.ts';
import type { Trace } from './trace.ts';

const VOCABULARY = Uint32Array.from({ length: 500 }, (_, i) => 1000 + i);

test('live sessions chain: the next prompt is this prompt, its answer and something new', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0 }), (seed) => {
      const trace = generateSessions({ ...LIVE_CODING_AGENTS, sessions: 3 }, seed);
      const expansion = new Expansion(trace, { seed, vocabulary: VOCABULARY });
      let before: ExpandedTurn = { prompt: new Uint32Array(), output: new Uint32Array() };
      for (let turn = 0; turn < trace.turnCount; turn++) {
        const { prompt, output } = expansion.turn(turn);
        assert.equal(prompt.length, trace.promptTokens[turn]);
        assert.equal(output.length, trace.outputTokens[turn]);
        if (turn > trace.threadTurns[trace.turnThread[turn]]) {
          const context = [...before.prompt, ...before.output];
          assert.deepEqual([...prompt.subarray(0, context.length)], context);
          assert.ok(prompt.length > context.length);
        }
        before = { prompt, output };
      }
    }),
    { numRuns: 20 },
  );
});

test('two prompts share exactly the full blocks that the trace says they share', async () => {
  const sessions = {
    ...CODING_AGENTS,
    sessions: 4,
    rewrites: { share: 0.3, keepLeast: 0, keepMost: 1 },
  };
  const generated = generateSessions(
    {
      ...sessions,
      turns: { kind: 'fixed', value: 12 },
      resumed: { ...sessions.resumed, share: 0 },
    },
    5,
  );
  const recorded = await readTrace(
    'test/fixtures/traces/claude-code-weka-60/traces.compact.jsonl.gz',
  );
  sharesWhatItSays(generated, turnsOf(generated, 0, 48));
  sharesWhatItSays(recorded, turnsOf(recorded, 0, 20));
});

test('another seed is another text, the same seed the same', () => {
  const trace = generateSessions({ ...LIVE_CODING_AGENTS, sessions: 1 }, 1);
  const of = (seed: number) => new Expansion(trace, { seed, vocabulary: VOCABULARY }).turn(3);
  assert.deepEqual(of(1), of(1));
  assert.notDeepEqual(of(1).prompt.subarray(0, 50), of(2).prompt.subarray(0, 50));
});

function turnsOf(trace: Trace, first: number, count: number): number[] {
  return Array.from({ length: Math.min(count, trace.turnCount) }, (_, i) => first + i);
}

function sharesWhatItSays(trace: Trace, turns: readonly number[]): void {
  const expansion = new Expansion(trace, { seed: 7, vocabulary: VOCABULARY });
  const prompts = turns.map((turn) => expansion.turn(turn).prompt);
  for (const [i, a] of prompts.entries()) {
    for (const [j, b] of prompts.slice(0, i).entries()) {
      let tokens = 0;
      while (tokens < Math.min(a.length, b.length) && a[tokens] === b[tokens]) tokens++;
      const shared = sharedBlocks(trace, turns[i], turns[j]);
      assert.equal(
        Math.floor(tokens / trace.blockTokens),
        shared,
        `turns ${turns[i]}, ${turns[j]}`,
      );
    }
  }
}

/** Blocks of the common path; the twin of walking tokens. */
function sharedBlocks({ tree, leaf }: Trace, a: number, b: number): number {
  const ancestors = new Set<number>();
  for (let node = leaf[a]; node !== 0; node = tree.parent[node]) ancestors.add(node);
  let node = leaf[b];
  while (node !== 0 && !ancestors.has(node)) node = tree.parent[node];
  return tree.depth[node];
}
