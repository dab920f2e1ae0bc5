/** `stator sim` as it is installed: profiles and all, the same seeds the same report. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runToEnd, write } from './stack.ts';

const TRACES = join(import.meta.dirname, '..', 'fixtures', 'traces');
const AGENTS = join(TRACES, 'claude-code-weka-60', 'traces.compact.jsonl.gz');
const SHORT = ['--workers=2', '--sessions-per-worker=2', '--warmup-s=20', '--duration-s=60'];

test('one seed, one report: byte for byte, without a live word on standard output', async () => {
  const args = ['sim', `--trace=${AGENTS}`, ...SHORT, '--policy=stator,oracle,no-reuse', '--json'];
  const first = await runToEnd(args);
  assert.equal(first.code, 0, first.stderr);
  assert.equal((await runToEnd(args)).stdout, first.stdout);
  const report = JSON.parse(first.stdout);
  assert.equal(report.profile, 'h100-qwen3-8b');
  assert.deepEqual(
    report.policies.map(({ policy, hitRatio }: { policy: string; hitRatio: number }) => [
      policy,
      hitRatio > 0,
    ]),
    [
      ['stator', true],
      ['oracle', true],
      ['no-reuse', false],
    ],
  );
});

test('a step log becomes a profile, with which a sweep says what fleet the traffic needs', async () => {
  const head = { stepLog: 1, model: 'm', slots: 8, blockTokens: 16 };
  const steps = Array.from({ length: 60 }, (_, i) => {
    const [promptTokens, decodes] = [(i % 3) * 256, i % 5];
    const work = { promptTokens, tokenContext: promptTokens * 1000, decodes, decodeContext: 0 };
    return { ...work, fetchedTokens: 0, moveUs: 0, us: 5000 + 50 * promptTokens + 100 * decodes };
  });
  const log = write('steps.jsonl', [head, ...steps].map((one) => JSON.stringify(one)).join('\n'));
  const profile = write('mine.json', '');
  const fit = await runToEnd(['sim', `--fit=${profile}`, `--from=${log}`]);
  assert.equal(fit.code, 0, fit.stderr);
  assert.match(fit.stdout, /Error: predicted against observed.*median 0\.0 %/);
  const args = ['sim', `--trace=${AGENTS}`, ...SHORT, `--profile=${profile}`];
  const axes = ['--sweep', 'workers=1..2', 'host-tokens=0,100000'];
  const page = write('sweep.html', '');
  const asked = ['--attain=0.5', '--slo=ttft=600000', '--json', `--page=${page}`];
  const swept = await runToEnd([...args, ...asked, ...axes]);
  assert.equal(swept.code, 0, swept.stderr);
  const report = JSON.parse(swept.stdout);
  assert.deepEqual([report.profile, report.policy, report.points.length], ['mine', 'stator', 4]);
  assert.match(report.notes.join(' '), /Profile mine: .* Error: .*median 0\.0 %/);
  assert.equal(report.answer.length, 1);
  const html = readFileSync(page, 'utf8');
  assert.ok(html.includes(report.answer[0]) && html.includes('<polyline'), 'answer and lines');
});

test('what cannot be simulated is said in one sentence', async () => {
  const says = async (args: string[], code: number, sentence: RegExp) => {
    const run = await runToEnd(['sim', ...args]);
    assert.equal(run.code, code, run.stderr);
    assert.match(run.stderr, sentence);
    assert.equal(run.stdout, '');
  };
  const agents = `--trace=${AGENTS}`;
  await says([agents, '--policy=fastest'], 2, /no policy 'fastest'; choose among stator, .*oracle/);
  await says([agents, '--profile=abacus'], 2, /no profile abacus: name one of .*h100-qwen3-8b/);
  await says([agents, '--speedup=2'], 1, /no common clock: give a --rate/);
  await says([agents, '--speedup=2', '--rate=1'], 2, /--speedup or --rate/);
  await says([agents, '--max-context=1000'], 1, /No session of the trace has 3 turns of at most/);
  await says([], 2, /Give either a trace or --generate/);
  const torn = write('torn.json', '{"version": 1, "name": "torn"');
  await says([agents, `--profile=${torn}`], 2, /is not JSON/);
  await says([agents, '--sweep', 'cores=1..4'], 2, /'cores=1..4' is no axis: write NAME=1..8/);
  await says(['--fit', 'out.json', '--from', torn], 1, /torn.json is no JSON object/);
});
