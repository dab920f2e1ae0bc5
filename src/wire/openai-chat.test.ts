import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recorded } from '../../test/recorded.ts';
import type { Chat } from '../model/request.ts';
import { openaiChat } from './openai-chat.ts';
import type { Ask } from './wire.ts';

interface RawMessage {
  role: string;
  content?: string | { type: string; text: string }[] | null;
  reasoning_content?: string;
  tool_call_id?: string;
  tool_calls?: { id: string; function: { name: string; arguments: string } }[];
}

interface RawTool {
  function: { name: string; description?: string; parameters: unknown };
}

test('every recorded chat completion is read and nothing of it is lost', () => {
  const requests = recorded('/v1/chat/completions');
  assert.ok(requests.length >= 8, `${requests.length} recordings`);
  for (const { name, body } of requests) {
    const ask = openaiChat.parse(body);
    const chat = chatOf(ask);
    const messages = body.messages as RawMessage[];
    assert.deepEqual(chat.messages.map(told), messages.map(said), name);
    const tools = (body.tools ?? []) as RawTool[];
    assert.equal(
      JSON.stringify(chat.tools.map((t) => [t.name, t.description, t.parameters])),
      JSON.stringify(tools.map((t) => Object.values(pick(t.function)))),
      `${name}: tools in order, with their keys in order`,
    );
    assert.equal(ask.model, body.model);
    assert.equal(ask.stream, true);
    assert.equal(ask.includeUsage, true);
    assert.equal(ask.outputTokensMax, body.max_completion_tokens ?? body.max_tokens);
  }
});

/** What a recorded message holds, in a shape of this test's own. */
function said(message: RawMessage) {
  const { content } = message;
  return {
    role: message.role === 'developer' ? 'system' : message.role,
    texts: typeof content === 'string' ? [content] : (content ?? []).map(({ text }) => text),
    reasoning: message.reasoning_content,
    calls: (message.tool_calls ?? []).map((c) => [c.id, c.function.name, c.function.arguments]),
    answers: message.tool_call_id,
  };
}

function told(message: Chat['messages'][number]) {
  const isAssistant = message.role === 'assistant';
  return {
    role: message.role,
    texts: message.content.map((part) => (part.kind === 'text' ? part.text : part.url)),
    reasoning: isAssistant ? message.reasoning : undefined,
    calls: isAssistant ? message.toolCalls.map((c) => [c.id, c.name, c.argumentsJson]) : [],
    answers: message.role === 'tool' ? message.toolCallId : undefined,
  };
}

function pick({ name, description, parameters }: RawTool['function']) {
  return { name, description, parameters };
}

test('text means the same as a string and as one part, in every recording', () => {
  for (const { name, body } of recorded('/v1/chat/completions')) {
    const messages = (body.messages as RawMessage[]).map((message) =>
      typeof message.content === 'string'
        ? { ...message, content: [{ type: 'text', text: message.content }] }
        : message,
    );
    assert.deepEqual(openaiChat.parse({ ...body, messages }), openaiChat.parse(body), name);
  }
});

test('absent and null mean the same', () => {
  const plain = openaiChat.parse({ model: 'm', messages: [{ role: 'user', content: 'x' }] });
  const nulls = [
    'n stream stop tools tool_choice max_tokens max_completion_tokens temperature top_p top_k min_p',
    'seed logprobs response_format stream_options nvext priority cache_salt session_id',
    'prompt_cache_key chat_template_kwargs reasoning_effort frequency_penalty presence_penalty',
  ];
  const body = Object.fromEntries(
    nulls.flatMap((names) => names.split(' ')).map((name) => [name, null]),
  );
  assert.deepEqual(
    openaiChat.parse({ ...body, model: 'm', messages: [{ role: 'user', content: 'x' }] }),
    plain,
  );
});

test('what older clients send is understood: function results, legacy limits, an echo of refusals', () => {
  const ask = openaiChat.parse({
    model: 'm',
    max_tokens: 7,
    tool_choice: { type: 'function', function: { name: 'ls' } },
    tools: [{ type: 'web_search' }, { function: { name: 'ls' } }],
    messages: [
      { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:x' } }] },
      { role: 'assistant', content: null, tool_calls: [{ function: { name: 'ls' } }] },
      { role: 'function', name: 'ls', content: 'a.txt' },
      { role: 'assistant', content: [{ type: 'refusal', refusal: 'no' }], reasoning: 'hm' },
    ],
  });
  const chat = chatOf(ask);
  assert.deepEqual(chat.tools, [{ name: 'ls', description: undefined, parameters: undefined }]);
  assert.deepEqual(chat.toolChoice, { kind: 'named', name: 'ls' });
  assert.deepEqual(chat.messages.map(told), [
    { role: 'user', texts: ['data:x'], reasoning: undefined, calls: [], answers: undefined },
    {
      role: 'assistant',
      texts: [],
      reasoning: undefined,
      calls: [['', 'ls', '']],
      answers: undefined,
    },
    { role: 'tool', texts: ['a.txt'], reasoning: undefined, calls: [], answers: 'ls' },
    { role: 'assistant', texts: ['no'], reasoning: 'hm', calls: [], answers: undefined },
  ]);
  assert.equal(ask.outputTokensMax, 7);
});

test('hints and names of a session are found where clients put them', () => {
  const ask = openaiChat.parse({
    model: 'm',
    messages: [{ role: 'user', content: 'x' }],
    prompt_cache_key: 'key',
    session_id: 'session',
    cache_salt: 'root',
    reasoning_effort: 'none',
    seed: -1,
    nvext: {
      agent_hints: { priority: 3, osl: 40 },
      cache_salt: 'salt',
      extra_fields: ['timing', 'worker_id'],
    },
  });
  assert.deepEqual(ask.names, [
    { field: 'session_id', value: 'session' },
    { field: 'prompt_cache_key', value: 'key' },
  ]);
  const { priority, outputTokensExpected, cacheSalt, extraFields } = ask.hints;
  assert.deepEqual([priority, outputTokensExpected, cacheSalt], [3, 40, 'salt']);
  assert.deepEqual(extraFields, ['timing', 'worker_id']);
  assert.equal(chatOf(ask).thinking, false);
  assert.ok((ask.sampling.seed ?? -1) >= 0, 'seeds are 32 bits');
});

function chatOf(ask: Ask): Chat {
  assert.ok(ask.prompt.kind === 'chat');
  return ask.prompt.chat;
}
