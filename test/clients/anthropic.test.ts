/** The official `@anthropic-ai/sdk` client against a running gateway. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { type Stack, until } from '../e2e/stack.ts';
import { CITY, FINAL, QUESTION, RESULT, startWeather, TOOL } from './weather.ts';

let stack: Stack;
let client: Anthropic;
before(async () => {
  stack = await startWeather();
  client = new Anthropic({ baseURL: stack.url, apiKey: 'local', maxRetries: 0 });
});

const tools: Anthropic.Tool[] = [
  { name: TOOL.name, description: TOOL.description, input_schema: TOOL.schema },
];
const question: Anthropic.MessageParam = { role: 'user', content: QUESTION };
const base = { model: 'demo', max_tokens: 500 };

test('models: what is listed is what can be retrieved', async () => {
  const ids: string[] = [];
  for await (const { id } of client.models.list()) ids.push(id);
  assert.deepEqual(ids, ['demo']);
  assert.equal((await client.models.retrieve('demo')).id, 'demo');
});

test('a tool-calling exchange: streamed and not streamed end in equal messages', async () => {
  const body = { ...base, messages: [question], tools };
  const stream = client.messages.stream(body);
  const texts: string[] = [];
  const inputs: string[] = [];
  stream.on('text', (delta) => texts.push(delta)).on('inputJson', (json) => inputs.push(json));
  const streamed = await stream.finalMessage();
  const whole = await client.messages.create(body);
  assert.equal(texts.join(''), 'Let me look.');
  assert.deepEqual(JSON.parse(inputs.join('')), CITY);
  assert.deepEqual(messageOf(streamed), messageOf(whole));
  assert.equal(whole.stop_reason, 'tool_use');
  const call = whole.content.find((block) => block.type === 'tool_use');
  assert.ok(call?.type === 'tool_use');
  assert.deepEqual(call.input, CITY);
  const result = { type: 'tool_result' as const, tool_use_id: call.id, content: RESULT };
  const next = {
    ...body,
    messages: [
      question,
      { role: 'assistant' as const, content: whole.content },
      { role: 'user' as const, content: [result] },
    ],
  };
  const second = await client.messages.create(next);
  assert.deepEqual(messageOf(second).content, [['text', FINAL]]);
  assert.equal(second.stop_reason, 'end_turn');
  const again = await client.messages.stream(next).finalMessage();
  assert.deepEqual(messageOf(again), messageOf(second));
  assert.equal(promptTokensOf(again), promptTokensOf(second));
  const cached = second.usage.cache_read_input_tokens ?? 0;
  assert.ok(cached >= promptTokensOf(whole) - 16, `${cached} cached`);
});

test('raw events come in the order that the API promises', async () => {
  const body = { ...base, messages: [question], tools, stream: true as const };
  const kinds: string[] = [];
  for await (const event of await client.messages.create(body)) {
    const kind = 'index' in event ? `${event.type} ${event.index}` : event.type;
    if (kinds[kinds.length - 1] !== kind) kinds.push(kind);
  }
  assert.deepEqual(kinds, [
    'message_start',
    ...[0, 1].flatMap((index) =>
      ['start', 'delta', 'stop'].map((step) => `content_block_${step} ${index}`),
    ),
    'message_delta',
    'message_stop',
  ]);
});

test('each mistake arrives as the client’s own class of error', async () => {
  const ask = (more: object) => client.messages.create({ ...base, messages: [question], ...more });
  await assert.rejects(ask({ model: 'claude-9' }), (error) => {
    assert.ok(error instanceof Anthropic.NotFoundError);
    const { error: told } = error.error as { error: { type: string } };
    assert.equal(told.type, 'not_found_error');
    return true;
  });
  await assert.rejects(ask({ max_tokens: 0 }), Anthropic.BadRequestError);
  await assert.rejects(
    ask({ messages: [{ role: 'user', content: 'broken' }] }),
    Anthropic.InternalServerError,
  );
});

test('an error in mid-stream is thrown by the stream', async () => {
  const stream = client.messages.stream({
    ...base,
    messages: [{ role: 'user', content: 'break later' }],
  });
  await assert.rejects(stream.finalMessage(), Anthropic.APIError);
});

test('what is refused for now is tried again by the client itself', async () => {
  const patient = client.withOptions({ maxRetries: 2 });
  const messages = [{ role: 'user' as const, content: 'busy once' }];
  const answer = await patient.messages.create({ ...base, messages });
  assert.deepEqual(messageOf(answer).content, [['text', 'Not any more.']]);
});

test('an aborted stream frees what it held', async () => {
  const stream = client.messages.stream({
    ...base,
    max_tokens: 9000,
    messages: [{ role: 'user', content: 'for ever' }],
  });
  let texts = 0;
  stream.on('text', () => {
    if (++texts === 3) stream.abort();
  });
  await assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);
  assert.equal(texts, 3);
  await until('nothing runs any more', () => stack.isIdle());
  const answer = await client.messages.create({ ...base, messages: [question] });
  assert.equal(answer.type, 'message');
});

function promptTokensOf({ usage }: Anthropic.Message): number {
  return usage.input_tokens + (usage.cache_read_input_tokens ?? 0);
}

/** Without the ids of calls, which are made up anew for each answer. */
function messageOf({ role, type, model, content, stop_reason, stop_sequence }: Anthropic.Message) {
  const blocks = content.map((block) => {
    switch (block.type) {
      case 'text':
        return ['text', block.text];
      case 'tool_use':
        assert.match(block.id, /./);
        return ['tool_use', block.name, block.input];
      default:
        return [block.type];
    }
  });
  return { role, type, model, content: blocks, stop_reason, stop_sequence };
}
