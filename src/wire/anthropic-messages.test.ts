import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recorded } from '../../test/recorded.ts';
import type { GatewayError } from '../model/error.ts';
import type { Chat, Message } from '../model/request.ts';
import { anthropicMessages } from './anthropic-messages.ts';
import type { Ask } from './wire.ts';

interface Block {
  type: string;
  text?: string;
  thinking?: string;
  id?: string;
  name?: string;
  input?: unknown;
  tool_use_id?: string;
  is_error?: boolean;
  content?: string | Block[];
}

interface Told {
  role: string;
  texts: string[];
  reasoning?: string;
  calls?: (string | undefined)[][];
  answers?: string;
  isError?: boolean;
}

test('every recorded message request is read and nothing of it is lost', () => {
  const requests = recorded('/v1/messages');
  assert.ok(requests.length >= 8, `${requests.length} recordings`);
  let systemInside = 0;
  for (const { name, body } of requests) {
    const ask = anthropicMessages.parse(body);
    const chat = chatOf(ask);
    const messages = body.messages as { role: string; content: string | Block[] }[];
    const expected = messages.flatMap(said);
    if (body.system !== undefined) {
      expected.unshift({ role: 'system', texts: textsOf(body.system as string | Block[]) });
    }
    assert.deepEqual(chat.messages.map(told), expected, name);
    const tools = (body.tools ?? []) as {
      name: string;
      description: string;
      input_schema: unknown;
      defer_loading?: boolean;
    }[];
    // Nothing in these recordings refers to a deferred tool: no model is told of one.
    const listed = tools.filter(({ defer_loading }) => defer_loading !== true);
    assert.equal(
      JSON.stringify(chat.tools.map((t) => [t.name, t.description, t.parameters])),
      JSON.stringify(listed.map((t) => [t.name, t.description, t.input_schema])),
      `${name}: tools in order, with their keys in order`,
    );
    assert.equal(ask.outputTokensMax, body.max_tokens);
    systemInside += messages.filter(({ role }) => role === 'system').length;
  }
  assert.ok(systemInside > 0, 'Claude Code sends system messages among the others');
});

/** What a recorded message holds, in a shape of this test's own. */
function said({ role, content }: { role: string; content: string | Block[] }): Told[] {
  const blocks = typeof content === 'string' ? [{ type: 'text', text: content }] : content;
  if (role === 'assistant') {
    const thoughts = blocks.flatMap(({ thinking }) => thinking ?? []);
    const calls = blocks.filter(({ type }) => type === 'tool_use');
    return [
      {
        role,
        texts: textsOf(blocks),
        reasoning: thoughts.length === 0 ? undefined : thoughts.join(''),
        calls: calls.map(({ id, name, input }) => [id, name, JSON.stringify(input)]),
      },
    ];
  }
  const messages: Told[] = [];
  for (const block of blocks) {
    const last = messages.at(-1);
    if (block.type === 'tool_result') {
      messages.push({
        role: 'tool',
        texts: textsOf(block.content ?? []),
        answers: block.tool_use_id,
        isError: block.is_error ?? false,
      });
    } else if (last?.role === role) last.texts.push(block.text ?? '');
    else messages.push({ role, texts: [block.text ?? ''] });
  }
  return messages;
}

function textsOf(content: string | Block[]): string[] {
  return typeof content === 'string' ? [content] : content.flatMap(({ text }) => text ?? []);
}

function told(message: Message): Told {
  const { role } = message;
  const texts = message.content.map((part) => (part.kind === 'text' ? part.text : part.url));
  if (role === 'tool') {
    return { role, texts, answers: message.toolCallId, isError: message.isError };
  }
  if (role !== 'assistant') return { role, texts };
  const calls = message.toolCalls.map((call) => [call.id, call.name, call.argumentsJson]);
  return { role, texts, reasoning: message.reasoning, calls };
}

