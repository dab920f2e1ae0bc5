/** The Responses API with its state, over a running gateway: what is kept, and turns over a WebSocket. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { call, get, post } from './client.ts';
import { FOLDER, type Stack, scripted, startUp, until, write } from './stack.ts';

interface Response {
  id: string;
  status: string;
  output: { type: string; call_id: string; content: { text: string }[] }[];
  usage: { input_tokens: number; input_tokens_details: { cached_tokens: number } };
  error: { code: string; message: string } | null;
}

const TOOL = { type: 'function', name: 'look', parameters: { type: 'object', properties: {} } };
const TURNS = 6;
/** A tool session, and a text at its end. */
const SESSION = [
  { match: `seen ${TURNS - 1}`, text: 'all done' },
  { match: '', toolCalls: [{ name: 'look', arguments: {} }] },
];
/** Much to read before the first turn, as agents have. */
const SYSTEM = { role: 'developer', content: 'Look before you say anything. '.repeat(300) };

test('a stored session goes on after a restart, as one thread, from what its engine has cached', async () => {
  const state = join(FOLDER, 'kept');
  const args = [...scripted([{ text: 'Yes.' }]), '--workers=2'];
  const first = await startUp(args, { env: { STATOR_STATE: state } });
  const body = { model: 'demo', input: [SYSTEM, { role: 'user', content: 'Secret question?' }] };
  const one = await ask(first, body);
  const shares: number[] = [];
  let previous = one;
  for (let turn = 1; turn < TURNS; turn++) {
    previous = await ask(first, {
      model: 'demo',
      input: 'And?',
      previous_response_id: previous.id,
    });
    const { input_tokens, input_tokens_details } = previous.usage;
    shares.push(input_tokens_details.cached_tokens / input_tokens);
  }
  assert.ok(Math.min(...shares) >= 0.95, `cached shares: ${shares}`);
  const { receipts } = (
    await get<{ receipts: { thread: string }[] }>(`${first.url}/stator/v1/receipts?limit=20`)
  ).body;
  assert.equal(new Set(receipts.map(({ thread }) => thread)).size, 1);
  await first.stop();
  const kept = filesUnder(join(state, 'responses'));
  assert.equal(kept.length, 1);
  const sessions = filesUnder(join(state, 'sessions')).map((file) => readFileSync(file, 'utf8'));
  assert.equal(sessions.length, 1);
  assert.ok(!sessions[0].includes('Secret'), 'of a session no text is kept');
  assert.ok(readFileSync(kept[0], 'utf8').includes('Secret question?'));
  if (process.platform !== 'win32') assert.equal(statSync(kept[0]).mode & 0o777, 0o600);
  for (const said of [first.stdout, first.stderr]) assert.ok(!said.includes('Secret'));
  const second = await startUp(args, { env: { STATOR_STATE: state } });
  const on = await ask(second, { model: 'demo', input: 'And?', previous_response_id: previous.id });
  assert.ok(on.usage.input_tokens > previous.usage.input_tokens);
  const again = await get<{ receipts: { thread: string }[] }>(`${second.url}/stator/v1/receipts`);
  assert.equal(again.body.receipts[0].thread, receipts[0].thread);
  assert.equal((await call('DELETE', `${second.url}/v1/responses/${one.id}`)).status, 200);
  assert.equal((await get(`${second.url}/v1/responses/${one.id}`)).status, 404);
  await second.stop();
  assert.ok(!readFileSync(kept[0], 'utf8').includes('Secret question?'));
});

test('what runs in the background when the gateway stops has failed, in words, when it is back', async () => {
  const env = { STATOR_STATE: join(FOLDER, 'background') };
  const args = [...scripted([{ text: 'slow '.repeat(200), tokenDelayMs: 200 }]), '--workers=1'];
  const config = write('soon.yaml', 'limits: {shutdownUsMax: 100000}\n');
  const first = await startUp([...args, '-c', config], { env });
  const made = await ask(first, { model: 'demo', input: 'one', background: true });
  const at = (stack: Stack) => get<Response>(`${stack.url}/v1/responses/${made.id}`);
  await until('it runs', async () => (await at(first)).body.status === 'in_progress');
  await first.stop();
  const second = await startUp(args, { env });
  const { status, error } = (await at(second)).body;
  assert.deepEqual([status, error?.code], ['failed', 'server_error']);
  await second.stop();
});

