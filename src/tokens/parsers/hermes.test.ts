import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFormat, parse, shown, streamed } from './check-format.test.ts';

const QWEN3 = { toolCalls: 'hermes', reasoning: 'qwen3' };
const HERMES = { toolCalls: 'hermes', reasoning: 'none' };
const CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1.0}}\n</tool_call>';
const F = ['call f #0', '{"a": 1.0}'];
const ATOMS = [
  ...['<think>', '</think>', '<tool_call>', '</tool_call>', '\n', '{"name":"f","arguments":{'],
  ...['}}', '{"arguments":{"a":[1,-2.5e3,true,null]},"name":"f"}', ',"id":"x"', ',"x":1'],
];

checkFormat(
  QWEN3,
  [
    { name: 'plain text', text: 'Hello <b>', parts: ['text Hello <b>'] },
    { name: 'nothing', text: '', parts: [] },
    {
      name: 'reasoning, text, calls: the breaks between them belong to the markers',
      text: `<think>\nhm\n\n</think>\n\nSure.\n${CALL}\n${CALL}`,
      parts: ['reasoning hm\n', 'text Sure.', ...F, 'call f #1', '{"a": 1.0}'],
    },
    {
      name: 'more breaks than a template writes',
      text: `<think>\n\na\n</think>\n\n\nb\n\n${CALL}\n`,
      parts: ['reasoning \na', 'text \nb\n', ...F],
    },
    { name: 'empty reasoning', text: '<think>\n\n</think>\n\nx', parts: ['text x'] },
    { name: 'reasoning alone', text: '<think>\nabc</think>', parts: ['reasoning abc'] },
    { name: 'reasoning cut short', text: '<think>abc\n</thi', parts: ['reasoning abc\n</thi'] },
    { name: 'a later <think>', text: 'a <think>b</think>', parts: ['text a <think>b</think>'] },
    {
      name: 'reasoning that the prompt opened',
      isOpen: true,
      text: '\nhm <tool_call> <think>\n</think>\n\nx',
      parts: ['reasoning hm <tool_call> <think>', 'text x'],
    },
    {
      name: 'reasoning that the prompt opened, and the model once more',
      isOpen: true,
      text: '<think>\na</think>b',
      parts: ['reasoning a', 'text b'],
    },
  ],
  ATOMS,
);

checkFormat(
  HERMES,
  [
    { name: 'a model that does not think', text: '<think>a', parts: ['text <think>a'] },
    {
      name: 'members in another order, markers inside of strings',
      text: '<tool_call>{"arguments":{"a":"</tool_call>{\\""},"name":"g"}</tool_call>',
      parts: ['call g #0', '{"a":"</tool_call>{\\""}'],
    },
    { name: 'a call without its end marker', text: CALL.slice(0, -5), parts: F },
    { name: 'text after a call', text: `${CALL}\nmore`, parts: [...F, 'text \nmore'] },
    { name: 'blanks after a call', text: `${CALL}\n \n`, parts: F },
    {
      name: 'members that say nothing',
      text: '<tool_call>{"id": 7, "type": "function", "name": "f", "arguments": {}, "id": [1]}',
      parts: ['call f #0', '{}'],
    },
    {
      name: 'the last brace missing',
      text: `<tool_call>\n{"name": "f", "arguments": {"a": 1.0}\n</tool_call>\n${CALL}`,
      parts: [...F, 'call f #1', '{"a": 1.0}'],
    },
    {
      name: 'text where the end marker should be',
      text: '<tool_call>{"name": "f", "arguments": {"a": 1.0}} x</tool_call>',
      parts: [...F, 'text  x</tool_call>'],
    },
    ...[
      ['{"a": tru', '}}\n</tool_call>'],
      ['{"a": "x', '\ny"}}\n</tool_call>'],
      ['{"a": 1.', '}}</tool_call>'],
      ['{"a": "\\', 'q"}}</tool_call>'],
      ['{"a": 1 ', '2}}</tool_call>'],
      ['{', "'a': 1}}</tool_call>"],
      ['{"a"', ', 1}}</tool_call>'],
      ['{"a": 0', '1}}</tool_call>'],
    ].map(([before, wrong]) => ({
      name: 'arguments that break: what has left is the beginning of JSON, the rest text',
      text: `<tool_call>{"name": "f", "arguments": ${before}${wrong}`,
      parts: ['call f #0', before, `text ${wrong}`],
    })),
    {
      name: 'arguments cut off',
      text: '<tool_call>\n{"name": "f", "arguments": {"a": "b',
      parts: ['call f #0', '{"a": "b'],
    },
    ...[
      '<tool_call>\n{"name": "f"}\n</tool_call>',
      '<tool_call>\n{"name": 1, "arguments": {}}\n</tool_call>',
      '<tool_call>\n{"name": "f", "arguments": []}\n</tool_call>',
      '<tool_call>\n{"arguments": {"a": tru}, "name": "f"}\n</tool_call>',
      '<tool_call>\n{"city": "x", "name": "f", "arguments": {}}\n</tool_call>',
      '<tool_call>\nf(1)\n</tool_call>',
      '<tool_call>\n{"name": "f", "argum',
      '<tool_call>\n{"name": "f", "arguments": ',
      '<tool_call>',
      '\n<tool_ca',
    ].map((text) => ({ name: 'a malformed call', text: `a\n${text}`, parts: [`text a\n${text}`] })),
    {
      name: 'a whole call after a broken one',
      text: `<tool_call>{"x" ${CALL}`,
      parts: ['text <tool_call>{"x" ', ...F],
    },
    {
      name: 'deep nesting',
      text: `<tool_call>{"name":"f","arguments":{"a":${'['.repeat(600)}`,
      parts: ['call f #0', `{"a":${'['.repeat(499)}`, `text ${'['.repeat(101)}`],
    },
  ],
  ATOMS,
);

test('text leaves at once, but for what could be a marker', () => {
  assert.deepEqual(streamed(QWEN3, ['Hi', ' there', '\n', 'you <', 'tool_', 'x']), [
    ...[['text Hi'], ['text  there'], [], ['text \nyou '], [], ['text <tool_x'], []],
  ]);
});

test('a call leaves while it comes', () => {
  const chunks = [
    '<tool_call>{"na',
    'me": "f", "arguments": ',
    '{"a',
    '": "b',
    '"}',
    '}</tool_call>',
  ];
  assert.deepEqual(streamed(HERMES, chunks), [
    ...[[], [], ['call f #0', '{"a'], ['": "b'], ['"}'], [], []],
  ]);
});

test('one kind of reasoning differs from the other in its line breaks', () => {
  const text = '<think>\na\n</think>\n\nb';
  const parts = (reasoning: string) => shown(parse({ toolCalls: 'none', reasoning }, [text]));
  assert.deepEqual(parts('qwen3'), ['reasoning a', 'text b']);
  assert.deepEqual(parts('kimi_k2'), ['reasoning \na\n', 'text \n\nb']);
  assert.deepEqual(parts('mistral'), [`text ${text}`]);
  assert.deepEqual(
    shown(parse({ toolCalls: 'none', reasoning: 'mistral' }, ['[THINK]a[/THINK]b'])),
    ['reasoning a', 'text b'],
  );
});
