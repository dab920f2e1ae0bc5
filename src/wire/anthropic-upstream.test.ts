import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Chat, Content, Message } from '../model/request.ts';
import { type Block, messagesFields } from './anthropic-upstream.ts';

interface Turn {
  role: string;
  content: Block[];
}

const text = fc
  .constantFrom('', ' ', 'a', 'words of it')
  .map((said): Content[] => [{ kind: 'text', text: said }]);
const message: fc.Arbitrary<Message> = fc.oneof(
  text.map((content): Message => ({ role: 'system', content })),
  text.map((content): Message => ({ role: 'user', content })),
  fc.tuple(text, fc.nat(2)).map(
    ([content, calls]): Message => ({
      role: 'assistant',
      content,
      reasoning: undefined,
      toolCalls: Array.from({ length: calls }, (_, i) => ({
        id: `call:${i}`,
        name: 'f',
        argumentsJson: i === 0 ? '{"a":1}' : 'no json',
      })),
    }),
  ),
  text.map((content): Message => ({ role: 'tool', content, toolCallId: 'call:0', isError: true })),
);

test('whatever was said: turns alternate from the user’s on, results stand first, four marks at most', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 12 }), fc.boolean(), (messages, hasTools) => {
      const fields = fieldsOf({ messages, tools: hasTools ? [TOOL] : [] });
      const turns = fields.messages as Turn[];
      assert.ok(turns.length > 0);
      for (const [i, { role, content }] of turns.entries()) {
        assert.equal(role, i % 2 === 0 ? 'user' : 'assistant');
        assert.ok(content.length > 0);
        const kinds = content.map(({ type }) => type === 'tool_result');
        assert.deepEqual(kinds, [...kinds].sort().reverse());
        for (const block of content) {
          if (block.type === 'text') assert.notEqual(String(block.text).trim(), '');
          if (block.type === 'tool_use') assert.match(String(block.id), /^[\w-]+$/);
        }
      }
      assert.ok((JSON.stringify(fields).match(/"cache_control"/g)?.length ?? 0) <= 4);
    }),
    { numRuns: 300 },
  );
});

test('marks: behind tools, instructions, the user’s turn before and the last', () => {
  const said = (role: 'user' | 'assistant' | 'system', words: string): Message => {
    const content: Content[] = [{ kind: 'text', text: words }];
    if (role !== 'assistant') return { role, content };
    return { role, content, reasoning: undefined, toolCalls: [] };
  };
  const messages = [
    said('system', 'be brief'),
    said('user', 'one'),
    said('assistant', 'two'),
    said('user', 'three'),
    said('assistant', 'four'),
    said('user', 'five'),
    said('system', 'it is late'),
  ];
  const fields = fieldsOf({ messages, tools: [{ ...TOOL, name: 'g' }, TOOL] });
  const marked = [
    fields.tools,
    fields.system,
    ...(fields.messages as Turn[]).map(({ content }) => content),
  ]
    .flatMap((blocks) => blocks as Block[])
    .filter(({ cache_control: mark }) => mark !== undefined)
    .map(({ name, text: words }) => name ?? words);
  const reminder = '<system-reminder>\nit is late\n</system-reminder>';
  assert.deepEqual(marked, ['f', 'be brief', 'three', reminder]);
});

test('a forced call goes without thinking, and no budget is as large as the answer', () => {
  const thinking = (more: Partial<Chat>, outputTokensMax = 4096) =>
    fieldsOf({ thinking: true, tools: [TOOL], ...more }, { style: 'budget', outputTokensMax })
      .thinking;
  assert.deepEqual(thinking({}), { type: 'enabled', budget_tokens: 2048 });
  assert.equal(thinking({ toolChoice: { kind: 'named', name: 'f' } }), undefined);
  assert.equal(thinking({ thinking: false }), undefined);
  assert.equal(thinking({}, 1024), undefined);
});

const TOOL = { name: 'f', description: undefined, parameters: { type: 'object' } };

function fieldsOf(
  changes: Partial<Chat>,
  given: { style?: 'budget' | 'adaptive'; outputTokensMax?: number } = {},
): Block {
  const chat: Chat = {
    model: 'm',
    messages: [{ role: 'user', content: [{ kind: 'text', text: 'Hi' }] }],
    tools: [],
    toolChoice: { kind: 'auto' },
    thinking: undefined,
    ...changes,
  };
  return messagesFields(chat, {
    outputTokensMax: given.outputTokensMax ?? 4096,
    thinking: given.style ?? 'adaptive',
    thoughts: () => undefined,
    oneCall: false,
  });
}
