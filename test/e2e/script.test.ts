/** Simulated workers that answer by a script: tool sessions, and every way to misbehave. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Receipt } from '../../src/model/receipt.ts';
import {
  assertCleanEnd,
  get,
  post,
  type Reply,
  type Streamed,
  streamChat,
  streamMessages,
} from './client.ts';
import { type Stack, scripted, startUp, until, write } from './stack.ts';

const BLOCK_TOKENS = 16;
const WEATHER = { city: 'Łódź', days: [1, 2], unit: 'C' };

/** As models write it, and no client: two blanks, and a number with a fraction of nothing. */
const SPACED = `<tool_call>
{"name": "get_weather", "arguments": {"city":  "Łódź", "days": [1.0, 2], "unit": "C", "note": "${'a long one, '.repeat(20)}"}}
</tool_call>`;

let stack: Stack;
before(async () => {
  const fault = (kind: string, more = {}) => ({ kind, ...more });
  stack = await startUp(
    scripted([
      { match: 'sunny and 21 degrees', text: 'Take no umbrella.' },
      {
        match: 'weather in two cities',
        text: 'Let me look.',
        toolCalls: [
          { name: 'get_weather', arguments: WEATHER },
          { name: 'get_time', arguments: {} },
        ],
      },
      {
        match: 'the weather\\?',
        reasoning: 'I should look it up.',
        toolCalls: [{ name: 'get_weather', arguments: WEATHER }],
      },
      { match: 'spelled out', text: SPACED },
      { match: 'fail 500', fault: fault('status', { status: 500 }) },
      { match: 'fail 503', fault: fault('status', { status: 503 }) },
      { match: 'fail 400', fault: fault('status', { status: 400 }) },
      { match: 'once bad', times: 1, fault: fault('status', { status: 500 }) },
      { match: 'once bad', text: 'Good again.' },
      ...['cut', 'reset', 'error'].flatMap((kind) => [
        { match: `${kind} at once`, text: 'one two three', fault: fault(kind, { afterParts: 0 }) },
        { match: `${kind} later`, text: 'one two three', fault: fault(kind, { afterParts: 2 }) },
      ]),
      { match: 'stall later', text: 'one two three', fault: fault('stall', { afterParts: 2 }) },
    ]),
  );
});

const user = (content: unknown) => ({ role: 'user', content });
const GET_WEATHER = { name: 'get_weather', description: 'The weather of a city.' };
const SCHEMA = { type: 'object', properties: { city: { type: 'string' } } };

test('chat: a tool call, its result, and the final text', async () => {
  const tools = [{ type: 'function', function: { ...GET_WEATHER, parameters: SCHEMA } }];
  const question = user('How is the weather?');
  const first = await streamChat(stack.url, { messages: [question], tools });
  assertCleanEnd(first);
  assert.equal(first.finish, 'tool_calls');
  assert.equal(first.text, '');
  assert.equal(first.reasoning, 'I should look it up.');
  assert.equal(first.toolCalls.length, 1);
  const [call] = first.toolCalls;
  assert.equal(call.name, 'get_weather');
  assert.deepEqual(JSON.parse(call.arguments), WEATHER);
  const { name, arguments: given } = call;
  const messages = [
    question,
    {
      role: 'assistant',
      content: null,
      reasoning_content: first.reasoning,
      tool_calls: [{ id: call.id, type: 'function', function: { name, arguments: given } }],
    },
    { role: 'tool', tool_call_id: call.id, content: 'It is sunny and 21 degrees.' },
  ];
  const second = await streamChat(stack.url, { messages, tools });
  assertCleanEnd(second);
  assert.equal(second.finish, 'stop');
  assert.equal(second.text, 'Take no umbrella.');
  assert.ok((second.cachedTokens ?? 0) >= (first.promptTokens ?? 0) - 16, 'the first is reused');
});

