import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Chat } from '../model/request.ts';
import { resultContent, textOf } from '../model/request.ts';
import { anthropicMessages } from './anthropic-messages.ts';
import { packReasoning } from './responses-reasoning.ts';

const BODY = { model: 'm', max_tokens: 5 };
const DATA = { type: 'base64', media_type: 'application/pdf', data: 'JVBE' };

test('documents and search results are told to the model as text, in their place', () => {
  const { messages } = read([
    {
      role: 'user',
      content: [
        { type: 'text', text: 'Compare.' },
        {
          type: 'document',
          source: { type: 'text', media_type: 'text/plain', data: 'One.\nTwo.' },
          title: 'Notes',
          context: 'Old ones.',
          citations: { enabled: true },
        },
        {
          type: 'document',
          source: { type: 'content', content: [{ type: 'text', text: 'Three.' }] },
        },
        {
          type: 'search_result',
          source: 'https://example.org/a',
          title: 'A page',
          content: [{ type: 'text', text: 'Four.' }],
        },
        { type: 'document', source: DATA, title: 'b.pdf' },
      ],
    },
  ]);
  assert.deepEqual(messages, [
    {
      role: 'user',
      content: [
        { kind: 'text', text: 'Compare.' },
        {
          kind: 'text',
          text: '<document>\n<title>Notes</title>\n<context>Old ones.</context>\nOne.\nTwo.\n</document>',
        },
        { kind: 'text', text: '<document>\nThree.\n</document>' },
        {
          kind: 'text',
          text: '<search_result>\n<source>https://example.org/a</source>\n<title>A page</title>\nFour.\n</search_result>',
        },
        { kind: 'file', url: 'data:application/pdf;base64,JVBE', name: 'b.pdf' },
      ],
    },
  ]);
});

test('a document around an image keeps both', () => {
  const source = {
    type: 'content',
    content: [
      { type: 'text', text: 'See' },
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
    ],
  };
  const [{ content }] = read([
    { role: 'user', content: [{ type: 'document', source, title: 'T' }] },
  ]).messages;
  assert.deepEqual(content, [
    { kind: 'text', text: '<document>\n<title>T</title>' },
    { kind: 'text', text: 'See' },
    { kind: 'image', url: 'data:image/png;base64,AAAA' },
    { kind: 'text', text: '</document>' },
  ]);
});

test('what would have to be fetched, or is kept elsewhere, is refused by its field', () => {
  const cases: [object, RegExp][] = [
    [{ type: 'document', source: { type: 'url', url: 'http://x' } }, /source\.url is never/],
    [{ type: 'document', source: { type: 'file', file_id: 'f' } }, /source\.file_id names/],
    [{ type: 'image', source: { type: 'file', file_id: 'f' } }, /source\.file_id names/],
    [{ type: 'document', source: { type: 'other' } }, /source\.type must be/],
  ];
  for (const [block, message] of cases) {
    assert.throws(() => read([{ role: 'user', content: [block] }]), { message });
  }
});

test('thinking comes back shown, or out of its signature; what others sealed leaves no trace', () => {
  const reasoningOf = (...blocks: object[]) => {
    const [, answer] = read([
      { role: 'user', content: 'x' },
      { role: 'assistant', content: [...blocks, { type: 'text', text: 'Yes.' }] },
    ]).messages;
    assert.ok(answer.role === 'assistant');
    assert.deepEqual(answer.content, [{ kind: 'text', text: 'Yes.' }]);
    return answer.reasoning;
  };
  const sealed = packReasoning('Łódź\n\n🌞');
  assert.equal(reasoningOf({ type: 'thinking', thinking: 'a', signature: 'b' }), 'a');
  assert.equal(reasoningOf({ type: 'thinking', thinking: 'a' }), 'a');
  assert.equal(reasoningOf({ type: 'thinking', thinking: '', signature: sealed }), 'Łódź\n\n🌞');
  assert.equal(reasoningOf({ type: 'redacted_thinking', data: sealed }), 'Łódź\n\n🌞');
  assert.equal(reasoningOf({ type: 'redacted_thinking', data: 'EqQBCkYIBxgCIkBt' }), undefined);
  assert.equal(reasoningOf({ type: 'thinking', thinking: '', signature: 'EqQBCkYI' }), undefined);
});

test('what a vendor’s own tools did is left out of an answer, its words stay', () => {
  const [, answer] = read([
    { role: 'user', content: 'x' },
    {
      role: 'assistant',
      content: [
        { type: 'server_tool_use', id: 's1', name: 'web_search', input: { query: 'q' } },
        { type: 'web_search_tool_result', tool_use_id: 's1', content: [] },
        { type: 'text', text: 'Found.', citations: [] },
      ],
    },
  ]).messages;
  assert.deepEqual(answer, {
    role: 'assistant',
    content: [{ kind: 'text', text: 'Found.' }],
    reasoning: undefined,
    toolCalls: [],
  });
});

test('a result that is an error says so to the model, once', () => {
  const said = (content: unknown, is_error: boolean) => {
    const block = { type: 'tool_result', tool_use_id: 'a', content, is_error };
    const [message] = read([{ role: 'user', content: [block] }]).messages;
    assert.ok(message.role === 'tool');
    return textOf(resultContent(message));
  };
  assert.equal(said('no such file', true), 'Error:\nno such file');
  assert.equal(said(undefined, true), 'Error:');
  assert.equal(said('no such file', false), 'no such file');
  for (const own of ['Error: no', 'error', '<tool_use_error>Gone.</tool_use_error>']) {
    assert.equal(said(own, true), own);
  }
});

function read(messages: object[]): Chat {
  const { prompt } = anthropicMessages.parse({ ...BODY, messages });
  assert.ok(prompt.kind === 'chat');
  return prompt.chat;
}
