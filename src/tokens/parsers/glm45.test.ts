import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFormat, streamed } from './check-format.test.ts';

const GLM = { toolCalls: 'glm45', reasoning: 'none' };
const WEATHER =
  '<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>\n' +
  '<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>';
const ROME = ['call get_weather #0', '{"city": "Rome", "days": 3}'];

checkFormat(
  { toolCalls: 'glm45', reasoning: 'glm45' },
  [
    {
      name: 'reasoning, text and a call, as GLM 4.5 writes them',
      text: `\n<think>Weather is wanted.</think>\nI look.\n${WEATHER}`,
      parts: ['reasoning Weather is wanted.', 'text I look.', ...ROME],
    },
    {
      name: 'as GLM 4.7 writes it, behind a prompt that opens reasoning',
      isOpen: true,
      text: `hm</think>${WEATHER.replaceAll('\n', '')}`,
      parts: ['reasoning hm', ...ROME],
    },
  ],
  ['<think>', '</think>', '<tool_call>', '<arg_key>', 'f', '</tool_call>'],
);

checkFormat(
  GLM,
  [
    {
      name: 'two calls, one without arguments',
      text: `${WEATHER}\n<tool_call>f\n</tool_call>`,
      parts: [...ROME, 'call f #1', '{}'],
    },
    {
      name: 'no arguments, no breaks',
      text: '<tool_call>f</tool_call>',
      parts: ['call f #0', '{}'],
    },
    {
      name: 'a string keeps its blanks and tags, what is declared nowhere is what it reads as',
      text:
        '<tool_call>write\n<arg_key>content</arg_key>\n<arg_value>\n <b>"x"</b>\n</arg_value>\n' +
        '<arg_key>mode</arg_key>\n<arg_value>{"a": [1, 2.50]}</arg_value>\n' +
        '<arg_key>who</arg_key>\n<arg_value>me, "you"</arg_value>\n</tool_call>',
      parts: [
        'call write #0',
        '{"content": "\\n <b>\\"x\\"</b>\\n", "mode": {"a": [1, 2.50]}, "who": "me, \\"you\\""}',
      ],
    },
    {
      name: 'a value cut off',
      text: WEATHER.slice(0, WEATHER.indexOf('me</arg')),
      parts: ['call get_weather #0', '{"city": "Ro'],
    },
    {
      name: 'a key without a value',
      text: '<tool_call>f\n<arg_key>a</arg_key>\n</tool_call>',
      parts: ['call f #0', '{', 'text \n<arg_key>a</arg_key>\n</tool_call>'.replace('\n', '')],
    },
    ...[
      'Use <tool_call> to call a tool.',
      '<tool_call>{"name": "f", "arguments": {}}</tool_call>',
      '<tool_call></tool_call>',
      '<tool_call>f\ng</tool_call>',
      '<tool_call>f\n<arg_k',
    ].map((text) => ({ name: 'a malformed call', text, parts: [`text ${text}`] })),
  ],
  [
    ...['<tool_call>', '</tool_call>', '<arg_key>', '</arg_key>', '<arg_value>', '</arg_value>'],
    ...['f', 'get_weather', 'city', 'days', '\n', '1', '\ud83d'],
    '<tool_call>get_weather\n<arg_key>city</arg_key><arg_value>',
  ],
);

test('a string leaves while it comes', () => {
  const chunks = [
    '<tool_call>write\n',
    '<arg_key>',
    'path</arg_key>\n<arg_value>',
    '/a',
    '/b<',
    '/arg',
  ];
  assert.deepEqual(streamed(GLM, chunks), [
    ...[[], ['call write #0', '{'], ['"path": "'], ['/a'], ['/b'], [], ['</arg']],
  ]);
});
