import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Chat, Message, Tool } from '../model/request.ts';
import { renderChat } from '../tokens/render.ts';
import { renderFormOf } from '../tokens/render-form.ts';
import { Template } from '../tokens/template/template.ts';
import { DEMO_TEMPLATE } from './demo-template.ts';

const template = new Template(DEMO_TEMPLATE, () => new Date(0));

function render(messages: Message[], tools: Chat['tools'] = []): string {
  const toolChoice = { kind: 'auto' } as const;
  const chat = { model: 'demo', messages, tools, toolChoice, thinking: undefined };
  return renderChat(template, chat, { form: renderFormOf(template) });
}

const says = (role: 'system' | 'user', text: string): Message => ({
  role,
  content: [{ kind: 'text', text }],
});

const tool = { name: 'look', description: 'Looks.', parameters: { type: 'object' } };

const text = fc.oneof(
  fc.constantFrom('', ' words', 'line\n', '\n\n indented', '<think>x</think>', '{"a": 1}'),
  fc.string({ unit: 'grapheme' }),
);
const content = text.map((it) => [{ kind: 'text' as const, text: it }]);
const call = fc.record({
  id: fc.constant('call_1'),
  name: fc.constantFrom('look', 'quo"te'),
  argumentsJson: fc.constantFrom('{"path": "a"}', '{}', '', 'no json'),
});
const answer: fc.Arbitrary<Message> = fc.record({
  role: fc.constant('assistant' as const),
  content,
  reasoning: fc.option(text, { nil: undefined }),
  toolCalls: fc.array(call, { maxLength: 3 }),
});
const message: fc.Arbitrary<Message> = fc.oneof(
  answer,
  fc.record({ role: fc.constantFrom('system' as const, 'user' as const), content }),
  fc.record({
    role: fc.constant('tool' as const),
    content,
    toolCallId: fc.constant('call_1'),
    isError: fc.boolean(),
  }),
);

test('a prompt is a prefix of every prompt that follows its answer', () => {
  const tools = fc.constantFrom<Tool[]>([], [tool]);
  fc.assert(
    fc.property(fc.array(message), answer, fc.array(message), tools, (before, it, later, given) => {
      const prompt = render(before, given);
      assert.ok(prompt.endsWith('<|im_start|>assistant\n'));
      assert.ok(render([...before, it, ...later], given).startsWith(prompt));
    }),
    { numRuns: 500 },
  );
});

test('turns, reasoning, calls and results are written as Qwen models know them', () => {
  const messages: Message[] = [
    says('system', 'Be brief.'),
    says('user', 'Look at a.'),
    {
      role: 'assistant',
      content: [{ kind: 'text', text: 'I look.' }],
      reasoning: 'A file.',
      toolCalls: [{ id: '1', name: 'look', argumentsJson: '{"path": "a"}' }],
    },
    { role: 'tool', content: [{ kind: 'text', text: 'one' }], toolCallId: '1', isError: false },
    { role: 'tool', content: [{ kind: 'text', text: 'two' }], toolCallId: '2', isError: false },
    says('system', 'Be briefer.'),
  ];
  const prompt = render(messages, [tool]);
  const system = prompt.slice(0, prompt.indexOf('<|im_end|>'));
  assert.ok(system.startsWith('<|im_start|>system\nBe brief.\n\n# Tools\n\n'));
  assert.ok(system.includes('\n{"type": "function", "function": {"name": "look", "description"'));
  assert.equal(
    prompt.slice(prompt.indexOf('<|im_end|>')),
    `<|im_end|>
<|im_start|>user
Look at a.<|im_end|>
<|im_start|>assistant
<think>
A file.
</think>

I look.
<tool_call>
{"name": "look", "arguments": {"path": "a"}}
</tool_call><|im_end|>
<|im_start|>user
<tool_response>
one
</tool_response>
<tool_response>
two
</tool_response><|im_end|>
<|im_start|>system
Be briefer.<|im_end|>
<|im_start|>assistant
`,
  );
});

test('without tools and system turn nothing is added', () => {
  const expected = '<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n';
  assert.equal(render([says('user', 'Hello')]), expected);
});