test('messages: a tool call, its result, and the final text', async () => {
  const tools = [{ ...GET_WEATHER, input_schema: SCHEMA }];
  const question = user([{ type: 'text', text: 'How, then, is the weather?' }]);
  const first = await streamMessages(stack.url, { messages: [question], tools });
  assertCleanEnd(first);
  assert.equal(first.finish, 'tool_use');
  assert.equal(first.reasoning, 'I should look it up.');
  const [call] = first.toolCalls;
  assert.deepEqual(JSON.parse(call.arguments), WEATHER);
  const input = JSON.parse(call.arguments) as object;
  const result = [{ type: 'text', text: 'It is sunny and 21 degrees.' }];
  const messages = [
    question,
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: first.reasoning, signature: 'x' },
        { type: 'tool_use', id: call.id, name: call.name, input },
      ],
    },
    user([{ type: 'tool_result', tool_use_id: call.id, content: result }]),
  ];
  const second = await streamMessages(stack.url, { messages, tools });
  assertCleanEnd(second);
  assert.equal(second.finish, 'end_turn');
  assert.equal(second.text, 'Take no umbrella.');
  assert.ok((second.cachedTokens ?? 0) >= (first.promptTokens ?? 0) - 16, 'the first is reused');
});

test('text and two calls in one answer keep their order and their ids apart', async () => {
  const messages = [user('What is the weather in two cities')];
  const tools = [{ type: 'function', function: { name: 'get_weather', parameters: SCHEMA } }];
  const chat = await streamChat(stack.url, { messages, tools });
  const anthropicTools = [{ name: 'get_weather', input_schema: SCHEMA }];
  const blocks = await streamMessages(stack.url, { messages, tools: anthropicTools });
  for (const answer of [chat, blocks]) {
    assertCleanEnd(answer);
    assert.equal(answer.text, 'Let me look.');
    assert.deepEqual(
      answer.toolCalls.map(({ name }) => name),
      ['get_weather', 'get_time'],
    );
    assert.equal(new Set(answer.toolCalls.map(({ id }) => id)).size, 2);
    assert.deepEqual(JSON.parse(answer.toolCalls[1].arguments), {});
  }
});

test('a call that a client writes anew still continues what the model wrote', async () => {
  const tools = [{ ...GET_WEATHER, input_schema: SCHEMA }];
  const question = user('The weather, spelled out');
  const first = await streamMessages(stack.url, { messages: [question], tools });
  const [{ id, name, arguments: wrote }] = first.toolCalls;
  assert.match(wrote, /"city": {2}"Łódź"/, 'it is told as it was written');
  const use = { type: 'tool_use', id, name, input: JSON.parse(wrote) as object };
  const result = { type: 'tool_result', tool_use_id: id, content: 'It is sunny and 21 degrees.' };
  const messages = [question, { role: 'assistant', content: [use] }, user([result])];
  const second = await streamMessages(stack.url, { messages, tools });
  assertCleanEnd(second);
  const known = (first.promptTokens ?? 0) + (first.outputTokens ?? 0);
  const cached = second.cachedTokens ?? 0;
  assert.ok(cached >= known - 2 * BLOCK_TOKENS, `${cached} of ${known} are reused`);
});

/** Both wires, streamed. */
async function bothStreams(prompt: string): Promise<Streamed[]> {
  const messages = [user(prompt)];
  return await Promise.all([
    streamChat(stack.url, { messages }),
    streamMessages(stack.url, { messages }),
  ]);
}

type Refusal = { error: { message: string } };

/** Both wires, not streamed. */
async function bothWhole(prompt: string): Promise<Reply<Refusal>[]> {
  const sent = { model: 'demo', max_tokens: 50, messages: [user(prompt)] };
  return await Promise.all([
    post<Refusal>(`${stack.url}/v1/chat/completions`, sent),
    post<Refusal>(`${stack.url}/v1/messages`, sent),
  ]);
}

/** Each wire's own: Anthropic's clients know an overload as 529. */
const BROKEN_OR_BUSY = new Set([502, 503, 529]);

