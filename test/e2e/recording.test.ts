/** Recording a running gateway: what lands in the file, what never does, and what of it a replay finds again. */
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Comparison } from '../../src/model/comparison.ts';
import { get, post } from './client.ts';
import { FOLDER, Running, runToEnd, SMALL, startUp, until, write } from './stack.ts';

const SIM = ['--engine=sim', '--workers=1', ...SMALL];
const TRAFFIC = ['--generate=coding-agents', '--max-sessions=2', '--live=2', '--think-cap-s=0'];

test('what was recorded is described, and replayed with the same tokens', async () => {
  const stack = await startUp(['--engine=sim', '--workers=1', '--allow-forced-output']);
  const out = join(FOLDER, 'mine.jsonl');
  const recording = await recordingTo(out, [`--url=${stack.url}`]);
  const lived = await replayed([`--url=${stack.url}`, ...TRAFFIC]);
  assert.equal(await recording.stop(), 0);
  assert.match(recording.stderr, /turns of \d+ sessions in /);
  const { stdout } = await runToEnd(['trace', 'describe', out, '--json']);
  const described = JSON.parse(stdout);
  // Besides the calls, what the server was asked about itself.
  const asked = described.turns - lived.requests;
  assert.ok(asked >= 1 && asked <= 3, stdout);
  assert.equal(described.about.malformed.count, 0);
  assert.ok(described.hit.tokens > 0.5, 'turns that grow share their blocks');
  await post(`${stack.url}/reset_prefix_cache`, {});
  const again = await replayed([out, `--url=${stack.url}`, '--live=2', '--think-cap-s=0']);
  assert.equal(again.failed, 0);
  assert.equal(again.requests, described.turns);
  const rows = rowsOf(out);
  const sum = (field: string) => rows.reduce((total, row) => total + Number(row[field]), 0);
  assert.equal(again.promptTokens, sum('promptTokens'));
  assert.equal(again.outputTokens, sum('outputTokens'));
  assert.ok(Math.abs(again.hitRatio - lived.hitRatio) < 0.05, 'what was shared is shared');
  await stack.stop();
});

const SECRETS = {
  key: 'key-of-ada-0123',
  admin: 'key-of-root-89ab',
  tenant: 'ada-the-tenant',
  session: 'session-of-ada',
  path: '/home/ada/wallet.txt',
  prompt: 'xylophonic-quagmire-7',
  tool: 'open_the_vault',
};

test('no key, no prompt, no path and no name is in a recording; prompts are where they are asked for', async () => {
  const config = write(
    'keys.yaml',
    [
      'keys:',
      `  - {key: ${SECRETS.key}, tenant: ${SECRETS.tenant}}`,
      `  - {key: ${SECRETS.admin}, tenant: root, admin: true}`,
    ].join('\n'),
  );
  const stack = await startUp([...SIM, '-c', config], { adminKey: SECRETS.admin });
  const plain = join(FOLDER, 'plain.jsonl');
  const spoken = join(FOLDER, 'spoken.jsonl');
  const flags = [`--url=${stack.url}`, `--key=${SECRETS.admin}`];
  const recordings = [
    await recordingTo(plain, flags),
    await recordingTo(spoken, [...flags, '--text']),
  ];
  const headers = {
    authorization: `Bearer ${SECRETS.key}`,
    'x-stator-session-id': SECRETS.session,
  };
  const content = `${SECRETS.prompt} reads ${SECRETS.path} ${'again and again '.repeat(30)}`;
  const tools = [{ type: 'function', function: { name: SECRETS.tool, parameters: {} } }];
  const messages: object[] = [{ role: 'user', content }];
  for (const more of ['and then?', 'and at last?']) {
    const body = { model: 'demo', max_tokens: 4, messages, tools };
    const { status, text } = await post(`${stack.url}/v1/chat/completions`, body, headers);
    assert.equal(status, 200, text);
    messages.push({ role: 'assistant', content: 'well' }, { role: 'user', content: more });
  }
  const outsider = await get(`${stack.url}/stator/v1/recording`, headers);
  assert.equal(outsider.status, 403, 'only an admin may listen');
  for (const path of [plain, spoken])
    await until('both turns are there', () => rowsOf(path).length === 2);
  for (const one of recordings) assert.equal(await one.stop(), 0);
  const [silent, said] = [plain, spoken].map((path) => readFileSync(path, 'utf8'));
  for (const secret of Object.values(SECRETS)) assert.ok(!silent.includes(secret), secret);
  for (const name of ['key', 'admin', 'tenant', 'session'] as const) {
    assert.ok(!said.includes(SECRETS[name]), name);
  }
  assert.equal(said.split(SECRETS.prompt).length, 2, 'the second turn says only what is new');
  if (process.platform !== 'win32') assert.equal(statSync(plain).mode & 0o777, 0o600);
  const report = await replayed([spoken, ...flags.slice(0, 1), `--key=${SECRETS.key}`, '--live=1']);
  assert.deepEqual([report.failed, report.requests], [0, 2]);
  const [first, second] = rowsOf(spoken).map(({ promptTokens }) => Number(promptTokens));
  assert.equal(report.promptTokens, first + second, 'conversations are rendered as they were');
  await stack.stop();
});

