/**
 * Stator in front of two of llama.cpp's own servers: token ids go there, next turns land where their
 * prefix lies, tenants share nothing, threads are parked in files and brought back, and one may die.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ServerProcess } from '../../src/bench/server-process.ts';
import { llamaServerHere } from '../../src/cli/llama-server.ts';
import { call, post } from '../e2e/client.ts';
import { demoModel, FOLDER, runToEnd, Stack, until, write } from '../e2e/stack.ts';

const MODEL = { slots: 2, contextTokens: 4096, threads: 1 };
const SESSIONS = 4;
const TURNS = 3;
const KEYS = { acme: 'acme-key-1', zeta: 'zeta-key-1' };

interface Said {
  choices: { message: { content: string } }[];
  usage: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details: { cached_tokens: number };
  };
}

interface Message {
  role: string;
  content: string;
}

let servers: ServerProcess[] = [];
let folders: string[] = [];
let stack: Stack;

before(async () => {
  const found = llamaServerHere();
  if (found.kind === 'missing') assert.fail(found.reason);
  const path = await demoModel();
  folders = ['a', 'b'].map((name) => join(FOLDER, `slots-${name}`));
  for (const folder of folders) mkdirSync(folder);
  servers = await Promise.all(
    folders.map((slotFolder) =>
      ServerProcess.llamaServer(found.path, { ...MODEL, path, slotFolder }),
    ),
  );
  const workers = servers.map(
    ({ client }) => `  - {url: '${client.url}', kind: llama-server, model: demo}`,
  );
  const keys = Object.entries(KEYS).map(([tenant, key]) => `  - {key: ${key}, tenant: ${tenant}}`);
  const config = [
    'listen: {port: 0}',
    `models: [{name: demo, path: '${path}'}]`,
    ...['workers:', ...workers],
    ...['keys:', ...keys, '  - {key: admin-key-1, tenant: ops, admin: true}'],
  ];
  stack = new Stack(['serve', '-c', write('fleet.yaml', config.join('\n'))]);
  stack.adminHeaders = { authorization: 'Bearer admin-key-1' };
  await until('it says where it serves', () => {
    if (stack.hasEnded) assert.fail(`serve ended at once: ${stack.stderr}`);
    stack.url = /serves on (http\S+)/.exec(stack.stdout)?.[1] ?? '';
    return stack.url !== '';
  });
  await until('both servers are known', async () => (await stack.snapshot()).workers.length === 2);
});
after(() => {
  for (const server of servers) server.close();
});

test('both were met: tokens agree, and what they hold is guessed, for they tell no events', async () => {
  for (const { about, mode } of (await stack.snapshot()).workers) {
    assert.equal(about.tokensMode, 'exact');
    assert.equal(about.engine, 'llama-server');
    assert.equal(mode, 'predicted');
    assert.deepEqual(
      about.findings?.filter(({ well }) => !well),
      [],
    );
  }
});

test('sessions side by side: each next turn lands where its prefix lies, and finds it', async () => {
  const sessions = Array.from({ length: SESSIONS }, (_, i) => ({
    name: `talk-${i}`,
    messages: [] as Message[],
    prompt: 0,
    workers: new Set<string>(),
  }));
  for (let turn = 0; turn < TURNS; turn++) {
    for (const session of sessions) {
      session.messages.push({ role: 'user', content: story(`${session.name} ${turn}`, 120) });
      const { said, worker } = await ask(session.name, session.messages);
      const { prompt_tokens, prompt_tokens_details } = said.usage;
      session.workers.add(worker);
      // All of the prompt before, but for its last token, which is computed again.
      if (turn > 0) assert.ok(prompt_tokens_details.cached_tokens >= session.prompt - 1);
      session.prompt = prompt_tokens;
      session.messages.push({ role: 'assistant', content: said.choices[0].message.content });
    }
  }
  // As many threads as slots: nobody's place was taken.
  for (const { workers, name } of sessions) assert.equal(workers.size, 1, `${name} was moved`);
  const used = new Set(sessions.flatMap(({ workers }) => [...workers]));
  assert.equal(used.size, 2, 'one of two servers did nothing');
});

test('a parked session lies in a file, and is found again when it is resumed', async () => {
  const messages = [{ role: 'user', content: story('parked', 200) }];
  const first = await ask('parked', messages);
  const parked = await sessionCall('park', 'parked');
  assert.equal(parked.status, 200, parked.text);
  assert.ok(
    folders.some((folder) => readdirSync(folder).length > 0),
    parked.text,
  );
  const resumed = await sessionCall('resume', 'parked');
  assert.equal(resumed.status, 200, resumed.text);
  const again = await ask('parked', messages);
  assert.equal(again.worker, first.worker);
  const { prompt_tokens, prompt_tokens_details } = again.said.usage;
  assert.ok(prompt_tokens_details.cached_tokens >= prompt_tokens - 1);
});

test('another tenant’s equal prompt is computed anew, and its own next turn is not', async () => {
  const messages = [{ role: 'user', content: story('shared by all', 200) }];
  await ask('one', messages);
  await ask('one', messages);
  const other = await ask('one', messages, 'zeta');
  assert.equal(other.said.usage.prompt_tokens_details.cached_tokens, 0);
  const again = await ask('one', messages, 'zeta');
  assert.ok(again.said.usage.prompt_tokens_details.cached_tokens > 0);
});

test('doctor finds everything well', async () => {
  const { code, stdout } = await runToEnd(['doctor', `--url=${stack.url}`, '--key=admin-key-1']);
  assert.equal(code, 0, stdout);
});

test('one of them dies: the other answers, whose session it was', async () => {
  const messages = [{ role: 'user', content: story('mortal', 60) }];
  const { worker } = await ask('mortal', messages);
  const { workers } = await stack.snapshot();
  const place = workers.find(({ id }) => id === worker);
  servers.find(({ client }) => client.url === place?.about.url)?.close();
  const again = await ask('mortal', messages);
  assert.notEqual(again.worker, worker);
});

async function ask(session: string, messages: Message[], tenant: keyof typeof KEYS = 'acme') {
  const body = { model: 'demo', messages, max_tokens: 12, temperature: 0 };
  const headers = { 'x-session-id': session, authorization: `Bearer ${KEYS[tenant]}` };
  const reply = await post<Said>(`${stack.url}/v1/chat/completions`, body, headers);
  assert.equal(reply.status, 200, reply.text);
  return { said: reply.body, worker: reply.headers.get('x-stator-worker') ?? '' };
}

function sessionCall(verb: string, session: string) {
  const headers = { authorization: `Bearer ${KEYS.acme}` };
  const url = `${stack.url}/stator/v1/sessions/${session}/${verb}`;
  return call('POST', url, { body: {}, headers });
}

/** Words that no other name has in this order. */
function story(name: string, words: number): string {
  return Array.from({ length: words }, (_, i) => `${name} said ${i}`).join(', ');
}
