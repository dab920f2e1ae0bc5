/** What a client sends wrongly: the right status, one clear sentence in its wire's shape, no harm. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { before, test } from 'node:test';
import { assertCleanEnd, call, post, type Reply, streamChat, streamMessages } from './client.ts';
import { isAlive, SMALL, type Stack, startUp, until, write } from './stack.ts';

const BODY_BYTES_MAX = 200_000;

let stack: Stack;
before(async () => {
  const config = write('limits.yaml', `limits:\n  bodyBytesMax: ${BODY_BYTES_MAX}\n`);
  stack = await startUp([...SMALL, '--context=2048', '-c', config]);
});

interface Wrong {
  status: number;
  /** The names both vendors' clients know this error by. */
  openai: string;
  anthropic: string;
  says: RegExp;
  param?: string;
}

const INVALID = {
  status: 400,
  openai: 'invalid_request_error',
  anthropic: 'invalid_request_error',
};

const user = (content: unknown) => [{ role: 'user', content }];

/** Each is sent over both wires, as part of an otherwise right body. */
const BODIES: Record<string, { body: Record<string, unknown>; wrong: Wrong }> = {
  'an unknown model': {
    body: { model: 'gpt-9' },
    wrong: {
      status: 404,
      openai: 'not_found_error',
      anthropic: 'not_found_error',
      says: /no model "gpt-9" here; served: "demo"/,
      param: 'model',
    },
  },
  'a model that is no string': {
    body: { model: 7 },
    wrong: { ...INVALID, says: /^model must be a string/, param: 'model' },
  },
  'a wrong role': {
    body: { messages: [{ role: 'wizard', content: 'hi' }] },
    wrong: { ...INVALID, says: /^messages\[0\]\.role must be .* "wizard"/ },
  },
  'no messages': {
    body: { messages: [] },
    wrong: { ...INVALID, says: /^messages must hold at least one message/ },
  },
  'messages that are no list': {
    body: { messages: 'hi' },
    wrong: { ...INVALID, says: /^messages must be a list/ },
  },
  'a message that is null': {
    body: { messages: [null] },
    wrong: { ...INVALID, says: /^messages\[0\] must be an object/ },
  },
  'content of an unknown kind': {
    body: { messages: user([{ type: 'hologram' }]) },
    wrong: { ...INVALID, says: /^messages\[0\]\.content\[0\]\.type / },
  },
  'max_tokens 0': {
    body: { max_tokens: 0 },
    wrong: { ...INVALID, says: /^max_tokens must be at least 1, but is 0/, param: 'max_tokens' },
  },
  'max_tokens below 0': {
    body: { max_tokens: -5 },
    wrong: { ...INVALID, says: /^max_tokens must be at least 1, but is -5/, param: 'max_tokens' },
  },
  'a temperature out of range': {
    body: { temperature: 3 },
    wrong: { ...INVALID, says: /^temperature must be between 0 and \d/, param: 'temperature' },
  },
  'a temperature that is no number': {
    body: { temperature: 'hot' },
    wrong: { ...INVALID, says: /^temperature must be a number/, param: 'temperature' },
  },
  'a prompt over the context': {
    body: { messages: user('one two three four '.repeat(2500)) },
    wrong: { ...INVALID, says: /context is 2048 tokens, but the prompt has \d+/ },
  },
  'forced output where it was not allowed': {
    body: { nvext: { forced_output: 'say this' } },
    wrong: {
      status: 403,
      openai: 'permission_error',
      anthropic: 'permission_error',
      says: /--allow-forced-output/,
    },
  },
};

for (const [what, { body, wrong }] of Object.entries(BODIES)) {
  test(`${what} is refused on both wires, streamed or not`, async () => {
    const right = { model: 'demo', max_tokens: 20, messages: user('hi') };
    for (const stream of [false, true]) {
      const sent = { ...right, ...body, stream };
      assertOpenai(await post(`${stack.url}/v1/chat/completions`, sent), wrong);
      assertAnthropic(await post(`${stack.url}/v1/messages`, sent), wrong);
    }
    await assertServes();
  });
}

test('/v1/messages without max_tokens is refused, as its API says', async () => {
  const sent = { model: 'demo', messages: user('hi') };
  const wrong = { ...INVALID, says: /^max_tokens is required/ };
  assertAnthropic(await post(`${stack.url}/v1/messages`, sent), wrong);
  await assertServes();
});

test('a body that is no JSON, no UTF-8 or nothing at all is refused', async () => {
  const wrong = { ...INVALID, says: /not valid JSON/ };
  for (const body of ['{"model": "demo", ', 'hello', '', '\u0000']) {
    assertOpenai(await post(`${stack.url}/v1/chat/completions`, body), wrong);
    assertAnthropic(await post(`${stack.url}/v1/messages`, body), wrong);
  }
  for (const body of ['null', '[]', '"text"']) {
    const object = { ...INVALID, says: /^the body must be an object/ };
    assertOpenai(await post(`${stack.url}/v1/chat/completions`, body), object);
    assertAnthropic(await post(`${stack.url}/v1/messages`, body), object);
  }
  await assertServes();
});

