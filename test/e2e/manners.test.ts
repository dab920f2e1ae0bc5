/** CONTRACT's "Waiting": whoever waits is refused at once, or told that it waits; nobody is cut off for it. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import {
  assertCleanEnd,
  type HeaderFields,
  type OpenStream,
  openStream,
  post,
  type Streamed,
  streamChat,
  streamMessages,
} from './client.ts';
import { begin, type EngineCall, FakeEngine, finish, serveBefore } from './fake-engine.ts';
import { type Stack, until } from './stack.ts';

const AGENTS = {
  opencode: { 'user-agent': 'opencode/1.18.33 ai-sdk/provider-utils/4.0.23 runtime/bun/1.3.14' },
  cline: { 'user-agent': 'ai-sdk/openai-compatible/3.0.37 ai-sdk/provider-utils/5.0.30' },
  langchain: { 'user-agent': 'langchainjs-openai/1.5.8 (node/22)' },
};
/** An SDK whose user has set a time limit of a second. */
const HASTY = { 'user-agent': 'OpenAI/JS 6.26.0', 'x-stainless-timeout': '1' };

/** One at a time: the first takes the engine, the others wait in the gateway. */
const ONE = { requestsPerSlotMax: 1, holdUs: 200_000, keepAliveUs: 150_000 };

/** Answers slowly, as it says itself: some ten seconds each. */
const slow = new FakeEngine({ slots: 1, stepUs: 50_000 });
/** Says it is quick, so that waits seem short. */
const quick = new FakeEngine({ slots: 1, stepUs: 1 });
let behindSlow: Stack;
let behindQuick: Stack;
before(async () => {
  await Promise.all([slow.start(), quick.start()]);
  [behindSlow, behindQuick] = await Promise.all([
    serveBefore(slow, ONE),
    serveBefore(quick, { ...ONE, streamQueueUsMax: 2_500_000, queueUsMax: 2_000_000 }),
  ]);
});

const asked = (content: string) => ({
  model: 'm',
  max_tokens: 50,
  messages: [{ role: 'user', content }],
});

// First of all, while the engine is still taken at its word.
test('who would have to wait for longer than it does is refused at once, and told when to come', async () => {
  const first = await occupied(behindSlow, slow);
  const patient = await openStream(
    `${behindSlow.url}/v1/chat/completions`,
    { ...asked('patient'), stream: true },
    AGENTS.opencode,
  );
  const cases: [string, HeaderFields, number, string][] = [
    ['/v1/chat/completions', HASTY, 503, 'overloaded_error'],
    ['/v1/messages', { ...HASTY, 'user-agent': 'Anthropic/JS 1.12.0' }, 529, 'overloaded_error'],
    ['/v1/chat/completions', { ...HASTY, ...AGENTS.langchain }, 429, 'overloaded_error'],
  ];
  for (const [path, headers, status, type] of cases) {
    for (const stream of [true, false]) {
      const refused = await post(behindSlow.url + path, { ...asked('hasty'), stream }, headers);
      assert.equal(refused.status, status, refused.text);
      const { error } = refused.body as { error: { type: string; message: string } };
      assert.equal(error.type, type);
      const seconds = Number(refused.headers.get('retry-after'));
      assert.ok(Number.isInteger(seconds) && seconds > 1, `${seconds}: what it really takes`);
      assert.match(
        error.message,
        new RegExp(`longer than you wait; come back in ${seconds} s\\.$`),
      );
    }
  }
  assert.equal((await behindSlow.snapshot()).waiting, 1, 'the patient one waits on');
  finish(first.call);
  assertCleanEnd(await first.answered);
  finish(await slow.call(first.index + 1));
  for await (const _ of patient.events);
  await until('nothing runs', () => isIdle(behindSlow));
});

