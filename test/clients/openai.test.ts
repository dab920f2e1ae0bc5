/** The official `openai` client against a running gateway. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import OpenAI from 'openai';
import { type Stack, until } from '../e2e/stack.ts';
import { CITY, FINAL, QUESTION, RESULT, startWeather, TOOL } from './weather.ts';

let stack: Stack;
let client: OpenAI;
before(async () => {
  stack = await startWeather();
  client = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: 'local', maxRetries: 0 });
});

const tools: OpenAI.ChatCompletionTool[] = [
  {
    type: 'function',
    function: { name: TOOL.name, description: TOOL.description, parameters: TOOL.schema },
  },
];
const question: OpenAI.ChatCompletionMessageParam = { role: 'user', content: QUESTION };

test('models: what is listed is what can be retrieved', async () => {
  const ids: string[] = [];
  for await (const { id } of client.models.list()) ids.push(id);
  assert.deepEqual(ids, ['demo']);
  assert.equal((await client.models.retrieve('demo')).id, 'demo');
});

test('a tool-calling exchange: streamed and not streamed end in equal messages', async () => {
  const body = { model: 'demo', messages: [question], tools };
  const stream = client.chat.completions.stream({
    ...body,
    stream_options: { include_usage: true },
  });
  const deltas: string[] = [];
  stream.on('content', (delta) => deltas.push(delta));
  const streamed = await stream.finalChatCompletion();
  const whole = await client.chat.completions.create(body);
  assert.equal(deltas.join(''), 'Let me look.');
  assert.deepEqual(messageOf(streamed), messageOf(whole));
  assert.equal(streamed.choices[0].finish_reason, 'tool_calls');
  assert.equal(whole.choices[0].finish_reason, 'tool_calls');
  const [call] = whole.choices[0].message.tool_calls ?? [];
  assert.ok(call.type === 'function');
  assert.deepEqual(JSON.parse(call.function.arguments), CITY);
  const { message } = whole.choices[0];
  const result = { role: 'tool' as const, tool_call_id: call.id, content: RESULT };
  const next = { ...body, messages: [question, message, result] };
  const second = await client.chat.completions.create(next);
  assert.equal(second.choices[0].message.content, FINAL);
  assert.equal(second.choices[0].finish_reason, 'stop');
  const again = await client.chat.completions
    .stream({ ...next, stream_options: { include_usage: true } })
    .finalChatCompletion();
  assert.deepEqual(messageOf(again), messageOf(second));
  assert.deepEqual(again.usage?.prompt_tokens, second.usage?.prompt_tokens);
  const cached = second.usage?.prompt_tokens_details?.cached_tokens ?? 0;
  assert.ok(cached >= (whole.usage?.prompt_tokens ?? 0) - 16, `${cached} cached`);
});

test('the tool runner calls the tool and comes back with the final text', async () => {
  const asked: unknown[] = [];
  const runner = client.chat.completions.runTools({
    model: 'demo',
    stream: true,
    messages: [question],
    tools: [
      {
        type: 'function',
        function: {
          name: TOOL.name,
          description: TOOL.description,
          parameters: TOOL.schema,
          parse: JSON.parse,
          function: (given: unknown) => {
            asked.push(given);
            return RESULT;
          },
        },
      },
    ],
  });
  assert.equal(await runner.finalContent(), FINAL);
  assert.deepEqual(asked, [CITY]);
});

test('raw chunks: a role first, a finish reason last, usage behind it', async () => {
  const stream = await client.chat.completions.create({
    model: 'demo',
    messages: [question],
    tools,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks: OpenAI.ChatCompletionChunk[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  assert.equal(chunks[0].choices[0].delta.role, 'assistant');
  assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
  const finishes = chunks.flatMap(({ choices }) => choices.map((one) => one.finish_reason));
  assert.deepEqual(
    finishes.filter((reason) => reason !== null),
    ['tool_calls'],
  );
  const last = chunks[chunks.length - 1];
  assert.deepEqual(last.choices, []);
  assert.ok((last.usage?.completion_tokens ?? 0) > 0);
});

test('each mistake arrives as the client’s own class of error', async () => {
  const ask = (more: object) =>
    client.chat.completions.create({ model: 'demo', messages: [question], ...more });
  await assert.rejects(ask({ model: 'gpt-9' }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, 'model_not_found');
    assert.equal(error.param, 'model');
    assert.ok(error.requestID);
    return true;
  });
  await assert.rejects(ask({ max_tokens: 0 }), OpenAI.BadRequestError);
  await assert.rejects(
    ask({ messages: [{ role: 'user', content: 'broken' }] }),
    OpenAI.InternalServerError,
  );
});

test('an error in mid-stream is thrown by the stream', async () => {
  const stream = client.chat.completions.stream({
    model: 'demo',
    messages: [{ role: 'user', content: 'break later' }],
  });
  await assert.rejects(stream.finalChatCompletion(), OpenAI.APIError);
});

test('what is refused for now is tried again by the client itself', async () => {
  const patient = client.withOptions({ maxRetries: 2 });
  const messages = [{ role: 'user' as const, content: 'busy once' }];
  const answer = await patient.chat.completions.create({ model: 'demo', messages });
  assert.equal(answer.choices[0].message.content, 'Not any more.');
});

test('an aborted stream frees what it held', async () => {
  const stream = await client.chat.completions.create({
    model: 'demo',
    stream: true,
    messages: [{ role: 'user', content: 'for ever' }],
  });
  let texts = 0;
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta.content && ++texts === 3) stream.controller.abort();
  }
  assert.equal(texts, 3);
  await until('nothing runs any more', () => stack.isIdle());
  const answer = await client.chat.completions.create({ model: 'demo', messages: [question] });
  assert.equal(answer.choices.length, 1);
});

/** Without the ids of calls, which are made up anew for each answer. */
function messageOf({ choices }: OpenAI.ChatCompletion) {
  const { role, content, refusal, tool_calls } = choices[0].message;
  const calls = (tool_calls ?? []).map((call) => {
    assert.ok(call.type === 'function');
    assert.match(call.id, /./);
    return [call.function.name, call.function.arguments];
  });
  return { role, content, refusal, calls, finish: choices[0].finish_reason };
}
