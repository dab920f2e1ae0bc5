import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readChat } from '../../test/client-readers.ts';
import type { Part } from '../model/part.ts';
import type { Chat } from '../model/request.ts';
import { AnswerFold } from './answer.ts';
import { openaiChat } from './openai-chat.ts';
import type { Ask } from './wire.ts';

const fn = (name: string) => ({ type: 'function', function: { name } });
const GRAMMAR = { syntax: 'lark', definition: 'start: "x"' };
const PATCH = {
  type: 'custom',
  custom: {
    name: 'apply_patch',
    description: 'Applies it.',
    format: { type: 'grammar', grammar: GRAMMAR },
  },
};
const OPENING = { id: 'i', createdS: 1, model: 'm', promptTokens: 4 };
const USAGE = { promptTokens: 4, outputTokens: 3, cachedTokens: 0 };

test('a custom tool is a function of one text to the model, and itself to the client', () => {
  const ask = parse({ tools: [PATCH, fn('ls')] });
  const [patch] = chatOf(ask).tools;
  assert.equal(patch.name, 'apply_patch');
  assert.match(patch.description ?? '', /^Applies it\.\n\nThe input follows this lark grammar:\n/);
  const parts: Part[] = [
    { kind: 'toolCall', index: 0, id: 'c0', name: 'apply_patch' },
    { kind: 'toolArguments', index: 0, text: '{"input": "*** Be', tokens: 1 },
    { kind: 'toolArguments', index: 0, text: 'gin\\n\\"x\\""}', tokens: 1 },
    { kind: 'toolCall', index: 1, id: 'c1', name: 'ls' },
    { kind: 'toolArguments', index: 1, text: '{}', tokens: 1 },
    { kind: 'done', finish: { kind: 'toolCalls' }, usage: USAGE },
  ];
  const expected = [
    { id: 'c0', type: 'custom', custom: { name: 'apply_patch', input: '*** Begin\n"x"' } },
    { id: 'c1', type: 'function', function: { name: 'ls', arguments: '{}' } },
  ];
  assert.deepEqual(callsOf(whole(ask, parts)), expected);
  assert.deepEqual(streamedCalls(ask, parts), expected);
});

test('a custom call comes back in the history as the model wrote it', () => {
  const tool_calls = [
    { id: 'c0', type: 'custom', custom: { name: 'apply_patch', input: 'a\n"b"' } },
  ];
  const messages = [
    { role: 'user', content: 'x' },
    { role: 'assistant', content: null, tool_calls },
    { role: 'tool', tool_call_id: 'c0', content: 'done' },
  ];
  const [, answer] = chatOf(parse({ messages, tools: [PATCH] })).messages;
  assert.ok(answer.role === 'assistant');
  assert.deepEqual(JSON.parse(answer.toolCalls[0].argumentsJson), { input: 'a\n"b"' });
});

test('allowed tools: those are offered, or one of those is called', () => {
  const tools = [fn('a'), fn('b'), PATCH];
  const allow = (mode: string, ...allowed: object[]) =>
    parse({
      tools,
      tool_choice: { type: 'allowed_tools', allowed_tools: { mode, tools: allowed } },
    });
  const patch = { type: 'custom', custom: { name: 'apply_patch' } };
  const names = (ask: Ask) => chatOf(ask).tools.map(({ name }) => name);
  assert.deepEqual(names(allow('auto', fn('b'), patch)), ['b', 'apply_patch']);
  const required = allow('required', fn('b'));
  assert.deepEqual(names(required), ['a', 'b', 'apply_patch']);
  assert.ok(required.shape.format?.kind === 'calls');
  assert.deepEqual(
    required.shape.format.tools.map(({ name }) => name),
    ['b'],
  );
  assert.throws(() => allow('required', fn('c')), /none of those it names/);
  assert.throws(() => allow('maybe', fn('a')), /allowed_tools\.mode must be/);
});

test('one call at a time, effort, and words for the template', () => {
  const { shape } = parse({ parallel_tool_calls: false });
  assert.equal(shape.oneCall, true);
  const chat = chatOf(
    parse({
      reasoning_effort: 'low',
      chat_template_kwargs: { enable_thinking: true, clear_thinking: false },
    }),
  );
  assert.equal(chat.effort, 'low');
  assert.equal(chat.thinking, true);
  assert.deepEqual(chat.templateArguments, { clear_thinking: false });
  const none = chatOf(parse({ reasoning_effort: 'none' }));
  assert.deepEqual([none.thinking, none.effort], [false, undefined]);
});

test('files: text is shown under its name, other bytes go on, what is kept elsewhere is refused', () => {
  const read = (file: object) => {
    const messages = [{ role: 'user', content: [{ type: 'file', file }] }];
    return chatOf(parse({ messages })).messages[0].content;
  };
  const text = Buffer.from('a\nŁ').toString('base64');
  const file_data = `data:text/plain;base64,${text}`;
  assert.deepEqual(read({ file_data, filename: 'a.txt' }), [
    { kind: 'text', text: 'a.txt:\na\nŁ' },
  ]);
  const pdf = 'data:application/pdf;base64,JVBE';
  assert.deepEqual(read({ file_data: pdf, filename: 'a.pdf' }), [
    { kind: 'file', url: pdf, name: 'a.pdf' },
  ]);
  assert.throws(() => read({ file_id: 'f' }), /file_id names a file that is not kept here/);
});

function parse(more: object): Ask {
  return openaiChat.parse({ model: 'm', messages: [{ role: 'user', content: 'x' }], ...more });
}

function chatOf({ prompt }: Ask): Chat {
  assert.ok(prompt.kind === 'chat');
  return prompt.chat;
}

function whole(ask: Ask, parts: readonly Part[]): unknown {
  const fold = new AnswerFold();
  for (const part of parts) fold.add(part);
  const answer = fold.answer(undefined);
  assert.ok(answer);
  return openaiChat.whole(ask, OPENING, answer);
}

function callsOf(body: unknown): unknown {
  return (body as { choices: { message: { tool_calls: unknown } }[] }).choices[0].message
    .tool_calls;
}

function streamedCalls(ask: Ask, parts: readonly Part[]): unknown {
  const framer = openaiChat.framer(ask, OPENING);
  return readChat(framer.open() + parts.map((part) => framer.part(part)).join('')).toolCalls;
}
