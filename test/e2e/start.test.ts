import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Snapshot } from '../../src/gateway/state.ts';
import type { Receipt } from '../../src/model/receipt.ts';
import {
  assertCleanEnd,
  call,
  get,
  openStream,
  type Streamed,
  streamChat,
  streamMessages,
} from './client.ts';
import { isAlive, SMALL, type Stack, startUp } from './stack.ts';

/** Reuse is counted in whole blocks. */
const BLOCK_TOKENS = 16;
const LONG = 'Tell me what the other king said about the long way home, and why. '.repeat(30);

let stack: Stack;
before(async () => {
  stack = await startUp(SMALL);
});

test('a fresh start answers on every route that says how it is', async () => {
  const { url } = stack;
  assert.deepEqual((await get(`${url}/health`)).body, { status: 'ok' });
  assert.deepEqual((await get(`${url}/live`)).body, { live: true });
  assert.deepEqual((await get(`${url}/ready`)).body, { ready: true });
  const { version } = (await get<{ version: string }>(`${url}/version`)).body;
  assert.match(version, /^\d+\.\d+\.\d+/);
  for (const path of ['/', '/api/hello']) {
    const { status, text } = await call('HEAD', url + path);
    assert.deepEqual([status, text], [200, ''], `HEAD ${path}`);
  }
  assert.deepEqual((await get(`${url}/api/hello`)).body, { server: 'stator', version });
});

test('start and /v1/models both say that the demo model talks noise', async () => {
  type Model = { id: string; warning?: string; max_model_len: number };
  const { data } = (await get<{ data: Model[] }>(`${stack.url}/v1/models`)).body;
  assert.deepEqual(
    data.map(({ id }) => id),
    ['demo'],
  );
  assert.match(data[0].warning ?? '', /noise/);
  assert.equal(data[0].max_model_len, 8192);
  assert.match(stack.stdout, /demo model.*noise/);
  const one = await get<Model>(`${stack.url}/v1/models/demo`);
  assert.deepEqual(one.body, data[0]);
});

test('chat: the second turn finds the whole first prompt cached', async () => {
  const headers = { 'x-stator-session-id': 'two-turns-chat' };
  const question = { role: 'user', content: LONG };
  const first = await streamChat(stack.url, { messages: [question] }, { headers });
  assertCleanEnd(first);
  assert.notEqual(first.text, '');
  const messages = [
    question,
    { role: 'assistant', content: first.text },
    { role: 'user', content: 'And then?' },
  ];
  const second = await streamChat(stack.url, { messages }, { headers });
  await assertReused(first, second);
  assert.equal(second.headers['x-stator-session'], 'two-turns-chat');
});

test('messages: the second turn finds the whole first prompt cached', async () => {
  const headers = { 'x-stator-session-id': 'two-turns-messages' };
  const question = { role: 'user', content: `${LONG} In other words?` };
  const first = await streamMessages(stack.url, { messages: [question] }, { headers });
  assertCleanEnd(first);
  const messages = [
    question,
    { role: 'assistant', content: [{ type: 'text', text: first.text }] },
    { role: 'user', content: [{ type: 'text', text: 'And then?' }] },
  ];
  const second = await streamMessages(stack.url, { messages }, { headers });
  await assertReused(first, second);
});

async function assertReused(first: Streamed, second: Streamed): Promise<void> {
  assertCleanEnd(second);
  assert.notEqual(second.text, '');
  const { promptTokens = 0 } = first;
  const { cachedTokens = 0 } = second;
  assert.ok(promptTokens > 20 * BLOCK_TOKENS, `a prompt of ${promptTokens} tokens`);
  assert.ok(
    cachedTokens >= promptTokens - BLOCK_TOKENS,
    `${cachedTokens} of ${promptTokens} tokens of the first prompt were cached`,
  );
  assert.equal(second.headers['x-stator-worker'], first.headers['x-stator-worker']);
  const receipt = await receiptOf(second);
  assert.equal(receipt.promptTokens, second.promptTokens);
  assert.equal(receipt.actual.cachedTokens, cachedTokens);
  const { predicted } = receipt;
  assert.ok(predicted !== null);
  assert.ok(
    Math.abs(predicted.cachedTokens - cachedTokens) <= BLOCK_TOKENS,
    `predicted ${predicted.cachedTokens}, were ${cachedTokens}`,
  );
}

