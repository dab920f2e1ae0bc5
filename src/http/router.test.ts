/** Over real sockets: which route answers, and what is said where none does. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, test } from 'node:test';
import { GatewayError } from '../model/error.ts';
import { type Call, replyJson } from './call.ts';
import { errorHeaders, type Route, router } from './router.ts';
import { HttpServer } from './server.ts';

const servers: HttpServer[] = [];
after(() => Promise.all(servers.map((server) => server.close())));

test('an unknown path is named as far as that helps, and a wrong method with those that are right', async () => {
  const url = await serve({
    'GET /a': (call) => replyJson(call.reply, 200, {}),
    'POST /a': (call) => replyJson(call.reply, 200, {}),
    'GET /b/*': (call) => replyJson(call.reply, 200, call.path),
    'DELETE /b/*': (call) => replyJson(call.reply, 200, {}),
    'POST /c': (call) => replyJson(call.reply, 200, {}),
  });
  const nowhere = await fetch(`${url}/${'x'.repeat(5000)}`);
  assert.equal(nowhere.status, 404);
  assert.ok((await errorOf(nowhere)).message.length < 300);
  assert.equal(await (await fetch(`${url}/b/c%2Fd/e`)).text(), '"/b/c%2Fd/e"');
  assert.equal((await fetch(`${url}/b`)).status, 404);
  for (const [method, path, allow] of [
    ['DELETE', '/a', 'GET, HEAD, POST'],
    ['POST', '/b/c', 'GET, HEAD, DELETE'],
    ['OPTIONS', '/c', 'POST'],
  ]) {
    const wrong = await fetch(`${url}${path}?q=1`, { method });
    assert.deepEqual([wrong.status, wrong.headers.get('allow')], [405, allow]);
    assert.deepEqual(await errorOf(wrong), {
      message: `${path} answers ${allow} only.`,
      code: 'method_not_allowed',
    });
  }
  const head = await fetch(`${url}/c`, { method: 'HEAD' });
  assert.deepEqual([head.status, head.headers.get('allow')], [405, 'POST']);
});

test('whether a 5xx is to be tried again is said in the words that SDKs read', () => {
  const told = (error: GatewayError) => errorHeaders('r', error);
  assert.deepEqual(told(new GatewayError('engine_denied', 'No.')), {
    'x-request-id': 'r',
    'x-should-retry': 'false',
  });
  const busy = new GatewayError('queue_full', 'Later.', { retryAfterUs: 1_500_000 });
  assert.deepEqual(told(busy), { 'x-request-id': 'r', 'retry-after': '2' });
  assert.deepEqual(told(new GatewayError('not_found', 'Nothing.')), { 'x-request-id': 'r' });
});

test('HEAD is answered as GET without its body, unless it has a route of its own', async () => {
  const url = await serve({
    'HEAD /own': (call) => replyJson(call.reply, 200, { own: true }),
    'GET /own': (call) => replyJson(call.reply, 500, {}),
    'GET /a/*': (call) => replyJson(call.reply, 200, { path: call.path }, { etag: '"1"' }),
    'GET /gone': () => {
      throw new GatewayError('not_found', 'There is no such thing.');
    },
  });
  for (const path of ['/a/b', '/gone']) {
    const [head, whole] = await Promise.all([
      fetch(url + path, { method: 'HEAD' }),
      fetch(url + path),
    ]);
    assert.deepEqual([head.status, await head.text()], [whole.status, '']);
    assert.notEqual(await whole.text(), '');
    for (const name of ['content-type', 'content-length', 'etag']) {
      assert.equal(head.headers.get(name), whole.headers.get(name), name);
    }
  }
  const own = await fetch(`${url}/own`, { method: 'HEAD' });
  assert.deepEqual([own.status, own.headers.get('content-length')], [200, '12']);
});

test('HEAD of what streams for ever ends it, and its connection serves the next request', async () => {
  const streams: Call[] = [];
  let ended = 0;
  const url = await serve({
    'GET /next': (call) => replyJson(call.reply, 200, 'next'),
    'GET /events': async (call) => {
      streams.push(call);
      call.reply.head(200, { 'content-type': 'text/event-stream' });
      while (!call.signal.aborted) await call.reply.write('data: on and on\n\n');
      call.reply.end('data: last\n\n');
      ended++;
    },
    'GET /rows': async (call) => {
      call.reply.head(200, { 'content-type': 'application/x-ndjson' });
      for (let i = 0; i < 1000; i++) await call.reply.write('{"row": 1}\n');
      call.reply.end();
      ended++;
    },
  });
  const heads = ['/events', '/rows'].map((path) => `HEAD ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
  const last = 'GET /next HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n';
  const said = await exchange(Number(new URL(url).port), heads.join('') + last);
  const answers = said.split(/(?=HTTP\/1\.1 200 OK\r\n)/);
  assert.equal(answers.length, 3, said);
  for (const head of answers.slice(0, 2)) assert.equal(head.split('\r\n\r\n')[1], '', head);
  assert.match(answers[0], /content-type: text\/event-stream/i);
  assert.match(answers[2], /\r\n\r\n"next"$/);
  await until(() => ended === 2);
  assert.equal(streams[0].signal.aborted, true);
});

async function serve(routes: Record<string, Route>): Promise<string> {
  const server = new HttpServer(router(new Map(Object.entries(routes))), {
    ...{ bodyBytesMax: 1000, bodiesBytesMax: 1000, readerUsMax: 60_000_000 },
    ...{ headersUsMax: 60_000_000, bodyUsMax: 60_000_000, shutdownUsMax: 100_000 },
  });
  servers.push(server);
  return `http://127.0.0.1:${await server.listen('127.0.0.1', 0)}`;
}

async function errorOf(response: Response): Promise<{ message: string; code: string }> {
  const { error } = (await response.json()) as { error: { message: string; code: string } };
  return { message: error.message, code: error.code };
}

/** Sends all at once; resolves to what came back when the connection is over. */
function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    let said = '';
    socket.setEncoding('utf8').on('data', (chunk) => {
      said += chunk;
    });
    socket.on('error', reject).on('close', () => resolve(said));
  });
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
