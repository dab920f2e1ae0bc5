/** Turns over a WebSocket, over the real walk; the socket itself is played. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MessageSocket } from '../../http/message-socket.ts';
import type { GatewayError } from '../../model/error.ts';
import type { Json } from '../../wire/fields.ts';
import { chainKeyOf } from './response-ids.ts';
import { Rig, TENANT, until } from './rig.test.ts';

const CREATE = { type: 'response.create', model: 'm', store: false };

test('a turn that names the last response brings only what is new; nothing of it is stored', async () => {
  const rig = new Rig();
  const client = connect(rig);
  const first = await client.turn({ ...CREATE, input: 'one' });
  const second = await client.turn({ ...CREATE, input: 'two', previous_response_id: first.id });
  for (const words of ['one', 'answer 1', 'two']) assert.ok(rig.prompt().includes(words), words);
  const types = client.got.map(({ type }) => type);
  assert.equal(types[0], 'response.created');
  assert.equal(types.filter((type) => type === 'response.completed').length, 2);
  assert.deepEqual([second.previous_response_id, second.store], [first.id, false]);
  assert.equal((await rig.call('GET', `/v1/responses/${second.id}`)).status, 404);
  assert.deepEqual(rig.store?.totals.chains, 0);
  // Of the last only: whoever names an older one, or comes over another connection, sends it all.
  for (const other of [client, connect(rig)]) {
    const refused = await other.turn({ ...CREATE, input: 'x', previous_response_id: first.id });
    const { status, error, headers } = refused as { status: number; error: Json; headers: Json };
    assert.deepEqual([status, error.code], [404, 'previous_response_not_found']);
    assert.ok(headers['x-request-id']);
  }
  const third = await client.turn({ ...CREATE, input: 'x', previous_response_id: second.id });
  assert.equal(third.status, 'completed');
});

test('stored turns go on over any connection and over plain requests, and the other way round', async () => {
  const rig = new Rig();
  const plain = await rig.create({ input: 'one' });
  const stored = { ...CREATE, store: true };
  const first = connect(rig);
  const second = await first.turn({ ...stored, input: 'two', previous_response_id: plain.id });
  const third = await connect(rig).turn({
    ...stored,
    input: 'three',
    previous_response_id: second.id,
  });
  await rig.create({ input: 'four', previous_response_id: third.id });
  const prompt = rig.prompt();
  for (const words of ['one', 'two', 'answer 2', 'three', 'four'])
    assert.ok(prompt.includes(words));
  // What is stored is stored once: each turn what it brought.
  const chain = await rig.store?.find(TENANT, chainKeyOf(String(third.id)) ?? '');
  const { previous, input } = chain?.response(String(third.id)) ?? assert.fail();
  assert.deepEqual([previous, input.length], [second.id, 1]);
  // Not stored after being stored: the connection knows both.
  const fifth = await first.turn({ ...CREATE, input: 'five', previous_response_id: second.id });
  const sixth = await first.turn({ ...stored, input: 'six', previous_response_id: fifth.id });
  await rig.create({ input: 'seven', previous_response_id: sixth.id });
  for (const words of ['one', 'five', 'six', 'seven']) assert.ok(rig.prompt().includes(words));
});

test('a prompt sent ahead is computed and answered with nothing; the turn goes on from it', async () => {
  const rig = new Rig();
  const client = connect(rig);
  const ahead = { ...CREATE, input: [{ role: 'developer', content: 'Be brief.' }] };
  const ready = await client.turn({ ...ahead, generate: false });
  assert.deepEqual([ready.status, ready.output], ['completed', []]);
  await until(() => rig.receipts.length === 1);
  assert.equal(rig.jobs[0].outputTokensMax, 1);
  const turn = { ...CREATE, input: 'one', previous_response_id: ready.id };
  assert.equal((await client.turn(turn)).status, 'completed');
  assert.ok(rig.prompt().includes('Be brief.') && rig.prompt().includes('one'));
  assert.equal(client.got.filter(({ type }) => type === 'response.completed').length, 2);
});

test('each message says whose it is, and what it is for', async () => {
  const rig = new Rig();
  const client = connect(rig, { 'thread-id': 't', 'session-id': 's' });
  await client.turn({ ...CREATE, input: 'one' });
  const metadata = {
    'x-codex-turn-metadata': JSON.stringify({ request_kind: 'compaction' }),
    thread_id: 'other',
    'x-tenant-id': 'somebody',
    authorization: 'Bearer x',
  };
  await client.turn({ ...CREATE, input: 'two', client_metadata: metadata });
  const [first, second] = rig.receipts;
  assert.deepEqual([first.thread, first.session], ['t', 's']);
  assert.deepEqual([second.thread, second.tenant], ['other', 'default']);
});

test('what is no request is refused in words, and the next one is answered', async () => {
  const rig = new Rig();
  const client = connect(rig);
  const deep = JSON.parse(`${'['.repeat(200)}${']'.repeat(200)}`) as unknown;
  for (const [message, code] of [
    ['{', 'invalid_json'],
    ['[]', 'invalid_request'],
    ['{"type":"other"}', 'invalid_request'],
    [JSON.stringify({ ...CREATE, input: [{ role: 'x', content: '' }] }), 'invalid_request'],
    [JSON.stringify({ ...CREATE, model: 'other', input: 'x' }), 'model_not_found'],
    // It could be answered, but neither kept nor written into the answer's last event.
    [
      JSON.stringify({ ...CREATE, input: [{ role: 'user', content: 'x', deep }] }),
      'invalid_request',
    ],
  ]) {
    const { type, status, error } = await client.send(message);
    assert.equal(type, 'error');
    assert.ok(Number(status) >= 400);
    assert.equal((error as Json).code, code, message);
  }
  await client.deliver(JSON.stringify({ type: 'response.processed', response_id: 'resp_x' }));
  assert.equal((await client.turn({ ...CREATE, input: 'one' })).status, 'completed');
});

test('turns of one connection are answered one after the other', async () => {
  const rig = new Rig();
  rig.answers = ['wait', ['second']];
  const client = connect(rig);
  const first = client.turn({ ...CREATE, input: 'one' });
  await until(() => rig.jobs.length === 1);
  void client.deliver(JSON.stringify({ ...CREATE, input: 'two' }));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(rig.jobs.length, 1);
  rig.go();
  await first;
  await until(() => rig.receipts.length === 2);
});

test('a client that goes frees its engine, and what was held for it', async () => {
  const rig = new Rig();
  rig.answers = ['wait'];
  const client = connect(rig);
  void client.deliver(JSON.stringify({ ...CREATE, input: 'one' }));
  await until(() => client.got.some(({ delta }) => delta === 'begun'));
  client.leave();
  await client.over;
  await until(() => rig.receipts.length === 1);
  assert.notEqual(rig.receipts[0].actual.status, 'done');
});

test('last turns of all connections take so much memory; the one unused for longest sends all again', async () => {
  const rig = new Rig({ latestBytesMax: 3_000 });
  const [a, b, c] = [connect(rig), connect(rig), connect(rig)];
  const input = 'x'.repeat(1_000);
  const ids: unknown[] = [];
  for (const client of [a, b, c]) ids.push((await client.turn({ ...CREATE, input })).id);
  const again = async (client: Client, id: unknown) =>
    (await client.turn({ ...CREATE, input: 'on', previous_response_id: id })).status;
  assert.equal(await again(c, ids[2]), 'completed');
  assert.equal(await again(a, ids[0]), 404);
});

test('pages of other sites get no socket; neither do other paths', async () => {
  const rig = new Rig();
  const refused = async (path: string, headers: Record<string, string>, code: string) => {
    const accept = () => assert.fail('it must not be accepted');
    const asked = rig.socket.handle({ path, headers, remote: '127.0.0.1', accept });
    await assert.rejects(asked, (error: GatewayError) => error.code === code);
  };
  const host = '127.0.0.1:8000';
  await refused('/v1/responses', { host, origin: 'https://evil.example' }, 'forbidden');
  await refused(
    '/v1/responses',
    { host: 'evil.example', origin: 'http://evil.example' },
    'forbidden',
  );
  await refused('/v1/other', { host }, 'not_found');
  const own = connect(rig, { host, origin: `http://${host}` });
  assert.equal((await own.turn({ ...CREATE, input: 'one' })).status, 'completed');
});

type Client = ReturnType<typeof connect>;

/** A client that sends a message and reads until it is answered. */
function connect(rig: Rig, headers: Record<string, string> = {}) {
  const leaving = new AbortController();
  const got: Json[] = [];
  const waiting: string[] = [];
  let wake = () => {};
  const socket: MessageSocket = {
    async *messages() {
      while (!leaving.signal.aborted) {
        const next = waiting.shift();
        if (next !== undefined) yield next;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    send: (text) => void got.push(JSON.parse(text) as Json),
    close: () => leaving.abort(),
    signal: leaving.signal,
  };
  const path = '/v1/responses';
  const over = rig.socket.handle({
    path,
    headers,
    remote: '127.0.0.1',
    accept: async () => socket,
  });
  const deliver = async (text: string) => {
    waiting.push(text);
    wake();
  };
  const send = async (text: string): Promise<Json> => {
    const before = got.length;
    await deliver(text);
    const ends = ['response.completed', 'response.failed', 'error'];
    const end = () => got.slice(before).find(({ type }) => ends.includes(String(type)));
    await until(end);
    return end() ?? assert.fail();
  };
  return {
    got,
    over,
    deliver,
    send,
    /** The response, or the refusal. */
    turn: async (message: Json) => {
      const event = await send(JSON.stringify(message));
      return (event.response ?? event) as Json;
    },
    leave: () => {
      leaving.abort();
      wake();
    },
  };
}
