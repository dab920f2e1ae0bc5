/** A stream, read as clients read it, holds the same message as the answer that did not stream. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ClientMessage,
  readChat,
  readCompletion,
  readMessages,
} from '../../test/client-readers.ts';
import { assertGolden } from '../../test/golden.ts';
import { GatewayError } from '../model/error.ts';
import type { Finish, Part } from '../model/part.ts';
import { AnswerFold } from './answer.ts';
import { anthropicMessages } from './anthropic-messages.ts';
import { openaiChat } from './openai-chat.ts';
import { openaiCompletions } from './openai-completions.ts';
import type { Ask, Opening, Wire } from './wire.ts';

const OPENING: Opening = { id: 'id-1', createdS: 1_700_000_000, model: 'demo', promptTokens: 40 };
const USAGE = { promptTokens: 40, outputTokens: 12, cachedTokens: 32 };

const text = (said: string): Part => ({ kind: 'text', text: said, tokens: 1 });
const thought = (said: string): Part => ({ kind: 'reasoning', text: said, tokens: 1 });
const call = (index: number, name: string): Part => ({
  kind: 'toolCall',
  index,
  id: `call_${index}`,
  name,
});
const args = (index: number, said: string): Part => ({
  kind: 'toolArguments',
  index,
  text: said,
  tokens: 1,
});
const done = (finish: Finish): Part => ({ kind: 'done', finish, usage: USAGE });
const STOP = done({ kind: 'stop' });

const ANSWERS: Record<string, Part[]> = {
  text: [text('Hel'), text(''), text('lo'), STOP],
  nothing: [STOP],
  length: [text('cut'), done({ kind: 'length' })],
  stopSequence: [text('one\n'), done({ kind: 'stopSequence', sequence: '\n\nHuman:' })],
  reasoning: [thought('hm, '), thought('yes'), text('Yes.'), STOP],
  onlyReasoning: [thought('hm'), done({ kind: 'length' })],
  call: [text('I look.'), call(0, 'ls'), args(0, '{"path"'), args(0, ':"."}'), STOP],
  bareCall: [call(0, 'now'), STOP],
  calls: [
    thought('both'),
    call(0, 'ls'),
    args(0, '{"path":"a"}'),
    call(1, 'ls'),
    args(1, '{"path":"b","深":{"x":[1,null]}}'),
    done({ kind: 'toolCalls' }),
  ],
  unicode: [text('naïve 😀'), text('漢字\u2028\u0000"\\\n\r\n'), text('data: x\n\nevent: y'), STOP],
};

for (const [name, parts] of Object.entries(ANSWERS)) {
  test(`${name}: stream and whole answer are the same message on every wire`, () => {
    const chat = readChat(streamed(openaiChat, parts));
    assert.deepEqual(chat, chatOf(whole(openaiChat, parts)));
    assert.equal(chat.usage?.prompt_tokens_details?.cached_tokens, 32);
    const messages = readMessages(streamed(anthropicMessages, parts));
    assert.deepEqual(messages, messageOf(whole(anthropicMessages, parts)));
    const plain = parts.filter(({ kind }) => kind === 'text' || kind === 'done');
    const { choices, usage } = whole(openaiCompletions, plain) as {
      choices: { text: string; finish_reason: string; stop_reason: string | null }[];
      usage: unknown;
    };
    const { text: said, finish_reason, stop_reason } = choices[0];
    const expected = { text: said, finish_reason, stop_reason, usage };
    assert.deepEqual(readCompletion(streamed(openaiCompletions, plain)), expected);
  });
}

test('a call that was cut: stream and whole answer hold as much of its input', () => {
  const parts = [call(0, 'ls'), args(0, '{"path": "a", "depth": 1'), done({ kind: 'length' })];
  const input = (body: { content: unknown[] }) => (body.content[0] as { input: unknown }).input;
  assert.deepEqual(input(whole(anthropicMessages, parts) as ClientMessage), { path: 'a' });
  const sent = streamed(anthropicMessages, parts);
  assert.match(sent, /"partial_json":"\{\\"path\\": \\"a\\", \\"depth\\": 1"/);
});

test('thinking that is not to be shown travels in its signature, streamed and not', () => {
  const sealed = { thinking: { type: 'adaptive', display: 'omitted' } };
  const parts = ANSWERS.reasoning;
  const message = readMessages(streamed(anthropicMessages, parts, sealed));
  assert.deepEqual(message, messageOf(whole(anthropicMessages, parts, sealed)));
  const messages = [{ role: 'user', content: 'x' }, message];
  const { prompt } = askOf(anthropicMessages, { messages });
  const answer = prompt.kind === 'chat' ? prompt.chat.messages[1] : undefined;
  assert.ok(answer?.role === 'assistant');
  assert.equal(answer.reasoning, 'hm, yes');
  assert.doesNotMatch(streamed(anthropicMessages, parts, sealed), /hm, |thinking_delta/);
});

test('tokens of reasoning are told in each wire’s own field', () => {
  const usage = { ...USAGE, reasoningTokens: 7 };
  const parts: Part[] = [thought('hm'), { kind: 'done', finish: { kind: 'stop' }, usage }];
  const chat = readChat(streamed(openaiChat, parts)).usage as Record<string, unknown>;
  assert.deepEqual(chat.completion_tokens_details, { reasoning_tokens: 7 });
  const messages = readMessages(streamed(anthropicMessages, parts)).usage as unknown;
  assert.deepEqual((messages as Record<string, unknown>).output_tokens_details, {
    thinking_tokens: 7,
  });
});

test('each wire says how an answer ended in its own words', () => {
  const chat = (name: string) => readChat(streamed(openaiChat, ANSWERS[name])).finish_reason;
  const messages = (name: string) => readMessages(streamed(anthropicMessages, ANSWERS[name]));
  assert.deepEqual(['text', 'length', 'stopSequence', 'call', 'calls'].map(chat), [
    'stop',
    'length',
    'stop',
    'tool_calls',
    'tool_calls',
  ]);
  assert.deepEqual(
    ['text', 'length', 'stopSequence', 'call', 'calls'].map((name) => messages(name).stop_reason),
    ['end_turn', 'max_tokens', 'stop_sequence', 'tool_use', 'tool_use'],
  );
  assert.equal(messages('stopSequence').stop_sequence, '\n\nHuman:');
});

test('an error after text ends the stream as its clients know it, and fails the whole answer', () => {
  const error = new GatewayError('engine_lost', 'The engine broke off.');
  const parts: Part[] = [text('Hel'), { kind: 'error', error }];
  const chat = streamed(openaiChat, parts);
  assert.match(
    chat,
    /data: \{"error":\{"message":"The engine broke off\.".*\n\ndata: \[DONE\]\n\n$/,
  );
  const messages = streamed(anthropicMessages, parts);
  assert.match(
    messages,
    /\nevent: error\ndata: \{"type":"error","error":\{"type":"api_error",.*\n\n$/,
  );
  assert.ok(!messages.includes('message_stop'), 'what broke off does not look finished');
  const fold = new AnswerFold();
  for (const part of parts) fold.add(part);
  assert.equal(fold.error, error);
  assert.equal(fold.answer(undefined), undefined);
});

test('usage comes where it was asked for, and says nothing of the cache where the engine did not', () => {
  const silent: Part = {
    kind: 'done',
    finish: { kind: 'stop' },
    usage: { promptTokens: 9, outputTokens: 2, cachedTokens: undefined },
  };
  const chat = readChat(streamed(openaiChat, [text('x'), silent]));
  assert.deepEqual(chat.usage, { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 });
  const unasked = streamed(openaiChat, [text('x'), silent], { stream_options: null });
  assert.equal(readChat(unasked).usage, undefined);
  assert.ok(unasked.endsWith('data: [DONE]\n\n'));
  const messages = readMessages(streamed(anthropicMessages, [text('x'), silent]));
  assert.equal(messages.usage.input_tokens, 9);
  assert.equal(messages.usage.cache_read_input_tokens, 0);
});

test('the extension field travels with the last part, a sign of life at any time', () => {
  const extras = { worker_id: 'w', timing: { ttft_ms: 1 } };
  for (const wire of [openaiChat, anthropicMessages, openaiCompletions]) {
    const ask = askOf(wire);
    const framer = wire.framer(ask, OPENING);
    const stream =
      framer.open() +
      framer.keepAlive() +
      framer.part(text('x')) +
      framer.keepAlive() +
      framer.part(STOP, extras);
    const holders = stream.split('\n\n').filter((event) => event.includes('"nvext"'));
    assert.equal(holders.length, 1, wire.name);
    assert.match(holders[0], /"nvext":\{"worker_id":"w","timing":\{"ttft_ms":1\}\}/);
    const plain = wire.framer(ask, OPENING);
    const without = plain.open() + plain.part(text('x')) + plain.part(STOP);
    const read =
      wire === openaiChat ? readChat : wire === anthropicMessages ? readMessages : readCompletion;
    assert.deepEqual(read(stream), read(without), `${wire.name}: signs of life add nothing`);
  }
});

test('two whole streams, as text', () => {
  assertGolden('wire/chat-stream.txt', streamed(openaiChat, ANSWERS.calls));
  assertGolden('wire/messages-stream.txt', streamed(anthropicMessages, ANSWERS.calls));
});

function askOf(wire: Wire, changes: Record<string, unknown> = {}): Ask {
  return wire.parse({
    model: 'demo',
    max_tokens: 100,
    ...(wire === openaiCompletions
      ? { prompt: 'x' }
      : { messages: [{ role: 'user', content: 'x' }] }),
    stream: true,
    stream_options: { include_usage: true },
    ...changes,
  });
}

function streamed(wire: Wire, parts: readonly Part[], changes?: Record<string, unknown>): string {
  const framer = wire.framer(askOf(wire, changes), OPENING);
  return framer.open() + parts.map((part) => framer.part(part)).join('');
}

function whole(wire: Wire, parts: readonly Part[], changes?: Record<string, unknown>): unknown {
  const fold = new AnswerFold();
  for (const part of parts) fold.add(part);
  const answer = fold.answer(undefined);
  assert.ok(answer);
  return wire.whole(askOf(wire, changes), OPENING, answer);
}

/** A whole chat completion in the shape that the reader of streams gives. */
function chatOf(body: unknown) {
  const { choices, usage } = body as {
    choices: {
      message: {
        role: string;
        content: string | null;
        reasoning_content?: string;
        tool_calls?: unknown[];
      };
      finish_reason: string;
    }[];
    usage: unknown;
  };
  const { message, finish_reason } = choices[0];
  return {
    role: message.role,
    content: message.content ?? '',
    reasoning: message.reasoning_content ?? '',
    toolCalls: message.tool_calls ?? [],
    finish_reason,
    usage,
  };
}

function messageOf(body: unknown): ClientMessage {
  const { type, role, content, stop_reason, stop_sequence, usage } = body as ClientMessage & {
    type: string;
  };
  assert.equal(type, 'message');
  return { role, content, stop_reason, stop_sequence, usage };
}
