/** `stator trace` as somebody runs it: figures as JSON, plots, other formats, and one sentence where it cannot. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FOLDER, runToEnd, write } from './stack.ts';

const CONVERSATION =
  'test/fixtures/traces/mooncake-conversation-10min/conversation_trace_first600s.jsonl.gz';
const CLAUDE_CODE = 'test/fixtures/traces/claude-code-weka-60/traces.compact.jsonl.gz';

test('a trace is described, converted and found the same again', async () => {
  const svg = join(FOLDER, 'plots.svg');
  const first = await described([CONVERSATION, `--svg=${svg}`]);
  // Counted by hand from the ids: 28.4 % of blocks, 28.9 % of tokens.
  assert.deepEqual([share(first.hit.blocks), share(first.hit.tokens)], [28.4, 28.9]);
  assert.equal(first.turns, 1750);
  assert.match(readFileSync(svg, 'utf8'), /^<svg [\s\S]*<\/svg>\s*$/);
  for (const to of ['mooncake', 'recording', 'agentic']) {
    const out = join(FOLDER, `${to}.jsonl.gz`);
    const { code, stdout } = await runToEnd([
      ...['trace', 'convert', CONVERSATION, `--to=${to}`, `--out=${out}`, '--scope=global'],
    ]);
    assert.equal(code, 0);
    assert.equal(stdout, '');
    const again = await described([out]);
    assert.deepEqual(again.hit, { ...first.hit });
    assert.deepEqual(again.lru, first.lru);
    assert.deepEqual(again.spreads.promptTokens, first.spreads.promptTokens);
  }
});

test('what a conversion cannot keep is said beside the output', async () => {
  const local = await runToEnd(['trace', 'convert', CONVERSATION, '--to=agentic']);
  assert.equal(local.code, 0);
  assert.match(local.stderr, /shared by sessions, which local ids cannot say; --scope global/);
  assert.equal(local.stdout.trim().split('\n').length, 1751);
  const agents = await runToEnd([
    ...['trace', 'convert', CLAUDE_CODE, '--to=mooncake', `--out=${join(FOLDER, 'flat.jsonl')}`],
  ]);
  assert.match(agents.stderr, /nobody waits for a sub-agent/);
});

test('generated agents stand beside the published figures, the same for the same seed', async () => {
  const run = () => described(['--generate=coding-agents', '--seed=7', '--sessions=20']);
  const found = await run();
  assert.equal(found.sessions, 20);
  assert.ok(found.published.promptTokens.p50 > 0);
  assert.deepEqual(await run(), found);
});

test('what cannot be described is refused in one sentence', async () => {
  const cases: [string[], number, RegExp][] = [
    [['describe'], 2, /either a trace or --generate/],
    [['describe', 'nowhere.jsonl'], 1, /There is no trace at nowhere\.jsonl/],
    [['describe', write('prose.txt', 'once upon a time\n')], 1, /looks like no format .*--format/],
    [['describe', '--generate=cats'], 2, /choose among coding-agents/],
    [['convert', CONVERSATION, '--to=cats'], 2, /choose among mooncake/],
    [['describe', CONVERSATION, '--shared-prefix=7'], 2, /share from 0 to 1/],
  ];
  for (const [words, expected, sentence] of cases) {
    const { code, stderr } = await runToEnd(['trace', ...words]);
    assert.equal(code, expected, words.join(' '));
    assert.match(stderr, sentence);
    assert.doesNotMatch(stderr, /\n\s+at /);
  }
});

async function described(words: string[]) {
  const { code, stdout, stderr } = await runToEnd(['trace', 'describe', ...words, '--json']);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

function share(value: number): number {
  return Math.round(value * 1000) / 10;
}
