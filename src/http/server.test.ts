/** Over real sockets on loopback: what a client can do wrong must cost nobody else anything. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { after, test } from 'node:test';
import { GatewayError } from '../model/error.ts';
import { type Call, replyJson } from './call.ts';
import { jsonBody } from './json-body.ts';
import { type Route, router } from './router.ts';
import { type HttpLimits, HttpServer } from './server.ts';

const LIMITS: HttpLimits = {
  bodyBytesMax: 100_000,
  bodiesBytesMax: 250_000,
  readerUsMax: 60_000_000,
  headersUsMax: 100_000,
  bodyUsMax: 100_000,
  shutdownUsMax: 60_000_000,
};

const ECHO: Record<string, Route> = {
  'POST /echo': async (call) => replyJson(call.reply, 200, await jsonBody(call)),
};

const servers: HttpServer[] = [];
after(() => Promise.all(servers.map((server) => server.close())));

test('a body over the limit is refused, announced or not, and the next request is answered', async () => {
  const port = await serve(ECHO);
  const body = Buffer.alloc(5_000_000, 0x20);
  const framings: Record<string, string | number>[] = [
    { 'content-length': body.length },
    { 'transfer-encoding': 'chunked' },
  ];
  for (const headers of framings) {
    const refused = await ask(port, { method: 'POST', path: '/echo', headers, body });
    assert.equal(refused.status, 413);
    assert.equal(errorOf(refused).code, 'body_too_large');
    assert.match(errorOf(refused).message, /larger than 100000 bytes/);
    assert.equal(refused.headers.connection, 'close');
    const next = await ask(port, { method: 'POST', path: '/echo', body: Buffer.from('{"a":1}') });
    assert.deepEqual([next.status, next.text], [200, '{"a":1}']);
  }
});

test('a body of exactly the limit is taken', async () => {
  const port = await serve(ECHO);
  const body = Buffer.from(`"${'x'.repeat(LIMITS.bodyBytesMax - 2)}"`);
  assert.equal((await ask(port, { method: 'POST', path: '/echo', body })).status, 200);
});

test('what is no JSON, or no UTF-8, is one sentence that quotes nothing', async () => {
  const port = await serve(ECHO);
  const bodies = ['{"secret', '', 'secret', '{"a":1}}'].map((text) => Buffer.from(text));
  bodies.push(Buffer.from([0x22, 0xff, 0xfe, 0x22]), Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]));
  for (const body of bodies) {
    const reply = await ask(port, { method: 'POST', path: '/echo', body });
    assert.equal(reply.status, 400);
    assert.deepEqual(errorOf(reply), {
      message: 'The body is not valid JSON in UTF-8.',
      type: 'invalid_request_error',
      param: null,
      code: 'invalid_json',
    });
  }
  const marked = Buffer.from('\ufeff{"a":"é😀"}');
  assert.equal(
    (await ask(port, { method: 'POST', path: '/echo', body: marked })).text,
    '{"a":"é😀"}',
  );
});

test('a client that is slow to send is told so, and one that leaves in mid-body is no error of ours', async () => {
  let calls = 0;
  const thrown: unknown[] = [];
  const port = await serve({
    'POST /echo': async (call) => {
      calls++;
      await jsonBody(call).catch((error: unknown) => {
        thrown.push(error);
        throw error;
      });
    },
  });
  const half = 'POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"a"';
  assert.match(await raw(port, half), /^HTTP\/1\.1 408 .*"code":"request_timeout"\}\}$/s);
  assert.match(await raw(port, 'GET / HTTP/1.1\r\nhost'), /^HTTP\/1\.1 408 .*retry-after: 1\r\n/s);
  const socket = connect(port, '127.0.0.1');
  socket.write(half);
  await until(() => calls === 2);
  socket.destroy();
  await until(() => thrown.length === 2);
  for (const error of thrown) {
    assert.ok(error instanceof GatewayError, String(error));
    assert.equal(error.code, 'client_closed');
  }
});

test('a client that leaves while it is answered aborts the call, one that reads to the end does not', async () => {
  const calls: Call[] = [];
  const port = await serve({
    'GET /stream': async (call) => {
      calls.push(call);
      call.reply.head(200, {});
      await call.reply.write('first');
      if (call.query.get('end') === '1') return call.reply.end('last');
      while (!call.signal.aborted) await call.reply.write('x'.repeat(10_000));
    },
  });
  assert.equal((await ask(port, { path: '/stream?end=1' })).text, 'firstlast');
  const client = request({ port, path: '/stream' });
  client.on('error', () => {});
  client.on('response', (response) => response.once('data', () => client.destroy()));
  client.end();
  await until(() => calls.length === 2 && calls[1].signal.aborted);
  assert.equal(calls[0].signal.aborted, false);
});

test('one connection serves one request after the other', async () => {
  const sockets = new Set<string>();
  const port = await serve({
    'GET /who': (call) => replyJson(call.reply, 200, {}),
    'POST /echo': ECHO['POST /echo'],
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  for (const [method, path, body] of [
    ['GET', '/who', undefined],
    ['POST', '/echo', '{'],
    ['GET', '/nowhere', undefined],
    ['POST', '/echo', '{}'],
  ] as const) {
    const bytes = body === undefined ? undefined : Buffer.from(body);
    const reply = await ask(port, { method, path, body: bytes, agent });
    sockets.add(reply.localPort);
  }
  agent.destroy();
  assert.equal(sockets.size, 1);
});

test('no request line can stop the server', async () => {
  const port = await serve(ECHO);
  for (const target of [
    '//',
    '//a/b',
    'http://[',
    '*',
    '/%',
    '/\\',
    'ftp://x/y',
    '/?%',
    '/..//..',
  ]) {
    const method = target === '*' ? 'OPTIONS' : 'GET';
    const answer = await raw(
      port,
      `${method} ${target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 404 .*There is nothing at /s, target);
  }
  const whole = 'POST http://elsewhere/echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n';
  assert.match(await raw(port, `${whole}content-length: 2\r\n\r\n{}`), /^HTTP\/1\.1 200 /);
  assert.match(await raw(port, 'hello\r\n\r\n'), /^HTTP\/1\.1 400 .*"code":"invalid_request"/s);
  const long = `GET / HTTP/1.1\r\nhost: x\r\nlong: ${'x'.repeat(20_000)}\r\n\r\n`;
  assert.match(await raw(port, long), /^HTTP\/1\.1 431 .*The headers are longer/s);
});

test('x-request-id is echoed where it is a name and replaced where it is not, on every answer', async () => {
  const port = await serve(ECHO);
  const sent = ['req-1', 'a.b:c_d', 'x'.repeat(128), 'x'.repeat(129), 'two words', 'é', ''];
  for (const id of sent) {
    for (const path of ['/echo', '/nowhere']) {
      const headers = { 'x-request-id': Buffer.from(id).toString('latin1') };
      const reply = await ask(port, { method: 'POST', path, headers, body: Buffer.from('{}') });
      const got = reply.headers['x-request-id'];
      if (/^[\w.:-]{1,128}$/.test(id)) assert.equal(got, id);
      else assert.match(String(got), /^[\da-f-]{36}$/, id);
    }
  }
});

test('what a route throws is an error in words; what it did not foresee stays unnamed', async () => {
  const port = await serve({
    'GET /busy': () => {
      throw new GatewayError('queue_full', 'All engines are busy.', { retryAfterUs: 2_500_000 });
    },
    'GET /soon': () => {
      throw new GatewayError('no_worker', 'No engine is up.');
    },
    'GET /bug': () => {
      throw new Error('secret');
    },
    'GET /late': (call) => {
      call.reply.head(200, {});
      void call.reply.write('part');
      throw new Error('secret');
    },
  });
  const busy = await ask(port, { path: '/busy' });
  assert.deepEqual([busy.status, busy.headers['retry-after']], [503, '3']);
  assert.equal((await ask(port, { path: '/soon' })).headers['retry-after'], '1');
  const bug = await ask(port, { path: '/bug' });
  assert.deepEqual([bug.status, errorOf(bug).code], [500, 'internal']);
  assert.ok(!bug.text.includes('secret'));
  assert.equal((await ask(port, { path: '/late' })).text, 'part');
});

test('close() lets a running stream end, takes nothing new, and then is done', async () => {
  let finish = () => {};
  const server = new HttpServer(
    router(
      new Map<string, Route>([
        [
          'GET /stream',
          async ({ reply }) => {
            reply.head(200, {});
            await reply.write('first ');
            await new Promise<void>((resolve) => {
              finish = resolve;
            });
            reply.end('last');
          },
        ],
      ]),
    ),
    LIMITS,
  );
  const port = await server.listen('127.0.0.1', 0);
  const agent = new Agent({ keepAlive: true });
  const running = ask(port, { path: '/stream', agent });
  await until(() => finish.length === 1);
  let isClosed = false;
  const closed = server.close().then(() => {
    isClosed = true;
  });
  await assert.rejects(ask(port, { path: '/stream' }), /ECONNREFUSED/);
  assert.equal(isClosed, false);
  finish();
  assert.equal((await running).text, 'first last');
  await closed;
  agent.destroy();
});

test('close() breaks off what does not end in time', async () => {
  const server = new HttpServer(
    router(
      new Map<string, Route>([
        [
          'GET /stream',
          async ({ reply }) => {
            reply.head(200, {});
            await reply.write('first');
          },
        ],
      ]),
    ),
    { ...LIMITS, shutdownUsMax: 50_000 },
  );
  const port = await server.listen('127.0.0.1', 0);
  let started = false;
  const running = ask(port, { path: '/stream', onData: () => (started = true) });
  running.catch(() => {});
  await until(() => started);
  await server.close();
  await assert.rejects(running, /aborted/);
});

test('a client that reads nothing of a finished answer is let go', async () => {
  const bytes = 64 * 1024 * 1024;
  const routes: Record<string, Route> = {
    'GET /long': ({ reply }) => {
      reply.head(200, {});
      reply.end(Buffer.alloc(bytes));
    },
  };
  const limits = { ...LIMITS, readerUsMax: 50_000 };
  const server = new HttpServer(router(new Map(Object.entries(routes))), limits);
  const port = await server.listen('127.0.0.1', 0);
  let received = 0;
  const client = connect(port, '127.0.0.1').pause();
  client.on('data', ({ length }) => {
    received += length;
  });
  client.on('error', () => {});
  client.write('GET /long HTTP/1.1\r\nhost: x\r\n\r\n');
  await once(client, 'readable');
  await server.close();
  client.resume();
  await once(client, 'close');
  assert.ok(received < bytes, `${received}`);
});

test('a port that is taken rejects with the code of the system', async () => {
  const port = await serve(ECHO);
  const second = new HttpServer(router(new Map()), LIMITS);
  await assert.rejects(second.listen('127.0.0.1', port), { code: 'EADDRINUSE' });
});

async function serve(routes: Record<string, Route>): Promise<number> {
  const server = new HttpServer(router(new Map(Object.entries(routes))), LIMITS);
  servers.push(server);
  return server.listen('127.0.0.1', 0);
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  localPort: string;
}

function ask(
  port: number,
  given: {
    method?: string;
    path: string;
    headers?: Record<string, string | number>;
    body?: Buffer;
    agent?: Agent;
    onData?: () => void;
  },
): Promise<Answer> {
  const { method = 'GET', path, headers, body, agent, onData } = given;
  return new Promise((resolve, reject) => {
    const client = request(
      { port, host: '127.0.0.1', method, path, headers, agent },
      (response) => {
        const localPort = String(response.socket.localPort);
        let text = '';
        response.setEncoding('utf8').on('data', (chunk) => {
          text += chunk;
          onData?.();
        });
        response.on('error', reject);
        response.on('end', () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, localPort });
        });
      },
    );
    // What the server did not read of a body it refused may fail to be sent.
    client.on('error', (error) => reject(error));
    client.end(body);
  });
}

/** Sends bytes as they are; resolves to all that came back when the connection is over. */
function raw(
  port: number,
  text: string,
  then: (socket: ReturnType<typeof connect>) => void = () => {},
) {
  return new Promise<string>((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(text, () => then(socket));
    });
    let answer = '';
    socket.setEncoding('utf8').on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer));
  });
}

function errorOf({ text }: Answer): {
  message: string;
  code: string;
  type: string;
  param: unknown;
} {
  return (JSON.parse(text) as { error: ReturnType<typeof errorOf> }).error;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
