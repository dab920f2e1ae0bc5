import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import { type Answer, AnswerFold } from './answer.ts';
import { openaiChat } from './openai-chat.ts';
import { openaiCompletions } from './openai-completions.ts';
import { chatFields, UpstreamReader } from './openai-upstream.ts';
import { SseReader } from './sse.ts';
import type { Wire } from './wire.ts';

const words = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 });
const json = fc.json({ maxDepth: 1 }).filter((text) => text !== '');
const usage = fc.record(
  {
    promptTokens: fc.nat(1e6),
    outputTokens: fc.nat(1e6),
    cachedTokens: fc.option(fc.nat(1e6), { nil: undefined }),
  },
  { noNullPrototype: true },
);

const answer: fc.Arbitrary<Part[]> = fc
  .record({
    before: fc.array(
      fc.oneof(
        words.map((text): Part => ({ kind: 'text', text, tokens: 1 })),
        words.map((text): Part => ({ kind: 'reasoning', text, tokens: 1 })),
      ),
      { maxLength: 6 },
    ),
    calls: fc.array(fc.tuple(words, fc.array(json, { maxLength: 3 })), { maxLength: 3 }),
    limited: fc.boolean(),
    usage,
  })
  .map(({ before, calls, limited, usage }) => [
    ...before,
    ...calls.flatMap(([name, pieces], index): Part[] => [
      { kind: 'toolCall', index, id: `id-${index}`, name },
      ...pieces.map((text): Part => ({ kind: 'toolArguments', index, text, tokens: 1 })),
    ]),
    {
      kind: 'done',
      finish: { kind: limited ? 'length' : calls.length > 0 ? 'toolCalls' : 'stop' },
      usage,
    },
  ]);

test('what our chat framer writes is read back as it was', () => {
  fc.assert(
    fc.property(answer, (parts) => {
      assert.deepEqual(folded(read(written(openaiChat, parts))), folded(parts));
    }),
    { numRuns: 300 },
  );
});

test('a completion comes back with its ids, digests and stop string', () => {
  const token = (text: string, id: number, digest: string): Part => ({
    kind: 'text',
    text,
    tokens: 1,
    ids: [id],
    engineData: { logitsDigests: [digest] },
  });
  const parts: Part[] = [
    token('Hel', 5, 'aa'),
    token('', 900, 'bb'),
    { kind: 'text', text: 'lo 😀', tokens: 3, ids: [1, 2, 3] },
    {
      kind: 'done',
      finish: { kind: 'stopSequence', sequence: '\n\n' },
      usage: { promptTokens: 4, outputTokens: 5, cachedTokens: 0 },
    },
  ];
  assert.deepEqual(read(written(openaiCompletions, parts)), parts);
});

test('an error in a stream becomes an error part and nothing after it looks like an end', () => {
  const error = new GatewayError('engine_failed', 'The GPU fell off.');
  for (const wire of [openaiChat, openaiCompletions]) {
    const parts: Part[] = [
      { kind: 'text', text: 'x', tokens: 1 },
      { kind: 'error', error },
    ];
    const [first, second, ...rest] = read(written(wire, parts));
    assert.equal(first.kind, 'text');
    assert.ok(second.kind === 'error' && second.error.code === 'engine_failed');
    assert.match(second.error.message, /The GPU fell off\./);
    assert.deepEqual(rest, []);
  }
});

test('a stream that broke off before its finish reason has no end', () => {
  const whole = written(openaiChat, [
    { kind: 'text', text: 'a', tokens: 1 },
    { kind: 'done', finish: { kind: 'stop' }, usage: NO_USAGE },
  ]);
  const events = whole.split('\n\n');
  const cut = [...events.slice(0, 2), 'data: [DONE]', ''].join('\n\n');
  assert.deepEqual(read(cut), [{ kind: 'text', text: 'a', tokens: 1 }]);
});

test('engines may leave out, or send as null, what we do not need', () => {
  const chunks = [
    { id: 'x', choices: [{ index: 0, delta: { role: 'assistant', content: '' } }], usage: null },
    { choices: [{ delta: { content: null, reasoning_content: 'hm' }, finish_reason: null }] },
    { choices: [{ delta: { content: 'a', reasoning_content: null, tool_calls: null } }] },
    { choices: [{ delta: { content: 'b' }, token_ids: null }], error: null, nvext: null },
    { choices: [{ delta: { tool_calls: [{ index: 0, function: { name: 'ls' } }] } }] },
    { choices: [{ delta: { tool_calls: [{ index: 0, function: { arguments: '{}' } }] } }] },
    { choices: [{ delta: { tool_calls: [{ index: 0, function: { arguments: null } }] } }] },
    { choices: [{ delta: {}, finish_reason: 'tool_calls', stop_reason: null }] },
    { choices: null },
    { choices: [], usage: { prompt_tokens: 7, prompt_tokens_details: null } },
    '[DONE]',
  ];
  const parts = readChunks(chunks);
  assert.deepEqual(folded(parts), {
    blocks: [
      { kind: 'reasoning', text: 'hm' },
      { kind: 'text', text: 'ab' },
      { kind: 'toolCall', id: 'call_0', name: 'ls', argumentsJson: '{}' },
    ],
    logprobs: [],
    others: [],
    finish: { kind: 'toolCalls' },
    usage: { promptTokens: 7, outputTokens: 0, cachedTokens: undefined },
    extras: undefined,
  });
});

