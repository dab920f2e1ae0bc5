/** A real vLLM started as people start it, with all that a gateway would need left out or otherwise. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { FOLDER, until } from '../e2e/stack.ts';
import { Gateway } from './gateway.ts';
import { writeModelFolder } from './model-folder.ts';
import { VllmServer } from './server.ts';

const MODEL = join(FOLDER, 'model');
const OTHER = join(FOLDER, 'other');

let server: VllmServer;
let gateway: Gateway;
before(async () => {
  writeModelFolder(MODEL);
  otherTokenizer();
  const flags = ['--max-model-len=4096', '--num-gpu-blocks-override=100'];
  server = await VllmServer.start(OTHER, { flags, events: false });
  await server.ready();
  gateway = await Gateway.start(MODEL, [server.url]);
  await until('it is met', async () => (await gateway.snapshot()).workers.length === 1, 90_000);
});
after(async () => {
  await server?.kill();
});

const MENDS: [string, RegExp][] = [
  ['tokenizer', /differ .*models\[\]\.path/],
  ['block size', /128 tokens, but 32 .*blockTokens: 128 .*--block-size 32/],
  ['event source', /add --kv-events-config/],
  ['usage', /add --enable-prompt-tokens-details/],
  ['priority', /fcfs.*add --scheduling-policy priority/],
];

test('doctor names each of five mistakes with the flag that mends it, and ends with 1', async () => {
  const { code, findings } = await gateway.doctor();
  assert.equal(code, 1);
  for (const [check, mend] of MENDS) {
    const found = findings.find((finding) => finding.check === check);
    assert.ok(found !== undefined && !found.well, check);
    assert.match(found.says, mend);
  }
  assert.ok(findings.find(({ check }) => check === 'prefix caching')?.well);
});

test('it serves all the same: prompts pass through, and its log says once what is wrong', async () => {
  const { models } = await gateway.snapshot();
  assert.equal(models[0].tokens, 'passThrough');
  const { status, body } = await gateway.ask('s', { messages: [{ role: 'user', content: 'Hi' }] });
  assert.equal(status, 200);
  assert.ok(body.usage.completion_tokens > 0);
  for (const [check] of MENDS) {
    const times = gateway.log.split(`${server.url}: ${check}: `).length - 1;
    assert.equal(times, 1, check);
  }
  await gateway.stop();
});

/** The same model with other merges, as after a change of files on one side. */
function otherTokenizer(): void {
  mkdirSync(OTHER);
  for (const name of ['config.json', 'generation_config.json', 'tokenizer_config.json']) {
    copyFileSync(join(MODEL, name), join(OTHER, name));
  }
  const file = JSON.parse(readFileSync(join(MODEL, 'tokenizer.json'), 'utf8')) as {
    model: { merges: unknown[] };
  };
  file.model.merges = file.model.merges.slice(0, 1000);
  writeFileSync(join(OTHER, 'tokenizer.json'), JSON.stringify(file));
}
