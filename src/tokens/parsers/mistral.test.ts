import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFormat, streamed } from './check-format.test.ts';
import { MISTRAL } from './mistral.ts';

checkFormat(
  { toolCalls: 'mistral', reasoning: 'none' },
  [
    {
      name: 'a list of calls',
      text:
        '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Rome"}, "id": "123456789"},' +
        ' {"name": "f", "arguments": {}}]',
      parts: ['call get_weather #0', '{"city": "Rome"}', 'call f #1', '{}'],
    },
    {
      name: 'a marker for each call, behind text',
      text: 'I look.[TOOL_CALLS]get_weather[ARGS]{"city": "Rome"}[TOOL_CALLS]f[ARGS]{}',
      parts: ['text I look.', 'call get_weather #0', '{"city": "Rome"}', 'call f #1', '{}'],
    },
    {
      name: 'ids of the model',
      text: '[TOOL_CALLS]f[CALL_ID]abcDEF123[ARGS]{"a": 1}[TOOL_CALLS]f[CALL_ID]000000002[ARGS]{}',
      parts: ['call f abcDEF123', '{"a": 1}', 'call f 000000002', '{}'],
    },
    {
      name: 'no marker before the arguments',
      text: '[TOOL_CALLS] f {"a": "[TOOL_CALLS]"} and more',
      parts: ['call f #0', '{"a": "[TOOL_CALLS]"}', 'text  and more'],
    },
    {
      name: 'a list whose second call is none',
      text: '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": 1}]',
      parts: ['call f #0', '{}', 'text , {"name": 1}]'],
    },
    {
      name: 'a list cut off',
      text: '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "f", "arguments": {"a',
      parts: ['call f #0', '{}', 'call f #1', '{"a'],
    },
    ...[
      '[TOOL_CALLS]',
      '[TOOL_CALLS][]',
      '[TOOL_CALLS][{"name": "f"}]',
      '[TOOL_CALLS]two words[ARGS]{}',
      '[TOOL_CALLS]f[ARGS]x',
      '[TOOL_CALLS]f[CALL_ID]1[ARGS]',
      '[ARGS]{}',
    ].map((text) => ({ name: 'a malformed call', text: `a${text}`, parts: [`text a${text}`] })),
  ],
  [
    ...['[TOOL_CALLS]', '[ARGS]', '[CALL_ID]', 'f', '{"name": "f", "arguments": {}}', '{"a": 1}'],
    ...['[TOOL_', '[TOOL_CALLS][', '{"name": "f", "arguments": {"a', '[THINK]'],
  ],
);

checkFormat(
  { toolCalls: 'mistral', reasoning: 'mistral' },
  [
    {
      name: 'a call inside of reasoning is none',
      text: '[THINK]I could [TOOL_CALLS]f[ARGS]{}[/THINK][TOOL_CALLS]f[ARGS]{}',
      parts: ['reasoning I could [TOOL_CALLS]f[ARGS]{}', 'call f #0', '{}'],
    },
  ],
  ['[THINK]', '[/THINK]', '[TOOL_CALLS]', 'f', '{}'],
);

test('a call leaves while it comes', () => {
  const names = { toolCalls: 'mistral', reasoning: 'none' };
  const list = ['[TOOL_CALLS]', '[{"name": "f', '", "arguments": {"a": "', 'x', '"', '}', '}]'];
  assert.deepEqual(streamed(names, list), [
    ...[[], [], ['call f #0', '{"a": "'], ['x'], ['"'], ['}'], [], []],
  ]);
  assert.deepEqual(streamed(names, ['[TOOL_CALLS]', 'f', '[ARGS]', '{"a', '": 1}']), [
    ...[[], [], [], ['call f #0', '{"a'], ['": 1}'], []],
  ]);
});

test('ids are such as the templates take', () => {
  for (const n of [0, 7, 123456]) assert.match(MISTRAL.callId(n), /^[a-z0-9]{9}$/);
});
