/** `stator compare`: what it prints and draws, and what it refuses. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Comparison } from '../../src/model/comparison.ts';
import { FOLDER, runToEnd, startUp, startWorker, write } from './stack.ts';

const TRACE = [
  { session: 'a', prompt: 640, output: 10 },
  { session: 'b', prompt: 640, output: 10 },
];

test('a generated workload: figures of each policy and seed, and a page that needs nothing', async () => {
  const page = join(FOLDER, 'page.html');
  const { code, stdout, stderr } = await runToEnd([
    ...['compare', '--engine=sim', '--generate=coding-agents', '--think-cap-s=0', '--json'],
    ...['--policies=no-reuse,stator', '--seeds=2', '--max-sessions=1', `--page=${page}`],
  ]);
  assert.equal(code, 0, stderr);
  const report = JSON.parse(stdout) as Comparison;
  assert.equal(report.workers, 4, 'the workload says how many');
  assert.deepEqual(report.seeds, [1, 2]);
  const [none, ours] = report.policies;
  for (const { perSeed, failed, requests } of [none, ours]) {
    assert.equal(failed, 0, report.notes.join('\n'));
    assert.equal(requests, 10);
    assert.equal(perSeed.length, 2);
    assert.notEqual(perSeed[0].promptTokens, perSeed[1].promptTokens, 'another seed, another draw');
  }
  assert.equal(none.cachedTokens, 0);
  assert.equal(none.promptTokens, ours.promptTokens);
  assert.ok(ours.prefillTokens < none.prefillTokens / 2);
  const html = readFileSync(page, 'utf8');
  const { live, policies: mild } = report.mild ?? assert.fail('mild load stands beside');
  assert.equal(live, 2, 'a quarter of 8');
  assert.deepEqual(
    mild.map(({ policy, failed, perSeed }) => [policy, failed, perSeed.length]),
    [
      ['no-reuse', 0, 1],
      ['stator', 0, 1],
    ],
  );
  assert.match(html, /Mild load: 2 sessions at once/);
  assert.match(html, /sessions per hour of a stack that computes every prompt in full/);
  assert.ok(!/(src|href)=|@import|url\(/.test(html), 'nothing is fetched');
});

test('a trace of hashes is replayed with tokens of its own', async () => {
  const rows = TRACE.flatMap(({ session, prompt, output }, i) =>
    [0, 1].map((turn) => ({
      session_id: session,
      timestamp: turn * 100 + i,
      input_length: prompt + turn * 64,
      output_length: output,
      hash_ids: Array.from({ length: 10 + turn }, (_, block) =>
        block < 5 ? block : i * 100 + block,
      ),
    })),
  );
  const trace = write('trace.jsonl', rows.map((row) => JSON.stringify(row)).join('\n'));
  const { code, stdout, stderr } = await runToEnd([
    ...['compare', '--engine=sim', `--trace=${trace}`, '--format=mooncake', '--block-tokens=64'],
    ...['--policies=stator', '--no-page', '--json', '--workers=1', '--mild-live=0'],
  ]);
  assert.equal(code, 0, stderr);
  const report = JSON.parse(stdout) as Comparison;
  assert.equal(report.mild, undefined);
  const [{ requests, failed, promptTokens, cachedTokens }] = report.policies;
  assert.equal(failed, 0, report.notes.join('\n'));
  assert.equal(requests, 4);
  assert.equal(promptTokens, 2 * (640 + 704));
  assert.ok(cachedTokens >= 640 + 320, 'a session finds its own blocks, and those it shares');
});

test('two servers that run: what changed from one to the other, first of all', async () => {
  const flags = ['--engine=sim', '--workers=2', '--kv-tokens=30000', '--allow-forced-output'];
  const before = await startUp([...flags, '--policy=random']);
  const after = await startUp(flags);
  const page = join(FOLDER, 'before-after.html');
  const words = [
    ...['compare', `--before=${before.url}`, `--after=${after.url}/v1`, '--before-key=sk-secret'],
    ...['--generate=coding-agents', '--max-sessions=3', '--live=3', '--think-cap-s=0'],
    ...['--mild-live=0', `--page=${page}`],
  ];
  const json = await runToEnd([...words, '--json']);
  assert.equal(json.code, 0, json.stderr);
  const report = JSON.parse(json.stdout) as Comparison;
  const [a, b] = report.policies;
  assert.deepEqual([a.policy, b.policy, a.failed, b.failed], ['before', 'after', 0, 0]);
  assert.deepEqual([a.workers, b.workers], [2, 2], 'each says how many it has');
  assert.equal(a.promptTokens, b.promptTokens);
  assert.equal(a.outputTokens, b.outputTokens);
  assert.ok(b.prefillTokens < a.prefillTokens, `${b.prefillTokens} after ${a.prefillTokens}`);
  const html = readFileSync(page, 'utf8');
  assert.match(html, /<td>prompt tokens computed<\/td>/);
  assert.ok(!html.includes('sk-secret'), 'a page is shown to others');
  const text = await runToEnd([...words, '--max-sessions=1', '--after-workers=5']);
  assert.match(text.stdout, /^ +before +after +change\nprompt tokens computed +[\d,]+ +[\d,]+/);
  for (const stack of [before, after]) await stack.stop();
});

test('a cache that cannot be emptied is said, and left as it is on request', async () => {
  const worker = await startWorker(['--engine=sim'], { STATOR_KV_SECRET: 'nobody knows it' });
  const { url } = worker.card;
  const words = ['compare', `--before=${url}`, `--after=${url}`, '--generate=coding-agents'];
  const few = ['--max-sessions=1', '--mild-live=0', '--think-cap-s=0', '--no-page', '--json'];
  const refused = await runToEnd([...words, ...few]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /cannot be emptied .* answers 403.*--no-reset/);
  const { code, stdout, stderr } = await runToEnd([...words, ...few, '--no-reset']);
  assert.equal(code, 0, stderr);
  const { settings, notes } = JSON.parse(stdout) as Comparison;
  assert.equal(settings['caches emptied before each run'], false);
  assert.match(notes.join('\n'), /cannot be dictated/);
  await worker.stop();
});

test('what cannot be compared is refused in one sentence', async () => {
  const cases: [string[], RegExp][] = [
    [['--generate=coding-agents', '--policies=fastest'], /There is no policy 'fastest'/],
    [['--policies=stator'], /Give one of --sessions, --trace and --generate/],
    [['--generate=coding-agents', '--slo=quick'], /ttft=5000,itl=100/],
    [['--generate=poets'], /poets/],
    [['--generate=coding-agents', '--before=http://127.0.0.1:9'], /--before and --after/],
    [[`--sessions=${join(FOLDER, 'nowhere')}`], /holds no messages/],
  ];
  for (const [flags, sentence] of cases) {
    const { code, stdout, stderr } = await runToEnd(['compare', '--engine=sim', ...flags]);
    assert.equal(code, 2, flags.join(' '));
    assert.equal(stdout, '');
    assert.match(stderr, sentence);
  }
});
