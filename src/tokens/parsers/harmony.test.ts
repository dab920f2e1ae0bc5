import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFormat, streamed } from './check-format.test.ts';

const HARMONY = { toolCalls: 'openai' };
const ANALYSIS = '<|channel|>analysis<|message|>I think.<|end|>';
const ASSISTANT = '<|start|>assistant';
const CALL =
  '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Rome"}';
const ROME = ['call get_weather #0', '{"city": "Rome"}'];

checkFormat(
  HARMONY,
  [
    {
      name: 'reasoning and an answer',
      text: `${ANALYSIS}${ASSISTANT}<|channel|>final<|message|>Hello!\n<|return|>`,
      parts: ['reasoning I think.', 'text Hello!\n'],
    },
    {
      name: 'a call',
      text: `${ANALYSIS}${ASSISTANT}${CALL}<|call|>`,
      parts: ['reasoning I think.', ...ROME],
    },
    {
      name: 'a call whose recipient is part of the role',
      text: ` to=functions.get_weather<|channel|>commentary json<|message|>{"city": "Rome"}`,
      parts: ROME,
    },
    {
      name: 'a call in the wrong channel, and one of a tool without its prefix',
      text: `<|channel|>analysis to=functions.f<|message|>{}<|call|>${ASSISTANT} to=write<|channel|>commentary<|message|>{"path": "a"}<|call|>`,
      parts: ['call f #0', '{}', 'call write #1', '{"path": "a"}'],
    },
    {
      name: 'a preamble before calls',
      text: `${ANALYSIS}${ASSISTANT}<|channel|>commentary<|message|>I look.<|end|>${ASSISTANT}${CALL}<|end|>${ASSISTANT}${CALL}`,
      parts: ['reasoning I think.', 'text I look.', ...ROME, ROME[0].replace('0', '1'), ROME[1]],
    },
    {
      name: 'two channels in one header: the last counts',
      text: '<|channel|>commentary to=assistant<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{"b": 1}',
      parts: ['reasoning a', 'text {"b": 1}'],
    },
    {
      name: 'no arguments',
      text: '<|channel|>commentary to=functions.f<|message|><|call|>',
      parts: ['call f #0', '{}'],
    },
    {
      name: 'arguments that are no object',
      text: '<|channel|>commentary to=functions.f <|constrain|>code<|message|>print(1)<|call|>',
      parts: ['text print(1)'],
    },
    {
      name: 'a tool nobody offered',
      text: '<|channel|>analysis to=python code<|message|>{"a": 1}<|call|>',
      parts: ['reasoning {"a": 1}'],
    },
    {
      name: 'arguments that break',
      text: '<|channel|>commentary to=functions.f<|message|>{"a": x}<|call|>',
      parts: ['call f #0', '{"a": ', 'text x}'],
    },
    { name: 'arguments cut off', text: CALL.slice(0, -3), parts: [ROME[0], '{"city": "Rom'] },
    {
      name: 'an end that is missing',
      text: `${ANALYSIS.slice(0, -7)}${ASSISTANT}<|channel|>final<|message|>a`,
      parts: ['reasoning I think.', 'text a'],
    },
    { name: 'text without a header', text: 'Hello <b>', parts: ['text Hello <b>'] },
    {
      name: 'text that begins like a header',
      text: 'assistant to=x',
      parts: ['text assistant to=x'],
    },
    {
      name: 'text behind a message',
      text: `${ANALYSIS}So.<|end|>`,
      parts: ['reasoning I think.', 'text So.'],
    },
  ],
  [
    ...['<|start|>', 'assistant', '<|channel|>', 'analysis', 'final', 'commentary', '<|message|>'],
    ...[
      ' to=functions.f',
      '<|constrain|>json',
      '<|end|>',
      '<|call|>',
      '<|return|>',
      '{"a": 1}',
      '{"a',
    ],
  ],
);

test('reasoning, text and calls leave while they come', () => {
  const header = ['<|channel|>', 'analysis', '<|message|>'];
  assert.deepEqual(streamed(HARMONY, [...header, 'I', ' think', '<|end|>', '<|start|>']), [
    ...[[], [], [], ['reasoning I'], ['reasoning  think'], [], []],
    ['text <|start|>'],
  ]);
  const call = ['<|channel|>commentary to=functions.f', ' <|constrain|>json', '<|message|>', '{"a'];
  assert.deepEqual(streamed(HARMONY, [...call, '": 1}', '<|call|>']), [
    ...[[], [], [], ['call f #0', '{"a'], ['": 1}'], [], []],
  ]);
});
