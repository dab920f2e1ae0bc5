import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFormat, streamed } from './check-format.test.ts';

const PYTHONIC = { toolCalls: 'pythonic', reasoning: 'none' };
const WEATHER = "get_weather(city='San Francisco', days=2)";
const SAN_FRANCISCO = ['call get_weather #0', '{"city": "San Francisco", "days": 2}'];

checkFormat(
  PYTHONIC,
  [
    { name: 'one call', text: `[${WEATHER}]`, parts: SAN_FRANCISCO },
    {
      name: 'several calls, as Llama 4 writes them',
      text: `<|python_start|>[${WEATHER},\n f()]<|python_end|>`,
      parts: [...SAN_FRANCISCO, 'call f #1', '{}'],
    },
    {
      name: 'as LFM2 writes them, behind and before text',
      text: `I look.<|tool_call_start|>[g(x=1)]<|tool_call_end|>So.`,
      parts: ['text I look.', 'call g #0', '{"x": 1}', 'text So.'],
    },
    {
      name: 'literals of all kinds',
      text: `[f(a=[1, -2.5, 1e3], b={'k': (True, None), "l": {}}, c='it\\'s ")]"', d=false, e="""x\ny""",)]`,
      parts: [
        'call f #0',
        '{"a": [1, -2.5, 1000.0], "b": {"k": [true, null], "l": {}}, "c": "it\'s \\")]\\"", ' +
          '"d": false, "e": "x\\ny"}',
      ],
    },
    {
      name: 'cut behind a call',
      text: `[${WEATHER}, f(a='x`,
      parts: [...SAN_FRANCISCO, "text , f(a='x"],
    },
    { name: 'the bracket missing', text: `[${WEATHER}`, parts: SAN_FRANCISCO },
    {
      name: 'a call that is none behind one that is',
      text: `[${WEATHER}, "x"] y`,
      parts: [...SAN_FRANCISCO, 'text , "x"] y'],
    },
    ...[
      '[1, 2, 3]',
      '[link](http://example.org)',
      '[Rome(city=1)]',
      '[f(1)]',
      '[f(a=b)]',
      '[f(a=1]',
      '[f(a="x)]',
      "[f(a='\\N{DASH}', b=01)]",
      '[',
      `So: [${WEATHER}]`,
      '<|python_start|>print(1)<|python_end|>',
      '<|python_start|>[]<|python_end|>',
    ].map((text) => ({ name: 'lists that are no calls', text, parts: [`text ${text}`] })),
  ],
  [
    ...[
      '[f(',
      'f(',
      'a=',
      "'",
      ')]',
      ', ',
      '1',
      '<|python_start|>',
      '<|python_end|>',
      '<|tool_call_',
    ],
    ...['<|tool_call_start|>[', 'g', 'True', '"""', '\\u00'],
  ],
);

test('a call leaves when it is complete', () => {
  assert.deepEqual(streamed(PYTHONIC, ['[f(', 'a=1', ')', ', f(', ')', ']']), [
    ...[[], [], ['call f #0', '{"a": 1}'], [], ['call f #1', '{}'], [], []],
  ]);
  assert.deepEqual(streamed(PYTHONIC, ['[Ro', 'me(']), [[], ['text [Rome('], []]);
});
