import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFormat, streamed } from './check-format.test.ts';

const BEGIN = '<｜tool▁calls▁begin｜>';
const END = '<｜tool▁calls▁end｜>';
const CALL = '<｜tool▁call▁begin｜>';
const CALL_END = '<｜tool▁call▁end｜>';
const SEP = '<｜tool▁sep｜>';
const V3 = `${CALL}function${SEP}get_weather\n\`\`\`json\n{"city": "Rome"}\n\`\`\`${CALL_END}`;
const V31 = `${CALL}get_weather${SEP}{"city": "Rome"}${CALL_END}`;
const ROME = ['call get_weather #0', '{"city": "Rome"}'];
const ATOMS = [
  ...[BEGIN, END, CALL, CALL_END, SEP, '```json\n', '```', 'function', 'f', '{"a": 1}', '{"a', '}'],
  ...[`${BEGIN}${CALL}f${SEP}`, '<｜tool▁', '<think>', '</think>'],
];

checkFormat(
  { toolCalls: 'deepseek_v3', reasoning: 'deepseek_r1' },
  [
    {
      name: 'V3: text and two calls',
      text: `I look.${BEGIN}${V3}\n${V3}${END}`,
      parts: ['text I look.', ...ROME, 'call get_weather #1', '{"city": "Rome"}'],
    },
    {
      name: 'R1: reasoning that the prompt opened',
      isOpen: true,
      text: `Hm.\n</think>\n\n${BEGIN}${V3}${END}`,
      parts: ['reasoning Hm.', ...ROME],
    },
    {
      name: 'reasoning that a call ends',
      isOpen: true,
      text: `Hm.\n${BEGIN}${V3}${END}`,
      parts: ['reasoning Hm.', ...ROME],
    },
    {
      name: 'no arguments',
      text: `${BEGIN}${CALL}function${SEP}f\n\`\`\`json\n\`\`\`${CALL_END}${END}`,
      parts: ['call f #0', '{}'],
    },
  ],
  ATOMS,
);

checkFormat(
  { toolCalls: 'deepseek_v31', reasoning: 'none' },
  [
    {
      name: 'V3.1: text and two calls',
      text: `I look.${BEGIN}${V31}${CALL}f${SEP}{}${CALL_END}${END}`,
      parts: ['text I look.', ...ROME, 'call f #1', '{}'],
    },
    {
      name: 'a section without its marker',
      text: `${V31}${END} done`,
      parts: [...ROME, 'text  done'],
    },
    {
      name: 'no arguments',
      text: `${BEGIN}${CALL}f${SEP}${CALL_END}${END}`,
      parts: ['call f #0', '{}'],
    },
    {
      name: 'two sections',
      text: `${BEGIN}${V31}${END}\nand\n${BEGIN}${V31}${END}`,
      parts: [...ROME, 'text \nand\n', 'call get_weather #1', '{"city": "Rome"}'],
    },
    {
      name: 'a broken call behind a whole one',
      text: `${BEGIN}${V31}${CALL}f{}${CALL_END}${END}`,
      parts: [...ROME, `text ${CALL}f{}${CALL_END}`],
    },
    {
      name: 'arguments that break',
      text: `${BEGIN}${CALL}f${SEP}{"a": nul}${CALL_END}${END}`,
      parts: ['call f #0', '{"a": nul', `text }${CALL_END}`],
    },
    {
      name: 'arguments cut off',
      text: `${BEGIN}${CALL}f${SEP}{"a": [1, `,
      parts: ['call f #0', '{"a": [1, '],
    },
    ...[
      `${BEGIN}`,
      `${BEGIN}${END}`,
      `${BEGIN}f${CALL_END}`,
      `${BEGIN}${CALL}f${SEP}`,
      `${BEGIN}${CALL}f${SEP}[1]${CALL_END}`,
      `${BEGIN}${CALL}function${SEP}f\n{}${CALL_END}`,
      `${CALL}two words${SEP}{}`,
    ].map((text) => ({ name: 'a malformed call', text: `a${text}`, parts: [`text a${text}`] })),
  ],
  ATOMS,
);

test('a call leaves while it comes', () => {
  const v3 = [
    BEGIN,
    CALL,
    'function',
    SEP,
    'f',
    '\n```json\n',
    '{"a',
    '": 1',
    '}\n',
    '```',
    CALL_END,
  ];
  assert.deepEqual(streamed({ toolCalls: 'deepseek_v3', reasoning: 'none' }, v3), [
    ...[[], [], [], [], [], [], ['call f #0', '{"a'], ['": 1'], ['}'], [], [], []],
  ]);
  const v31 = [BEGIN + CALL, 'f', SEP, '{', '"a": 1', '}', CALL_END, END];
  assert.deepEqual(streamed({ toolCalls: 'deepseek_v31', reasoning: 'none' }, v31), [
    ...[[], [], [], ['call f #0', '{'], ['"a": 1'], ['}'], [], [], []],
  ]);
});