test('a body over the limit is refused before it is read', async () => {
  const large = { status: 413, openai: 'invalid_request_error', anthropic: 'request_too_large' };
  const wrong = { ...large, says: new RegExp(`larger than ${BODY_BYTES_MAX} bytes`) };
  const sent = { model: 'demo', max_tokens: 5, messages: user('x'.repeat(BODY_BYTES_MAX)) };
  assertOpenai(await post(`${stack.url}/v1/chat/completions`, sent), wrong);
  assertAnthropic(await post(`${stack.url}/v1/messages`, sent), wrong);
  await assertServes();
});

test('a body over the limit whose length was not announced is refused too', async () => {
  const chunk = 'x'.repeat(50_000);
  const head =
    'POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n';
  const chunks = `${chunk.length.toString(16)}\r\n${chunk}\r\n`.repeat(6);
  const said = await raw(`${head}${chunks}0\r\n\r\n`);
  assert.match(said, /^HTTP\/1\.1 413 /);
  assert.match(said, /request_too_large/);
  await assertServes();
});

test('an unknown path and a wrong method are named', async () => {
  const missing = {
    ...INVALID,
    status: 404,
    openai: 'not_found_error',
    says: /nothing at \/v1\/n/,
  };
  assertOpenai(await post(`${stack.url}/v1/nothing`, {}), missing);
  const wrong = { ...INVALID, status: 405, says: /^\/v1\/chat\/completions answers POST only/ };
  assertOpenai(await call('GET', `${stack.url}/v1/chat/completions`), wrong);
  assertOpenai(await call('PUT', `${stack.url}/v1/chat/completions`, { body: {} }), wrong);
  const { status, body } = await call('DELETE', `${stack.url}/health`);
  assert.equal(status, 405, JSON.stringify(body));
  await assertServes();
});

test('an unknown path and a wrong method below /v1/messages come in its shape', async () => {
  const missing = { ...INVALID, status: 404, anthropic: 'not_found_error', says: /nothing at / };
  assertAnthropic(await post(`${stack.url}/v1/messages/nothing`, {}), missing);
  const wrong = { ...INVALID, status: 405, says: /^\/v1\/messages answers POST only/ };
  assertAnthropic(await call('GET', `${stack.url}/v1/messages`), wrong);
  await assertServes();
});

test('a model name that is no text is no model', async () => {
  const reply = await call('GET', `${stack.url}/v1/models/%E0%A4%A`);
  assert.ok(reply.status === 400 || reply.status === 404, `answered ${reply.status}`);
});

test('requests that are hardly HTTP end themselves and nothing else', async () => {
  for (const line of ['GET //', 'GET http://[', 'GET /\\', 'OPTIONS *', 'GET ?', 'garbage']) {
    const said = await raw(`${line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`);
    assert.match(said, /^HTTP\/1\.1 [24]\d\d /, line);
  }
  await assertServes();
});

test('an id of a session that is too long is refused', async () => {
  const headers = { 'x-stator-session-id': 's'.repeat(4000) };
  const sent = { model: 'demo', messages: user('hi') };
  const reply = await post(`${stack.url}/v1/chat/completions`, sent, headers);
  assertOpenai(reply, { ...INVALID, says: /x-stator-session-id is longer/ });
  await assertServes();
});

test('after all this the gateway runs and knows of no error of its own', () => {
  assert.ok(isAlive(stack.pid));
  assert.doesNotMatch(stack.stderr, /internal error/);
});

function assertOpenai(reply: Reply<unknown>, wrong: Wrong): void {
  const { error } = reply.body as { error: Record<string, string | null> };
  assert.equal(reply.status, wrong.status, reply.text);
  assert.equal(error.type, wrong.openai);
  assertSentence(error.message, wrong.says);
  assert.equal(typeof error.code, 'string');
  if (wrong.param !== undefined) assert.equal(error.param, wrong.param);
  assert.notEqual(reply.headers.get('x-request-id'), null);
}

function assertAnthropic(reply: Reply<unknown>, wrong: Wrong): void {
  const body = reply.body as { type: string; error: { type: string; message: string } };
  assert.equal(reply.status, wrong.status, reply.text);
  assert.equal(body.type, 'error', reply.text);
  assert.equal(body.error.type, wrong.anthropic);
  assertSentence(body.error.message, wrong.says);
}

function assertSentence(message: string | null, says: RegExp): void {
  assert.match(message ?? '', says);
  assert.match(message ?? '', /^[^\n]+\.$/, 'one sentence');
  assert.doesNotMatch(message ?? '', /\bat .*:\d+|undefined|\[object/);
}

/** Nothing leaked, and the next request of either wire is served. */
async function assertServes(): Promise<void> {
  await until('nothing runs any more', () => stack.isIdle());
  const messages = user('Is anybody there?');
  assertCleanEnd(await streamChat(stack.url, { messages, max_tokens: 3 }));
  assertCleanEnd(await streamMessages(stack.url, { messages, max_tokens: 3 }));
}

/** Sends bytes as they are; resolves to what came until the server closed. */
function raw(bytes: string): Promise<string> {
  const { port } = new URL(stack.url);
  return new Promise((resolve, reject) => {
    let said = '';
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(bytes));
    socket.setEncoding('utf8').setTimeout(10_000, () => socket.destroy());
    socket.on('data', (text) => {
      said += text;
    });
    // A server that refuses need not read on: its answer may be followed by a reset.
    socket.on('close', () => resolve(said));
    socket.on('error', (error) => (said === '' ? reject(error) : resolve(said)));
  });
}
