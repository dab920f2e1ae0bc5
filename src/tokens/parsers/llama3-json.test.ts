import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFormat, streamed } from './check-format.test.ts';

const LLAMA = { toolCalls: 'llama3_json', reasoning: 'none' };
const WEATHER = '{"name": "get_weather", "parameters": {"city": "Rome"}}';
const ROME = ['call get_weather #0', '{"city": "Rome"}'];

checkFormat(
  LLAMA,
  [
    { name: 'nothing but a call', text: WEATHER, parts: ROME },
    {
      name: 'more members, blanks before',
      text: '\n{"type": "function", "name": "f", "parameters": {}}',
      parts: ['call f #0', '{}'],
    },
    {
      name: 'several calls',
      text: `${WEATHER}; ${WEATHER}\n{"name": "f", "arguments": {}};`,
      parts: [...ROME, 'call get_weather #1', '{"city": "Rome"}', 'call f #2', '{}', 'text ;'],
    },
    {
      name: 'behind the control token any name is a call',
      text: '<|python_tag|>{"name": "g", "parameters": {"q": "x"}}; {"name": "h", "parameters": {}}',
      parts: ['call g #0', '{"q": "x"}', 'call h #1', '{}'],
    },
    {
      name: 'text before the control token',
      text: `I look.<|python_tag|>${WEATHER}`,
      parts: ['text I look.', ...ROME],
    },
    {
      name: 'a built-in tool',
      text: '<|python_tag|>brave_search.call(query="weather in Rome, \\"IT\\"")',
      parts: ['call brave_search #0', '{"query": "weather in Rome, \\"IT\\""}'],
    },
    {
      name: 'arguments cut off',
      text: '{"name": "f", "parameters": {"a": {"b',
      parts: ['call f #0', '{"a": {"b'],
    },
    ...[
      '{"name": "Anna", "parameters": {"age": 3}}',
      '{"name": "f", "age": 3}',
      '{"city": "Rome", "name": "f", "parameters": {}}',
      '{"name": "f", "parameters": ["x"]}',
      '{"na',
      `So: ${WEATHER}`,
      '<|python_tag|>import math\nprint(math.pi)',
      '<|python_tag|>f.call(x)',
      '<|python_tag|>',
    ].map((text) => ({ name: 'JSON and code that are no call', text, parts: [`text ${text}`] })),
  ],
  [
    ...['<|python_tag|>', '{"name": "f", "parameters": {', '}}', '; ', '"a": 1', 'f.call(', 'a="'],
    ...['{"name": "x"', ')', '<|python'],
  ],
);

test('what is no call leaves as soon as that is certain', () => {
  const chunks = ['{"ci', 'ty": "', 'Rome"}'];
  assert.deepEqual(streamed(LLAMA, chunks), [[], ['text {"city": "'], ['text Rome"}'], []]);
  const call = ['{"name": "f', '", "parameters": {"a', '": 1}', '}'];
  assert.deepEqual(streamed(LLAMA, call), [[], ['call f #0', '{"a'], ['": 1}'], [], []]);
});
