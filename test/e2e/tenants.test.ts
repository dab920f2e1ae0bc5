/** Keys, tenants and admin routes: CONTRACT's "Safe by default", for a gateway with keys. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { before, test } from 'node:test';
import type { Receipt } from '../../src/model/receipt.ts';
import {
  assertCleanEnd,
  call,
  get,
  type HeaderFields,
  post,
  streamChat,
  streamMessages,
} from './client.ts';
import { FOLDER, procFile, runToEnd, SMALL, type Stack, startUp, write } from './stack.ts';

const KEYS = { ada: 'key-of-ada-0123', bob: 'key-of-bob-4567', root: 'key-of-root-89ab' };
const JOURNAL = join(FOLDER, 'journal.jsonl');
const MARKER = 'xylophonic-quagmire-7';
const PROMPT = `${MARKER} ${'and what did the other king say about it then? '.repeat(40)}`;

let stack: Stack;
before(async () => {
  const config = write(
    'keys.yaml',
    [
      'keys:',
      `  - {key: ${KEYS.ada}, tenant: ada}`,
      `  - {key: ${KEYS.bob}, tenant: bob}`,
      `  - {key: ${KEYS.root}, tenant: root, admin: true}`,
      `journal: ${JOURNAL}`,
    ].join('\n'),
  );
  stack = await startUp([...SMALL, '--workers=1', '-c', config], { adminKey: KEYS.root });
});

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const body = { messages: [{ role: 'user', content: PROMPT }] };

test('without a key, or with a wrong one, each wire says so in its own shape', async () => {
  const wrong: HeaderFields[] = [{}, bearer('key-of-nobody'), { 'x-api-key': 'key-of-ada-012' }];
  for (const headers of wrong) {
    const sent = { model: 'demo', max_tokens: 5, ...body };
    const chat = await post(`${stack.url}/v1/chat/completions`, sent, headers);
    assert.equal(chat.status, 401);
    const { error } = chat.body as { error: { type: string; message: string } };
    assert.equal(error.type, 'authentication_error');
    assert.match(error.message, /^[^\n]+\.$/);
    const messages = await post(`${stack.url}/v1/messages`, sent, headers);
    assert.equal(messages.status, 401);
    const told = messages.body as { type: string; error: { type: string } };
    assert.deepEqual([told.type, told.error.type], ['error', 'authentication_error']);
    assert.equal((await get(`${stack.url}/v1/models`, headers)).status, 401);
  }
  assert.equal((await get(`${stack.url}/health`)).status, 200, 'health needs none');
});

test('both ways to send a key are taken', async () => {
  assert.equal((await get(`${stack.url}/v1/models`, bearer(KEYS.ada))).status, 200);
  assert.equal((await get(`${stack.url}/v1/models`, { 'x-api-key': KEYS.ada })).status, 200);
});

test('the same prompt of two tenants shares nothing; of one tenant, all of it', async () => {
  const first = await streamChat(stack.url, body, { headers: bearer(KEYS.ada) });
  assertCleanEnd(first);
  assert.equal(first.cachedTokens, 0);
  const bob = await streamChat(stack.url, body, { headers: bearer(KEYS.bob) });
  assert.equal(bob.cachedTokens, 0, 'nothing of another tenant');
  const again = await streamMessages(stack.url, body, { headers: { 'x-api-key': KEYS.bob } });
  assert.ok((again.cachedTokens ?? 0) > 300, `${again.cachedTokens} of its own`);
  const salted = await streamChat(
    stack.url,
    { ...body, nvext: { cache_salt: 'ada' } },
    { headers: bearer(KEYS.bob) },
  );
  assert.equal(salted.cachedTokens, 0, 'a salt that is called like a tenant opens nothing');
});

test('a receipt is its own tenant’s only', async () => {
  const answer = await streamChat(stack.url, body, { headers: bearer(KEYS.ada) });
  const url = `${stack.url}/stator/v1/receipts/${answer.headers['x-stator-receipt']}`;
  const own = await get<Receipt>(url, bearer(KEYS.ada));
  assert.equal(own.status, 200);
  assert.equal(own.body.tenant, 'ada');
  assert.equal((await get(url, bearer(KEYS.bob))).status, 404);
  assert.equal((await get(url)).status, 401);
  assert.doesNotMatch(own.text, new RegExp(MARKER), 'a receipt holds no text');
});

test('nothing that is kept of one tenant is there for another, by whatever name', async () => {
  const [ada, bob] = [bearer(KEYS.ada), bearer(KEYS.bob)];
  const session = { 'x-stator-session-id': 'of-ada' };
  assertCleanEnd(await streamChat(stack.url, body, { headers: { ...ada, ...session } }));
  const input = body.messages;
  const stored = { model: 'demo', input, store: true, max_output_tokens: 8 };
  const { body: response } = await post<{ id: string }>(`${stack.url}/v1/responses`, stored, ada);
  const { body: talk } = await post<{ id: string }>(
    `${stack.url}/v1/conversations`,
    { items: [{ type: 'message', role: 'user', content: PROMPT }] },
    ada,
  );
  const [id, conversation] = [response.id, talk.id];
  const kept: [string, string, unknown?][] = [
    ['GET', '/stator/v1/sessions/of-ada'],
    ['GET', `/v1/responses/${id}`],
    ['GET', `/v1/responses/${id}/input_items`],
    ['GET', `/v1/conversations/${conversation}`],
    ['GET', `/v1/conversations/${conversation}/items`],
    ['POST', '/v1/responses', { ...stored, previous_response_id: id }],
    ['POST', '/v1/responses', { ...stored, conversation }],
    // Changes come last, the other tenant's first.
    ['POST', '/stator/v1/sessions/of-ada/end', {}],
    ['DELETE', `/v1/conversations/${conversation}`],
    ['DELETE', `/v1/responses/${id}`],
  ];
  for (const [method, path, sent] of kept) {
    const theirs = await call(method, stack.url + path, { headers: bob, body: sent });
    assert.equal(theirs.status, 404, `${method} ${path}: ${theirs.text}`);
    assert.doesNotMatch(theirs.text, new RegExp(MARKER));
    const own = await call(method, stack.url + path, { headers: ada, body: sent });
    assert.equal(own.status, 200, `${method} ${path}: ${own.text}`);
  }
});

test('files are their owner’s only, and neither their names nor the journal tell of anybody', async () => {
  if (process.platform === 'win32') return;
  const entries = readdirSync(FOLDER, { recursive: true, withFileTypes: true }).filter(
    ({ name, parentPath }) => name === 'journal.jsonl' || parentPath.includes('state'),
  );
  assert.ok(entries.length > 2, 'a journal, and what is kept of responses');
  for (const entry of entries) {
    const { mode } = statSync(join(entry.parentPath, entry.name));
    assert.equal(mode & 0o777, entry.isFile() ? 0o600 : 0o700, entry.name);
    assert.doesNotMatch(entry.name, /ada|bob|xylophonic/);
  }
  const journal = readFileSync(JOURNAL, 'utf8');
  assert.match(journal, /arrived/);
  for (const word of [MARKER, ...Object.values(KEYS)]) assert.ok(!journal.includes(word));
});

test('lists hold what is the caller’s own', async () => {
  for (const [name, key] of Object.entries({ ada: KEYS.ada, bob: KEYS.bob })) {
    const answer = await streamChat(stack.url, body, { headers: bearer(key) });
    const receipts = await get<{ receipts: Receipt[] }>(
      `${stack.url}/stator/v1/receipts?limit=1000`,
      bearer(key),
    );
    const tenants = new Set(receipts.body.receipts.map(({ tenant }) => tenant));
    assert.deepEqual([...tenants], [name]);
    assert.ok(receipts.text.includes(String(answer.headers['x-stator-receipt'])));
  }
  const sessions = await get(`${stack.url}/stator/v1/sessions?limit=1000`, bearer(KEYS.bob));
  assert.equal(sessions.status, 200);
  assert.doesNotMatch(sessions.text, /of-ada/);
});

const ADMIN: [string, string, unknown][] = [
  ['GET', '/metrics', undefined],
  ['GET', '/stator/v1/workers', undefined],
  ['GET', '/stator/v1/snapshot', undefined],
  ['GET', '/stator/v1/events', undefined],
  ['GET', '/stator/v1/policies', undefined],
  ['GET', '/stator/v1/recording?text=1', undefined],
  ['POST', '/stator/v1/workers/drain', { worker: 'worker-1', draining: true }],
  ['POST', '/stator/v1/policies', { policy: 'random' }],
  ['POST', '/reset_prefix_cache', {}],
];

test('admin routes need an admin key', async () => {
  for (const [method, path, sent] of ADMIN) {
    const no = await call(method, stack.url + path, { body: sent });
    assert.equal(no.status, 401, `${method} ${path}`);
    const plain = await call(method, stack.url + path, { body: sent, headers: bearer(KEYS.ada) });
    assert.equal(plain.status, 403, `${method} ${path}`);
  }
  assert.equal((await stack.snapshot()).policy, 'stator', 'nothing was changed');
});

test('admin routes answer no page of another origin and no other Host', async () => {
  const { host } = new URL(stack.url);
  for (const [method, path] of ADMIN) {
    const foreign: HeaderFields[] = [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: 'http://127.0.0.1:1' },
      { host: 'evil.example' },
      { host: `127.0.0.1.evil.example:${new URL(stack.url).port}` },
    ];
    for (const headers of foreign) {
      const status = await statusOf(method, path, { ...bearer(KEYS.root), host, ...headers });
      assert.equal(status, 403, `${method} ${path} ${JSON.stringify(headers)}`);
    }
  }
  const same = { ...bearer(KEYS.root), host, origin: stack.url };
  assert.equal(await statusOf('GET', '/stator/v1/snapshot', same), 200);
});

test('no answer ever lets another origin read it', async () => {
  const headers = { ...bearer(KEYS.root), origin: 'https://evil.example' };
  for (const path of ['/v1/models', '/health', '/stator/v1/snapshot']) {
    const reply = await get(stack.url + path, headers);
    assert.equal(reply.headers.get('access-control-allow-origin'), null, path);
  }
});

test('another address with a key is opened; its workers stay on this machine’s own', async () => {
  const config = write('open.yaml', `keys: [{key: ${KEYS.root}, tenant: root, admin: true}]\n`);
  const args = ['--engine=sim', '--workers=1', '--host=0.0.0.0', '-c', config];
  const open = await startUp(args, { adminKey: KEYS.root });
  assert.equal((await get(`${open.url}/v1/models`)).status, 401);
  assert.equal((await get(`${open.url}/v1/models`, bearer(KEYS.root))).status, 200);
  for (const { url, events } of (await open.cards()).values()) {
    for (const address of [url, events?.endpoint, events?.replay]) {
      assert.match(address ?? '', /^\w+:\/\/127\.0\.0\.1:\d+$/);
    }
  }
  assert.equal(await open.stop(), 0);
});

test('neither keys nor prompts nor answers are logged or told', async () => {
  const answer = await streamChat(stack.url, body, { headers: bearer(KEYS.ada) });
  const receipts = await get(`${stack.url}/stator/v1/receipts?limit=1000`, bearer(KEYS.root));
  const mine = await get(`${stack.url}/stator/v1/receipts?limit=1000`, bearer(KEYS.ada));
  const { text } = await get(`${stack.url}/metrics`, bearer(KEYS.root));
  const snapshot = JSON.stringify(await stack.snapshot());
  const wrong = { ...body, temperature: MARKER };
  const refused = await post(`${stack.url}/v1/chat/completions`, wrong, bearer(KEYS.ada));
  const told = [text, snapshot, refused.text, receipts.text, mine.text];
  assert.ok(answer.text.length > 20);
  for (const said of [stack.stdout, stack.stderr, ...told]) {
    assert.doesNotMatch(said, new RegExp(MARKER));
    assert.ok(!said.includes(answer.text) && !said.includes(JSON.stringify(answer.text)));
    for (const key of Object.values(KEYS)) assert.ok(!said.includes(key));
  }
});

test('a configuration that is wrong does not quote its keys', async () => {
  const config = write('bad-keys.yaml', `keys: [{key: ${KEYS.ada}, tenants: ada}]\n`);
  const { code, stderr } = await runToEnd(['up', '-c', config]);
  assert.equal(code, 2);
  assert.ok(!stderr.includes(KEYS.ada), stderr);
  const yaml = write('bad-yaml.yaml', `keys: [{key: ${KEYS.ada}, tenant: [ada\n`);
  assert.ok(!(await runToEnd(['up', '-c', yaml])).stderr.includes(KEYS.ada));
});

test('no secret is in a command line', { skip: needsProc() }, async () => {
  const pids = [stack.pid, ...[...(await stack.cards()).values()].map(({ pid }) => pid)];
  const [, worker] = pids;
  const secret = /STATOR_KV_SECRET=([^\0]+)/.exec(procFile(worker, 'environ'))?.[1];
  assert.ok(secret !== undefined && secret.length >= 32, 'the worker has a secret');
  for (const pid of pids) {
    const line = procFile(pid, 'cmdline');
    assert.match(line, /main\.js/);
    for (const word of [secret, ...Object.values(KEYS)]) assert.ok(!line.includes(word), line);
  }
});

function needsProc(): string | false {
  return process.platform === 'linux' ? false : 'command lines are read from /proc, on Linux';
}

/** `fetch` refuses to set Host. */
function statusOf(
  method: string,
  path: string,
  headers: Record<string, string>,
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const outgoing = request(stack.url + path, { method, headers, agent: false }, (response) => {
      resolve(response.statusCode);
      response.destroy();
    });
    outgoing.on('error', reject);
    outgoing.end(method === 'POST' ? '{"policy":"random"}' : undefined);
  });
}
