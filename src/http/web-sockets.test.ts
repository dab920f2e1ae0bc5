/** Over real sockets on loopback. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { WebSocket } from 'ws';
import { GatewayError } from '../model/error.ts';
import { replyJson } from './call.ts';
import { jsonBody } from './json-body.ts';
import type { MessageSocket } from './message-socket.ts';
import { type Route, router } from './router.ts';
import { type HttpLimits, HttpServer } from './server.ts';
import { type SocketHandler, type SocketLimits, WebSockets } from './web-sockets.ts';

const HTTP: HttpLimits = {
  bodyBytesMax: 100_000,
  bodiesBytesMax: 250_000,
  readerUsMax: 60_000_000,
  headersUsMax: 60_000_000,
  bodyUsMax: 60_000_000,
  shutdownUsMax: 60_000_000,
};

const LIMITS: SocketLimits = {
  socketsMax: 3,
  messageBytesMax: 10_000,
  messagesMax: 4,
  waitingBytesMax: 15_000,
  pingUs: 60_000_000,
};

const servers: HttpServer[] = [];
const clients: WebSocket[] = [];
after(async () => {
  for (const client of clients) client.terminate();
  await Promise.all(servers.map((server) => server.close()));
});

const echo: SocketHandler = async ({ accept }) => {
  const socket = await accept();
  for await (const text of socket.messages()) await socket.send(text);
};

test('messages come in order, whole, and as often as they were sent', async () => {
  const { port } = await serve(echo);
  const client = await open(port);
  const sent = ['', 'é😀', 'x'.repeat(9_000)];
  for (const text of sent) client.ws.send(text);
  await until(() => client.got.length === sent.length);
  assert.deepEqual(client.got, sent);
});

test('what is thrown before accepting is a status; an unknown protocol is plain HTTP', async () => {
  const { port } = await serve(async ({ path, headers, accept }) => {
    if (headers.authorization === undefined) throw new GatewayError('unauthorized', 'No key.');
    if (path !== '/yes') throw new GatewayError('not_found', 'Nothing here.');
    await accept();
  });
  assert.deepEqual(await refused(port, '/yes'), [401, 'unauthorized']);
  assert.deepEqual(await refused(port, '/no', { authorization: 'k' }), [404, 'not_found']);
  const client = await open(port, '/yes', { authorization: 'k' });
  await until(() => client.closed !== undefined);
  assert.equal(client.closed, 1000);
});

test('a client that asks for HTTP/2 in the clear is answered in HTTP/1.1, body and all', async () => {
  const { port } = await serve(echo, {
    'POST /echo': async (call) => replyJson(call.reply, 200, await jsonBody(call)),
  });
  const body = JSON.stringify({ text: 'é'.repeat(20_000) });
  const answer = await new Promise<string>((resolve, reject) => {
    const headers = {
      connection: 'Upgrade, HTTP2-Settings',
      upgrade: 'h2c',
      'http2-settings': 'AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA',
      'content-length': Buffer.byteLength(body),
    };
    const sent = request({ port, path: '/echo', method: 'POST', headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve(text));
    });
    sent.on('error', reject);
    sent.end(body);
  });
  assert.equal(answer, body);
});

test('bounded: sockets, bytes of a message, messages that wait', async () => {
  const { port, sockets } = await serve(async ({ accept }) => {
    const socket = await accept();
    for await (const _ of socket.messages()) await gone(socket);
  });
  const long = await open(port);
  long.ws.send('x'.repeat(LIMITS.messageBytesMax + 1));
  await until(() => long.closed !== undefined);
  assert.equal(long.closed, 1009);
  const many = await open(port);
  // One is being answered, and so many may wait.
  for (let i = 0; i < LIMITS.messagesMax + 2; i++) many.ws.send('x');
  await until(() => many.closed !== undefined);
  assert.equal(many.closed, 1008);
  const bytes = await open(port);
  bytes.ws.send(Buffer.from('bytes'));
  await until(() => bytes.closed !== undefined);
  assert.equal(bytes.closed, 1003);
  await until(() => sockets.size === 0);
  // Each may have as many, but not all at once; what goes makes room again.
  const [one, two] = [await open(port), await open(port)];
  for (const client of [one, two]) {
    client.ws.send('x');
    client.ws.send('x'.repeat(9_000));
  }
  await until(() => one.closed !== undefined || two.closed !== undefined);
  assert.deepEqual([one.closed, two.closed].sort(), [1013, undefined]);
  one.ws.terminate();
  two.ws.terminate();
  await until(() => sockets.size === 0);
  for (let i = 0; i < LIMITS.socketsMax; i++) await open(port);
  assert.deepEqual(await refused(port, '/'), [426, 'no_sockets']);
});

test('a client that goes aborts its signal; one that answers no ping is taken for gone', async () => {
  const seen: MessageSocket[] = [];
  const handler: SocketHandler = async ({ accept }) => {
    const socket = await accept();
    seen.push(socket);
    await gone(socket);
  };
  const { port } = await serve(handler, {}, { ...LIMITS, pingUs: 20_000 });
  const leaving = await open(port);
  leaving.ws.terminate();
  await until(() => seen[0]?.signal.aborted);
  const answering = await open(port);
  const silent = await rawSocket(port);
  await until(() => seen[2]?.signal.aborted);
  assert.equal(seen[1].signal.aborted, false);
  assert.equal(answering.closed, undefined);
  silent.destroy();
});

test('parts of messages count as they come, and whoever does not end one is gone', async () => {
  const seen: MessageSocket[] = [];
  const handler: SocketHandler = async ({ accept }) => {
    const socket = await accept();
    seen.push(socket);
    for await (const text of socket.messages()) await socket.send(text);
  };
  const { port, sockets } = await serve(handler);
  // Announced as one piece of 9,000 bytes, and never whole.
  const part = Buffer.concat([frameHead(0x01, 9_000), Buffer.alloc(8_000)]);
  const first = await rawSocket(port);
  first.write(part);
  const second = await rawSocket(port);
  await until(() => seen.length === 2);
  second.write(part);
  await until(() => sockets.size === 1);
  for (const one of [first, second]) one.destroy();
  await until(() => sockets.size === 0);
  // What left makes room again, and pings are no part of a message however many there are.
  const whole = await rawSocket(port);
  let pongs = 0;
  whole.on('data', (chunk) => (pongs += chunk.length));
  const ping = Buffer.concat([frameHead(0x89, 100), Buffer.alloc(100)]);
  for (let i = 1; i <= 8; i++) {
    whole.write(Buffer.concat(Array.from({ length: 25 }, () => ping)));
    await until(() => pongs === i * 25 * 102);
  }
  assert.equal(sockets.size, 1);
  whole.destroy();
  const { port: other } = await serve(handler, {}, { ...LIMITS, pingUs: 20_000 });
  const slow = await open(other);
  const answering = await open(other);
  slow.ws.send('begun', { fin: false });
  await until(() => slow.closed !== undefined);
  assert.equal(answering.closed, undefined);
});

test('a slow reader holds its writer', async () => {
  let sent = 0;
  const { port } = await serve(async ({ accept }) => {
    const socket = await accept();
    const piece = 'x'.repeat(10_000);
    while (sent < 5_000 && !socket.signal.aborted) {
      await socket.send(piece);
      sent++;
    }
  });
  const reader = await rawSocket(port);
  reader.pause();
  // The system's buffers take some megabytes, and then nothing more.
  let before = -1;
  await until(() => {
    const isHeld = sent > 0 && sent === before;
    before = sent;
    return isHeld;
  }, 200);
  assert.ok(sent < 5_000, `${sent} pieces went out to nobody`);
  reader.resume();
  await until(() => sent === 5_000);
  reader.destroy();
});

test('close() lets an answer end, tells idle clients, and takes no more', async () => {
  let finish = () => {};
  const { port, server } = await serve(async ({ accept }) => {
    const socket = await accept();
    for await (const text of socket.messages()) {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      await socket.send(text);
    }
  });
  const idle = await open(port);
  const busy = await open(port);
  busy.ws.send('last');
  await until(() => finish.length === 1);
  const closed = server.close();
  await until(() => idle.closed !== undefined);
  assert.equal(idle.closed, 1001);
  assert.deepEqual([busy.got, busy.closed], [[], undefined]);
  finish();
  await closed;
  await until(() => busy.closed !== undefined);
  assert.deepEqual([busy.got, busy.closed], [['last'], 1001]);
});

interface Client {
  ws: WebSocket;
  got: string[];
  closed: number | undefined;
}

async function open(
  port: number,
  path = '/',
  headers: Record<string, string> = {},
): Promise<Client> {
  const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers });
  clients.push(ws);
  const client: Client = { ws, got: [], closed: undefined };
  ws.on('message', (data) => client.got.push(String(data)));
  ws.on('close', (code) => {
    client.closed = code;
  });
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject));
  return client;
}

function refused(
  port: number,
  path: string,
  headers: Record<string, string> = {},
): Promise<[number | undefined, string]> {
  const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers });
  return new Promise((resolve) => {
    ws.on('error', () => {});
    ws.on('unexpected-response', (_, response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve([response.statusCode, JSON.parse(text).error.code]));
    });
  });
}

/** Speaks only as much as it must to be accepted. */
function rawSocket(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.write(
    'GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n' +
      'sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  );
  return new Promise((resolve) => socket.once('data', () => resolve(socket)));
}

/** Of a client's frame, masked with zeros: `first` holds the final bit and the opcode. */
function frameHead(first: number, length: number): Buffer {
  const long = length > 125 ? [0xfe, length >> 8, length & 0xff] : [0x80 | length];
  return Buffer.from([first, ...long, 0, 0, 0, 0]);
}

function gone(socket: MessageSocket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.signal.aborted) resolve();
    socket.signal.addEventListener('abort', () => resolve());
  });
}

async function serve(
  handler: SocketHandler,
  routes: Record<string, Route> = {},
  limits = LIMITS,
): Promise<{ port: number; server: HttpServer; sockets: WebSockets }> {
  const sockets = new WebSockets(handler, limits);
  const server = new HttpServer(router(new Map(Object.entries(routes))), HTTP, sockets);
  servers.push(server);
  return { port: await server.listen('127.0.0.1', 0), server, sockets };
}

async function until(condition: () => unknown, everyMs = 5): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, everyMs));
}
