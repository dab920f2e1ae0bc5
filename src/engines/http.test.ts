/** Over real sockets on loopback: whatever an engine does wrong is one of our own errors. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { halfOpenProxy } from '../../test/half-open-proxy.ts';
import { GatewayError } from '../model/error.ts';
import { EngineHttp, type EngineTrust } from './http.ts';

test('an engine’s refusal is the client’s to know, its failure is not', async (t) => {
  const answers: [number, string, string, RegExp][] = [
    [
      400,
      '{"error":{"message":"max_tokens is wrong"}}',
      'invalid_request',
      /^max_tokens is wrong$/,
    ],
    [
      400,
      '{"error":{"message":"too long","code":"context_length_exceeded"}}',
      'context_length_exceeded',
      /too long/,
    ],
    [403, '{"error":{"message":"no"}}', 'forbidden', /no/],
    [404, '<html>not here</html>', 'engine_denied', /gave no reason/],
    [429, '{"error":null}', 'queue_full', /busy/],
    [503, 'null', 'queue_full', /busy/],
    [500, '"a string"', 'engine_failed', /failed/],
  ];
  for (const [status, body, code, sentence] of answers) {
    const { http } = await serve(t, (_request, response) => response.writeHead(status).end(body));
    await assert.rejects(http.json('GET', '/x'), is(code, sentence));
    await assert.rejects(take(http, new AbortController().signal).done, is(code, sentence));
  }
});

test('what came before a connection broke off is handed on, then the engine counts as lost', async (t) => {
  const { http } = await serve(t, (_request, response) => {
    response
      .writeHead(200)
      .write('data: 1\n\ndata: 2\n\ndata: unfinished', () =>
        setImmediate(() => response.destroy()),
      );
  });
  const { taken, done } = take(http, new AbortController().signal);
  await assert.rejects(done, is('engine_lost'));
  assert.deepEqual(taken, ['1', '2']);
});

test('nobody there, an answer that is no JSON, and silence: all lost', async (t) => {
  const nobody = await serve(t, () => {});
  await nobody.close();
  await assert.rejects(nobody.http.json('GET', '/x'), is('engine_lost'));
  const { http } = await serve(t, (_request, response) => response.end('{"half": '));
  await assert.rejects(http.json('GET', '/x'), is('engine_lost'));
  const silent = await serve(t, (_request, response) =>
    response.writeHead(200).write('data: 1\n\n'),
  );
  const { taken, done } = take(silent.http, new AbortController().signal);
  await assert.rejects(done, is('engine_lost'));
  assert.deepEqual(taken, ['1']);
});

test('a certificate that is over, unknown or for another name is named with its mend', async (t) => {
  const file = (name: string) => readFileSync(`test/fixtures/tls/${name}`, 'utf8');
  const ca = file('authority.crt');
  const refused = async (name: string, trust: EngineTrust | undefined, sentence: RegExp) => {
    const cert = { key: file(`${name}.key`), cert: file(`${name}.crt`) };
    const http = await serveTls(t, cert, trust);
    await assert.rejects(http.json('GET', '/health'), is('engine_lost', sentence));
    const { done } = take(http, new AbortController().signal);
    await assert.rejects(done, is('engine_lost', sentence));
  };
  const named = (serverName: string) => ({ ca, serverName });
  await refused(
    'expired',
    { ca: file('expired.crt'), serverName: 'localhost' },
    /has expired; renew/,
  );
  await refused('server', undefined, /nobody who is trusted here \([A-Z_]+\); name .* with ca:/);
  await refused('server', named('else.internal'), /for another name; .* serverName:/);

  const cert = { key: file('server.key'), cert: file('server.crt') };
  const http = await serveTls(t, cert, named('llm.internal'));
  assert.deepEqual(await http.json('GET', '/health'), { well: true });
});

test('a proxy that holds all events back until the end loses none', async (t) => {
  const events = Array.from({ length: 500 }, (_, i) => `data: ${i}\n\n`);
  const { http } = await serve(t, (_request, response) => response.end(events.join('')));
  const { taken, done } = take(http, new AbortController().signal);
  await done;
  assert.deepEqual(
    taken,
    Array.from({ length: 500 }, (_, i) => `${i}`),
  );
});

test('a connection that died without a word is given up after the silence, and the next one serves', async (t) => {
  const engine = await serve(t, (request, response) => {
    if (request.url === '/health') return void response.end('{"well":true}');
    response.writeHead(200).write('data: 1\n\n');
  });
  const proxy = await halfOpenProxy(t, engine.port);
  const http = httpAt(t, proxy.port);
  const { taken, done } = take(http, new AbortController().signal, () => proxy.forget());
  await assert.rejects(done, is('engine_lost'));
  assert.deepEqual(taken, ['1']);
  assert.deepEqual(await http.json('GET', '/health'), { well: true });
});

test('who leaves closes the engine’s connection, so that it can stop', async (t) => {
  let gone = () => {};
  const closed = new Promise<void>((resolve) => {
    gone = resolve;
  });
  const { http } = await serve(t, (_request, response) => {
    response.writeHead(200).write('data: 1\n\n');
    response.on('close', gone);
  });
  const leaving = new AbortController();
  const { done } = take(http, leaving.signal, () => leaving.abort());
  await assert.rejects(done, is('engine_lost'));
  await closed;
});

async function serveTls(
  t: TestContext,
  certificate: { key: string; cert: string },
  trust: EngineTrust | undefined,
): Promise<EngineHttp> {
  const server = createTlsServer(certificate, (_, response) => response.end('{"well":true}'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `https://127.0.0.1:${port}`;
  const http = new EngineHttp({ url, silenceUsMax: 300_000, headers: {}, trust });
  t.after(() => {
    http.close();
    server.close();
    server.closeAllConnections();
  });
  return http;
}

async function serve(t: TestContext, on: RequestListener) {
  const server = createServer(on);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const http = httpAt(t, port);
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  t.after(close);
  return { http, port, close };
}

function httpAt(t: TestContext, port: number): EngineHttp {
  const url = `http://127.0.0.1:${port}`;
  const http = new EngineHttp({ url, silenceUsMax: 300_000, headers: {} });
  t.after(() => http.close());
  return http;
}

function take(http: EngineHttp, signal: AbortSignal, on: () => void = () => {}) {
  const taken: string[] = [];
  const done = (async () => {
    for await (const events of http.stream('/x', {}, signal)) {
      for (const { data } of events) taken.push(data);
      on();
    }
  })();
  return { taken, done };
}

function is(code: string, sentence = /./): (error: Error) => boolean {
  return (error) =>
    error instanceof GatewayError && error.code === code && sentence.test(error.message);
}