test('newer engines call reasoning by another name, and may not say how many tokens were cached', () => {
  const parts = readChunks([
    { choices: [{ delta: { reasoning: 'hm', content: 'x' } }] },
    { choices: [{ delta: {}, finish_reason: 'stop', stop_reason: 151_645 }] },
    { choices: [], usage: { prompt_tokens: 7, prompt_tokens_details: { cached_tokens: null } } },
    '[DONE]',
  ]);
  assert.deepEqual(parts, [
    { kind: 'reasoning', text: 'hm', tokens: 1 },
    { kind: 'text', text: 'x', tokens: 1 },
    {
      kind: 'done',
      finish: { kind: 'stop' },
      usage: { promptTokens: 7, outputTokens: 0, cachedTokens: undefined },
    },
  ]);
});

test('without usage the tokens that were seen are counted', () => {
  const parts = readChunks([
    { choices: [{ text: 'abc', token_ids: [1, 2, 3] }] },
    { choices: [{ text: 'd' }] },
    { choices: [{ text: '', finish_reason: 'length' }] },
    '[DONE]',
  ]);
  const last = parts.at(-1);
  assert.ok(last?.kind === 'done');
  assert.deepEqual(last.finish, { kind: 'length' });
  assert.equal(last.usage.outputTokens, 4);
});

test('an answer that the engine itself broke off is an error, not an end', () => {
  for (const finish_reason of ['abort', 'error']) {
    const parts = readChunks([{ choices: [{ text: 'x', finish_reason }] }, '[DONE]']);
    assert.deepEqual(
      parts.map(({ kind }) => kind),
      ['text', 'error'],
    );
  }
});

test('what is no chunk is an error of the engine in our words', () => {
  for (const data of ['{"choices":', 'hello', 'null', '5', '[]', '"x"']) {
    assert.throws(
      () => new UpstreamReader(1).read(data),
      (thrown) => thrown instanceof GatewayError && thrown.code === 'engine_failed',
      data,
    );
  }
  for (const chunk of [{}, { choices: [null] }, { choices: [{ delta: null }] }]) {
    assert.deepEqual(readChunks([chunk]), [], JSON.stringify(chunk));
  }
  const orphan = [{ delta: { tool_calls: [{ function: { arguments: '{}' } }, null] } }];
  assert.deepEqual(readChunks([{ choices: orphan }]), [], 'arguments of no call');
});

test('a conversation goes to an engine as it came from a client', () => {
  const body = {
    model: 'm',
    messages: [
      { role: 'system', content: 'be brief' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'look' },
          { type: 'image_url', image_url: { url: 'data:x' } },
        ],
      },
      {
        role: 'assistant',
        content: 'I look.',
        reasoning_content: 'hm',
        tool_calls: [
          { id: 'c1', type: 'function', function: { name: 'ls', arguments: '{"b":1,"a":2}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'c1', content: 'a.txt' },
    ],
    tools: [
      {
        type: 'function',
        function: { name: 'ls', description: 'lists', parameters: { z: {}, a: {} } },
      },
    ],
    tool_choice: { type: 'function', function: { name: 'ls' } },
    chat_template_kwargs: { thinking: true, enable_thinking: true },
  };
  const { prompt } = openaiChat.parse(body);
  assert.ok(prompt.kind === 'chat');
  const { model, ...fields } = body;
  assert.equal(
    JSON.stringify({ model, ...chatFields(prompt.chat) }),
    JSON.stringify({ model, ...fields }),
  );
});

const NO_USAGE = { promptTokens: 0, outputTokens: 0, cachedTokens: undefined };

function written(wire: Wire, parts: readonly Part[]): string {
  const ask = wire.parse({
    model: 'm',
    ...(wire === openaiChat ? { messages: [{ role: 'user', content: 'x' }] } : { prompt: 'x' }),
    return_token_ids:
      wire === openaiCompletions && parts.some((p) => 'ids' in p) ? true : undefined,
    stream_options: { include_usage: true },
  });
  const framer = wire.framer(ask, { id: 'i', createdS: 1, model: 'm', promptTokens: 4 });
  const middle = parts.map((part) => framer.part(part) + framer.keepAlive());
  return framer.open() + middle.join('');
}

function read(stream: string): Part[] {
  const reader = new UpstreamReader(1);
  const events = new SseReader(1e6).push(new TextEncoder().encode(stream));
  return events.flatMap(({ data }) => reader.read(data));
}

function readChunks(chunks: readonly unknown[]): Part[] {
  const reader = new UpstreamReader(1);
  return chunks.flatMap((chunk) =>
    reader.read(typeof chunk === 'string' ? chunk : JSON.stringify(chunk)),
  );
}

function folded(parts: readonly Part[]): Answer | undefined {
  const fold = new AnswerFold();
  for (const part of parts) fold.add(part);
  return fold.answer(undefined);
}

test('who called and says that it stopped, has called; an error may stand in any shape', () => {
  const reader = new UpstreamReader(1);
  const call = { index: 0, id: 'c', function: { name: 'f', arguments: '{}' } };
  const said = [
    { choices: [{ index: 0, delta: { tool_calls: [call] }, finish_reason: null }] },
    { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
  ].flatMap((chunk) => reader.read(JSON.stringify(chunk)));
  const done = [...said, ...reader.read('[DONE]')].at(-1);
  assert.deepEqual(done?.kind === 'done' && done.finish, { kind: 'toolCalls' });
  const shapes = [
    { error: 'it broke' },
    { error: { message: 'it broke' } },
    { object: 'error', message: 'it broke', code: 500 },
  ];
  for (const shape of shapes) {
    const [part] = new UpstreamReader(1).read(JSON.stringify(shape));
    assert.ok(part.kind === 'error' && /it broke/.test(part.error.message));
  }
});