test('a recording goes on over a restart of the gateway, and a torn line is one row less', async () => {
  const file = join(FOLDER, 'restarted.jsonl');
  const out = join(FOLDER, 'listened.jsonl');
  const config = write('record.yaml', `record: {file: '${file}'}\n`);
  const first = await startUp([...SIM, '-c', config]);
  const port = new URL(first.url).port;
  const listener = await recordingTo(out, [`--url=${first.url}`]);
  await ask(first.url);
  await until('it is heard', () => rowsOf(out).length === 1);
  await first.stop();
  assert.equal(rowsOf(file).length, 1);
  appendFileSync(file, '{"id":"torn","session":"s","mod');
  const second = await startUp([...SIM, '-c', config, `--port=${port}`]);
  await until('the listener is back', async () => {
    await ask(second.url);
    return rowsOf(out).length > 1;
  });
  assert.equal(await listener.stop(), 0);
  await second.stop();
  for (const [path, malformed] of [
    [file, 1],
    [out, 0],
  ] as const) {
    const { code, stdout, stderr } = await runToEnd(['trace', 'describe', path, '--json']);
    assert.equal(code, 0, stderr);
    const described = JSON.parse(stdout);
    assert.equal(described.about.malformed.count, malformed, stdout);
    assert.ok(described.turns >= 2);
    const starts = rowsOf(path).map(({ startMs }) => Number(startMs));
    assert.deepEqual(
      starts,
      [...starts].sort((a, b) => a - b),
      'one clock for all of it',
    );
  }
});

test('what cannot be recorded is refused in one sentence', async () => {
  const other = write('other.jsonl', '{"private": true}\n');
  const stack = await startUp(SIM);
  const cases: [string[], number, RegExp][] = [
    [['--url=http://127.0.0.1:9', `--out=${join(FOLDER, 'x')}`], 1, /Nothing answers/],
    [[`--url=${stack.url}`, `--out=${other}`], 1, /is no recording of a gateway/],
    [['--out=x', '--for=soon'], 2, /90s, 10m or 2h/],
    [[], 2, /--out/],
  ];
  for (const [flags, expected, sentence] of cases) {
    const { code, stderr } = await runToEnd(['trace', 'record', ...flags]);
    assert.equal(code, expected, stderr);
    assert.match(stderr, sentence);
    assert.doesNotMatch(stderr, /\n\s+at /);
  }
  assert.equal(readFileSync(other, 'utf8'), '{"private": true}\n');
  await stack.stop();
});

/** Resolves once it listens. */
async function recordingTo(out: string, flags: readonly string[]): Promise<Running> {
  const running = new Running(['trace', 'record', `--out=${out}`, ...flags]);
  await until('the recording has begun', () => {
    if (running.hasEnded) assert.fail(running.stderr);
    return existsSync(out) && readFileSync(out, 'utf8').includes('\n');
  });
  return running;
}

/** Turns; the header and a torn line are none. */
function rowsOf(path: string): Record<string, unknown>[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines
    .filter((line) => /^\{"id".*\}$/.test(line))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function replayed(flags: readonly string[]): Promise<Comparison['policies'][number]> {
  const { code, stdout, stderr } = await runToEnd(['replay', ...flags, '--json']);
  assert.equal(code, 0, stderr + stdout);
  return (JSON.parse(stdout) as Comparison).policies[0];
}

async function ask(url: string): Promise<void> {
  const body = { model: 'demo', max_tokens: 2, messages: [{ role: 'user', content: 'hello' }] };
  const { status, text } = await post(`${url}/v1/chat/completions`, body);
  assert.equal(status, 200, text);
}