test('a stream that waits is told so by events that mean nothing, then it is answered', async () => {
  const wires = [
    ['/v1/chat/completions', (data: string) => JSON.stringify(JSON.parse(data).choices) === '[]'],
    ['/v1/messages', (data: string) => data === '{"type":"ping"}'],
    ['/v1/responses', (data: string) => JSON.parse(data).type === 'response.in_progress'],
  ] as const;
  for (const [path, isNothing] of wires) {
    const first = await occupied(behindSlow, slow);
    const sent = { ...asked('second'), input: 'second', stream: true };
    const waiting = await openStream(behindSlow.url + path, sent, AGENTS.opencode);
    assert.equal(waiting.status, 200);
    assert.equal((await behindSlow.snapshot()).waiting, 1, 'it has no place yet');
    for (let nothings = 0; nothings < 3; ) {
      const { data } = await nextOf(waiting);
      if (isNothing(data)) nothings++;
    }
    finish(first.call);
    assertCleanEnd(await first.answered);
    finish(await slow.call(first.index + 1));
    let text = '';
    for await (const { data } of waiting.events) text += data;
    assert.match(text, /begun/);
    await until('nothing runs', () => isIdle(behindSlow));
  }
});

test('a wait that was too long after all ends with a status, or in the stream as its client likes it', async () => {
  const first = await occupied(behindQuick, quick);
  const chat = (headers: HeaderFields) =>
    streamChat(behindQuick.url, { ...asked('late') }, { headers });
  const [told, cut, messages, whole] = await Promise.all([
    chat(AGENTS.opencode),
    chat(AGENTS.cline),
    streamMessages(behindQuick.url, asked('late'), { headers: AGENTS.opencode }),
    post(`${behindQuick.url}/v1/chat/completions`, asked('late')),
  ]);
  for (const answer of [told, messages]) {
    assertCleanEnd(answer);
    assert.equal(answer.status, 200);
    assert.match(
      answer.errors[0].message,
      /for as long as a request may wait; come back in \d+ s\.$/,
    );
  }
  assert.deepEqual([cut.status, cut.broken, cut.errors, cut.ends], [200, true, [], 0]);
  assert.equal(whole.status, 503);
  assert.match(whole.headers.get('retry-after') ?? '', /^[1-9]\d*$/);
  // All that came of it: who was being answered still is.
  assert.equal(first.call.isClosed, false);
  finish(first.call);
  assertCleanEnd(await first.answered);
  assert.equal(quick.calls.length, 1, 'nobody else ever got there');
});

test('who leaves while it waits is forgotten; who leaves while it runs leaves the engine, too', async () => {
  const before = slow.calls.length;
  const open = (content: string) =>
    openStream(
      `${behindSlow.url}/v1/chat/completions`,
      { ...asked(content), stream: true },
      AGENTS.opencode,
    );
  const running = open('running');
  const call = await slow.call(before);
  begin(call);
  const waiting = await open('waiting');
  assert.equal((await behindSlow.snapshot()).waiting, 1);
  waiting.destroy();
  await until('nobody waits', async () => (await behindSlow.snapshot()).waiting === 0);
  assert.equal(call.isClosed, false);
  (await running).destroy();
  await until('the engine is left', () => call.isClosed);
  await until('nothing runs', () => isIdle(behindSlow));
  assert.equal(slow.calls.length, before + 1);
});

/** A request that the engine has begun to answer and will not end by itself. */
async function occupied(
  stack: Stack,
  engine: FakeEngine,
): Promise<{ index: number; call: EngineCall; answered: Promise<Streamed> }> {
  const index = engine.calls.length;
  const answered = streamChat(stack.url, asked('first'));
  const call = await engine.call(index);
  begin(call);
  return { index, call, answered };
}

async function isIdle(stack: Stack): Promise<boolean> {
  const { running, waiting } = await stack.snapshot();
  return running + waiting === 0;
}

async function nextOf({ events }: OpenStream): Promise<{ data: string }> {
  const next = await events.next();
  return next.done === true ? assert.fail('the stream ended') : next.value;
}