test('engines that fail before the first token: others are tried, the receipt shows each', async () => {
  const answer = await streamChat(stack.url, { messages: [user('once bad')] });
  assertCleanEnd(answer);
  const id = answer.headers['x-stator-receipt'];
  const { body } = await get<Receipt>(`${stack.url}/stator/v1/receipts/${id}`);
  // Each worker fails its first time: the third attempt is a second one on the first worker.
  const workers = body.attempts.map(({ worker }) => worker);
  assert.equal(workers.length, 3);
  assert.notEqual(workers[1], workers[0]);
  assert.equal(answer.text, 'Good again.');
});

test('engines that refuse as broken or busy: every worker is tried, then the client hears it', async () => {
  for (const prompt of ['fail 500', 'fail 503']) {
    for (const reply of await bothWhole(prompt)) {
      assert.ok(BROKEN_OR_BUSY.has(reply.status), `${prompt}: ${reply.text}`);
      assert.ok(Number(reply.headers.get('retry-after')) >= 1, 'it says when to try again');
      assert.match(reply.body.error.message, /^[^\n]+\.$/);
    }
    for (const { status } of await bothStreams(prompt)) assert.ok(BROKEN_OR_BUSY.has(status));
    await assertServes();
  }
});

test('what an engine refuses because of the request is not tried elsewhere', async () => {
  for (const { status, headers, text } of await bothWhole('fail 400')) {
    assert.equal(status, 400, text);
    assert.equal(headers.get('retry-after'), null);
  }
  await assertServes();
});

for (const kind of ['cut', 'reset', 'error']) {
  test(`${kind} before the first token is an error status`, async () => {
    for (const reply of await bothWhole(`${kind} at once`)) {
      assert.ok(reply.status >= 500, reply.text);
      assert.match(reply.body.error.message, /^[^\n]+\.$/);
    }
    for (const { status } of await bothStreams(`${kind} at once`)) assert.ok(status >= 500);
    await assertServes();
  });

  test(`${kind} in mid-stream is one error in the stream`, async () => {
    for (const answer of await bothStreams(`${kind} later`)) {
      assertCleanEnd(answer);
      assert.equal(answer.errors.length, 1);
      assert.match(answer.errors[0].message, /^[^\n]+\.$/);
      assert.notEqual(answer.text, '');
      assert.ok('one two three'.startsWith(answer.text));
    }
    for (const { status } of await bothWhole(`${kind} later`)) assert.equal(status, 502);
    await assertServes();
  });
}

test('an engine that falls silent is taken as lost', async () => {
  const answers = await quietStack();
  for (const answer of answers) {
    assertCleanEnd(answer);
    assert.equal(answer.errors.length, 1);
    assert.notEqual(answer.text, '');
  }
});

async function quietStack(): Promise<Streamed[]> {
  const config = write('quiet.yaml', 'limits: {engineSilenceUsMax: 1000000}\n');
  const rule = { match: 'stall', text: 'one two three', fault: { kind: 'stall', afterParts: 2 } };
  const quiet = await startUp([...scripted([rule]), '--workers=1', '-c', config]);
  const messages = [user('stall, please')];
  const answers = [
    await streamChat(quiet.url, { messages }),
    await streamMessages(quiet.url, { messages }),
  ];
  await until('nothing runs any more', () => quiet.isIdle());
  assertCleanEnd(await streamChat(quiet.url, { messages: [user('And you?')] }));
  await quiet.stop();
  return answers;
}

async function assertServes(): Promise<void> {
  await until('nothing runs any more', () => stack.isIdle());
  await until('both workers are well', async () => {
    const { workers } = await stack.snapshot();
    return workers.length === 2 && workers.every(({ healthy }) => healthy);
  });
  for (const answer of await bothStreams('Is all well?')) {
    assertCleanEnd(answer);
    assert.equal(answer.errors.length, 0);
  }
}