test('cache marks and the two ways to write text change nothing, in every recording', () => {
  for (const { name, body } of recorded('/v1/messages')) {
    const stripped = withoutMarks(body) as typeof body;
    assert.deepEqual(anthropicMessages.parse(stripped), anthropicMessages.parse(body), name);
    const asBlocks = (stripped.messages as { role: string; content: unknown }[]).map((message) =>
      typeof message.content === 'string'
        ? { ...message, content: [{ type: 'text', text: message.content }] }
        : message,
    );
    assert.deepEqual(
      anthropicMessages.parse({ ...stripped, messages: asBlocks }),
      anthropicMessages.parse(body),
      name,
    );
  }
});

function withoutMarks(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, inner: unknown) => (key === 'cache_control' ? undefined : inner)),
  );
}

test('a user message with results and words becomes messages in the same order', () => {
  const ask = anthropicMessages.parse({
    model: 'm',
    max_tokens: 5,
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'before' },
          { type: 'tool_result', tool_use_id: 'a', content: 'A' },
          { type: 'tool_result', tool_use_id: 'b', is_error: true, content: [] },
          { type: 'text', text: 'after' },
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
          { type: 'image', source: { type: 'url', url: 'https://example.org/x.png' } },
        ],
      },
    ],
  });
  assert.deepEqual(chatOf(ask).messages.map(told), [
    { role: 'user', texts: ['before'] },
    { role: 'tool', texts: ['A'], answers: 'a', isError: false },
    { role: 'tool', texts: [], answers: 'b', isError: true },
    {
      role: 'user',
      texts: ['after', 'data:image/png;base64,AAAA', 'https://example.org/x.png'],
    },
  ]);
});

test('a system message without a word, which only carries settings, is no turn', () => {
  const ask = anthropicMessages.parse({
    model: 'm',
    max_tokens: 5,
    system: [],
    messages: [
      { role: 'user', content: 'x' },
      { role: 'system', content: [], output_config: { effort: 'medium' } },
    ],
  });
  assert.deepEqual(chatOf(ask).messages.map(told), [{ role: 'user', texts: ['x'] }]);
});

test('a conversation that the server should hold is refused in the words its clients act on', () => {
  const whole = { model: 'm', max_tokens: 1, messages: [{ role: 'user', content: 'x' }] };
  for (const thread of [{ type: 'create' }, { type: 'continue', previous_message_id: 'msg_1' }]) {
    assert.throws(
      () => anthropicMessages.parse({ ...whole, thread }),
      (thrown: GatewayError) => {
        assert.equal(thrown.status, 400);
        const { error } = anthropicMessages.error(thrown) as { error: { details: unknown } };
        assert.deepEqual(error.details, {
          error_code: 'thread_unsupported_request',
          unsupported: ['thread'],
        });
        return true;
      },
    );
  }
  assert.equal(anthropicMessages.parse({ ...whole, thread: null }).model, 'm');
});

test('thinking is off unless it was asked for; the session comes out of the user id', () => {
  const body = { model: 'm', max_tokens: 5, messages: [{ role: 'user', content: 'x' }] };
  assert.equal(chatOf(anthropicMessages.parse(body)).thinking, false);
  for (const type of ['enabled', 'adaptive']) {
    const ask = anthropicMessages.parse({ ...body, thinking: { type } });
    assert.equal(chatOf(ask).thinking, true);
  }
  const names = (user_id: unknown) =>
    anthropicMessages.parse({ ...body, metadata: { user_id } }).names;
  assert.deepEqual(names('{"device_id":"d","session_id":"s-1"}'), [
    { field: 'metadata.user_id', value: 's-1' },
  ]);
  for (const opaque of ['user-17', '{not json', '{"session_id":5}', '{"session_id":""}', null]) {
    assert.deepEqual(names(opaque), [], String(opaque));
  }
});

function chatOf(ask: Ask): Chat {
  assert.ok(ask.prompt.kind === 'chat');
  return ask.prompt.chat;
}