test('a tool session over a WebSocket sends what is new, is one thread, and reads from the cache', async () => {
  const stack = await startUp([...scripted(SESSION), '--workers=2']);
  const client = await open(stack.url, { 'thread-id': 'over-a-socket' });
  const created = { type: 'response.create', model: 'demo', store: false, tools: [TOOL] };
  const ahead = await client.turn({ ...created, generate: false, input: [SYSTEM] });
  let response = await client.turn({
    ...created,
    input: [{ role: 'user', content: 'Begin.' }],
    previous_response_id: ahead.id,
  });
  const shares: number[] = [];
  for (let turn = 1; turn < TURNS; turn++) {
    const { type, call_id } = response.output[0];
    assert.equal(type, 'function_call');
    const input = [{ type: 'function_call_output', call_id, output: `seen ${turn}` }];
    response = await client.turn({ ...created, input, previous_response_id: response.id });
    const { input_tokens, input_tokens_details } = response.usage;
    shares.push(input_tokens_details.cached_tokens / input_tokens);
  }
  assert.equal(response.output[0].content[0].text, 'all done');
  assert.ok(Math.min(...shares) >= 0.95, `cached shares: ${shares}`);
  const listed = await get<{ receipts: { thread: string; actual: { status: string } }[] }>(
    `${stack.url}/stator/v1/receipts?limit=20`,
  );
  const { receipts } = listed.body;
  assert.equal(receipts.length, TURNS + 1);
  for (const { thread } of receipts) assert.equal(thread, 'over-a-socket');
  await stack.stop();
  await until('the socket is closed', () => client.closed !== undefined);
  assert.equal(client.closed, 1001);
});

test('a client that goes in mid-answer frees its engine; no key, another site, too many: refused', async () => {
  const config = write(
    'sockets.yaml',
    'limits: {socketsMax: 1}\nkeys: [{key: key-of-a-tenant, tenant: a, admin: true}]\n',
  );
  const rule = { text: 'slow '.repeat(500), tokenDelayMs: 50 };
  const stack = await startUp([...scripted([rule]), '--workers=1', '-c', config], {
    adminKey: 'key-of-a-tenant',
  });
  const authorization = 'Bearer key-of-a-tenant';
  assert.equal(await refusal(stack.url, {}), 401);
  assert.equal(await refusal(stack.url, { authorization, origin: 'https://evil.example' }), 403);
  const client = await open(stack.url, { authorization });
  assert.equal(await refusal(stack.url, { authorization }), 426);
  client.send({ type: 'response.create', model: 'demo', input: 'one' });
  await until('it is answered', () => client.events.some(({ type }) => /delta$/.test(type)));
  client.ws.terminate();
  await until('the engine is free', () => stack.isIdle());
  const next = await open(stack.url, { authorization });
  next.ws.close();
  await stack.stop();
});

async function ask(stack: Stack, body: unknown): Promise<Response> {
  const reply = await post<Response>(`${stack.url}/v1/responses`, body);
  assert.equal(reply.status, 200, reply.text);
  return reply.body;
}

interface SocketEvent {
  type: string;
  response: Response;
}

async function open(url: string, headers: Record<string, string>) {
  const ws = new WebSocket(`${url.replace('http', 'ws')}/v1/responses`, { headers });
  const client = {
    ws,
    events: [] as SocketEvent[],
    closed: undefined as number | undefined,
    send: (message: unknown) => ws.send(JSON.stringify(message)),
    async turn(message: unknown): Promise<Response> {
      const before = client.events.length;
      client.send(message);
      const end = () =>
        client.events.slice(before).find(({ type }) => /\.completed$|\.failed$|^error$/.test(type));
      await until('the turn ends', () => end() !== undefined);
      assert.equal(end()?.type, 'response.completed', JSON.stringify(end()));
      return (end() as SocketEvent).response;
    },
  };
  ws.on('message', (data) => client.events.push(JSON.parse(String(data))));
  ws.on('close', (code) => {
    client.closed = code;
  });
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject));
  return client;
}

function refusal(url: string, headers: Record<string, string>): Promise<number | undefined> {
  const ws = new WebSocket(`${url.replace('http', 'ws')}/v1/responses`, { headers });
  ws.on('error', () => {});
  return new Promise((resolve) => {
    ws.on('unexpected-response', (_, { statusCode }) => resolve(statusCode));
  });
}

function filesUnder(folder: string): string[] {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true });
  return found.filter((entry) => entry.isFile()).map((file) => join(file.parentPath, file.name));
}
