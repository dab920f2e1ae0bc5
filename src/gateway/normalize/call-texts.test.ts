import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Chat, ToolCall } from '../../model/request.ts';
import { CallTexts } from './call-texts.ts';

const WROTE = '{"path": "a \\u00e9.ts",  "depth": 2.0}';
const SENT = JSON.stringify(JSON.parse(WROTE));

test('a call that comes back rewritten is as the model wrote it, for whoever it was written', () => {
  const texts = new CallTexts(10_000);
  texts.keep('ada', call('c1', WROTE));
  assert.deepEqual(argumentsOf(texts.restored(chatOf(call('c1', SENT)), 'ada')), [WROTE]);
  for (const [scope, other] of [
    ['bob', call('c1', SENT)],
    ['ada', call('c2', SENT)],
    ['ada', call('c1', '{"path":"b"}')],
    ['ada', call('c1', WROTE)],
  ] as const) {
    const chat = chatOf(other);
    assert.equal(texts.restored(chat, scope), chat, 'nothing is changed, not even copied');
  }
});

test('what is no JSON, or is written as clients write it, is not remembered', () => {
  const texts = new CallTexts(10_000);
  texts.keep('ada', call('c1', SENT));
  texts.keep('ada', call('c2', '{"path": "cut'));
  const chat = chatOf(call('c1', SENT), call('c2', '{"path": "cut'));
  assert.equal(texts.restored(chat, 'ada'), chat);
});

test('what was used longest ago is forgotten first, within the bound', () => {
  const size = 'ada'.length + 1 + 'c0'.length + 1 + SENT.length + WROTE.length;
  const texts = new CallTexts(3 * size);
  for (const id of ['c0', 'c1', 'c2']) texts.keep('ada', call(id, WROTE));
  texts.restored(chatOf(call('c0', SENT)), 'ada');
  texts.keep('ada', call('c3', WROTE));
  const known = ['c0', 'c1', 'c2', 'c3'].filter((id) => {
    const chat = chatOf(call(id, SENT));
    return texts.restored(chat, 'ada') !== chat;
  });
  assert.deepEqual(known, ['c0', 'c2', 'c3']);
  texts.keep('ada', call('c4', `{"x": "${'y'.repeat(9 * size)}"}`));
  const chat = chatOf(call('c3', SENT));
  assert.equal(texts.restored(chat, 'ada'), chat, 'one that is too large leaves no room');
});

function call(id: string, argumentsJson: string): ToolCall {
  return { id, name: 'ls', argumentsJson };
}

function chatOf(...toolCalls: ToolCall[]): Chat {
  return {
    model: 'm',
    messages: [
      { role: 'user', content: [] },
      { role: 'assistant', content: [], reasoning: undefined, toolCalls },
    ],
    tools: [],
    toolChoice: { kind: 'auto' },
    thinking: undefined,
  };
}

function argumentsOf({ messages }: Chat): string[] {
  return messages.flatMap((message) =>
    message.role === 'assistant' ? message.toolCalls.map((it) => it.argumentsJson) : [],
  );
}