async function receiptOf(answer: Streamed): Promise<Receipt> {
  const id = answer.headers['x-stator-receipt'];
  const { status, body } = await get<Receipt>(`${stack.url}/stator/v1/receipts/${id}`);
  assert.equal(status, 200);
  return body;
}

test('a receipt says what was predicted, what each worker would have cost, and what came', async () => {
  const messages = [{ role: 'user', content: 'What does this cost?' }];
  const answer = await streamChat(stack.url, { messages });
  const receipt = await receiptOf(answer);
  assert.equal(receipt.attempts.length, 1);
  const [{ candidates, worker }] = receipt.attempts;
  assert.equal(candidates.length, 2);
  for (const { terms, totalUs } of candidates) {
    const sum = Object.values(terms).reduce((a, b) => a + b, 0);
    assert.equal(sum, totalUs, 'the terms add up');
  }
  assert.equal(receipt.worker, worker);
  assert.equal(answer.headers['x-stator-worker'], worker);
  const cheapest = Math.min(...candidates.map(({ totalUs }) => totalUs));
  assert.equal(candidates.find((one) => one.worker === worker)?.totalUs, cheapest);
  const { status, outputTokens, ttftUs, e2eUs } = receipt.actual;
  assert.equal(status, 'done');
  assert.equal(outputTokens, answer.outputTokens);
  assert.ok((ttftUs ?? 0) > 0 && (ttftUs ?? 0) <= (e2eUs ?? 0));
});

test('a request id is echoed, and the answer that is not streamed is the same', async () => {
  const body = {
    model: 'demo',
    messages: [{ role: 'user', content: 'Say it twice.' }],
    temperature: 0,
  };
  type Whole = {
    choices: { message: { content: string } }[];
    usage: { completion_tokens: number };
  };
  const whole = await call<Whole>('POST', `${stack.url}/v1/chat/completions`, {
    body,
    headers: { 'x-request-id': 'twice-1' },
  });
  assert.equal(whole.headers.get('x-request-id'), 'twice-1');
  const { choices, usage } = whole.body;
  // The demo's answers take a length between these.
  assert.ok(usage.completion_tokens >= 20 && usage.completion_tokens <= 81);
  assert.notEqual(choices[0].message.content, '');
  const streamed = await streamChat(stack.url, body);
  assert.equal(streamed.outputTokens, usage.completion_tokens);
});

test('the page comes with a policy that lets nothing else in, and its news', async () => {
  const page = await get(`${stack.url}/`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-type') ?? '', /^text\/html/);
  assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'self'/);
  const sources = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path);
  assert.ok(sources.length >= 2, 'it has a script and a style');
  for (const source of sources) {
    const { href, origin } = new URL(source, stack.url);
    if (href.startsWith('data:')) continue;
    assert.equal(origin, stack.url, 'nothing is loaded from elsewhere');
    assert.equal((await get(href)).status, 200, source);
  }
  const snapshot = await stack.snapshot();
  assert.deepEqual(snapshot.workers.map(({ mode }) => mode).sort(), ['exact', 'exact']);
  const stream = await openStream(`${stack.url}/stator/v1/events`, undefined);
  assert.equal(stream.headers['content-type'], 'text/event-stream');
  const { value } = await stream.events.next();
  stream.destroy();
  assert.equal(value.event, 'snapshot');
  const told = JSON.parse(value.data) as Snapshot;
  assert.deepEqual(Object.keys(told), Object.keys(snapshot));
});

test('metrics count what was served', async () => {
  const { text } = await get(`${stack.url}/metrics`);
  assert.match(text, /^stator_requests_total\{[^}]*wire="openai-chat"[^}]*\} [1-9]/m);
  assert.match(text, /^stator_requests_total\{[^}]*wire="anthropic-messages"[^}]*\} 2$/m);
  assert.match(text, /^stator_cached_tokens_total\{[^}]*\} [1-9]/m);
});

test('up ends when it is told to, and takes its workers along', async () => {
  const pids = [...(await stack.cards()).values()].map(({ pid }) => pid);
  assert.equal(await stack.stop(), 0);
  assert.deepEqual(pids.filter(isAlive), []);
});
