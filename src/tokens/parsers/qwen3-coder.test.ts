import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFormat, streamed } from './check-format.test.ts';

const CODER = { toolCalls: 'qwen3_coder', reasoning: 'none' };
const WEATHER =
  '<tool_call>\n<function=get_weather>\n<parameter=city>\nSan "Fran"\n</parameter>\n' +
  '<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>';
const SAN_FRAN = ['call get_weather #0', '{"city": "San \\"Fran\\"", "days": 3}'];

checkFormat(
  CODER,
  [
    {
      name: 'a call behind text',
      text: `Let me see.\n\n${WEATHER}`,
      parts: ['text Let me see.', ...SAN_FRAN],
    },
    {
      name: 'two calls',
      text: `${WEATHER}\n<tool_call>\n<function=f>\n</function>\n</tool_call>`,
      parts: [...SAN_FRAN, 'call f #1', '{}'],
    },
    {
      name: 'lines, tags and blanks inside of a value',
      text:
        '<tool_call>\n<function=write>\n<parameter=path>\n/a b.html\n</parameter>\n' +
        '<parameter=content>\n\n<p>\t"é😀"\\</p>\n</function>\n\n</parameter>\n</function>\n</tool_call>',
      parts: [
        'call write #0',
        '{"path": "/a b.html", "content": "\\n<p>\\t\\"é😀\\"\\\\</p>\\n</function>\\n"}',
      ],
    },
    {
      name: 'values by their schema',
      text:
        '<tool_call>\n<function=get_weather>\n<parameter=exact>\nTrue\n</parameter>\n' +
        "<parameter=places>\n[{'a': None, 'b': (1,)}]\n</parameter>\n<parameter=any>\n1.0\n</parameter>\n" +
        '<parameter=limit>\nnull\n</parameter>\n<parameter=days>\nmany\n</parameter>\n' +
        '<parameter=city>\n5\n</parameter>\n<parameter=unknown>\nfree text\n</parameter>\n' +
        '</function>\n</tool_call>',
      parts: [
        'call get_weather #0',
        '{"exact": true, "places": [{"a": null, "b": [1]}], "any": 1.0, "limit": null, ' +
          '"days": "many", "city": "5", "unknown": "free text"}',
      ],
    },
    {
      name: 'the first marker left out, as the model is known to do',
      text: `Sure.\n${WEATHER.slice('<tool_call>\n'.length)}`,
      parts: ['text Sure.', ...SAN_FRAN],
    },
    {
      name: 'a function nobody offered, without its marker',
      text: 'Write <function=g>\n</function> for it.',
      parts: ['text Write <function=g>\n</function> for it.'],
    },
    {
      name: 'the end of the last value left out',
      text: '<tool_call>\n<function=write>\n<parameter=path>\n/a\n</function>\n</tool_call>x',
      parts: ['call write #0', '{"path": "/a"}', 'text x'],
    },
    {
      name: 'the end of the function left out',
      text: '<tool_call>\n<function=f>\n<parameter=a>\n[1]\n</parameter>\n</tool_call>',
      parts: ['call f #0', '{"a": [1]}'],
    },
    {
      name: 'everything on one line',
      text: '<tool_call><function=f><parameter=a>1</parameter></function></tool_call>',
      parts: ['call f #0', '{"a": 1}'],
    },
    {
      name: 'a string cut off',
      text: '<tool_call>\n<function=write>\n<parameter=content>\nline one\nli',
      parts: ['call write #0', '{"content": "line one\\nli'],
    },
    {
      name: 'a number cut off',
      text: '<tool_call>\n<function=get_weather>\n<parameter=days>\n3',
      parts: ['call get_weather #0', '{', 'text <parameter=days>\n3'],
    },
    {
      name: 'text among the parameters',
      text: '<tool_call>\n<function=f>\n</parameter>\n</function>\n</tool_call>',
      parts: ['text <tool_call>\n<function=f>\n</parameter>\n</function>\n</tool_call>'],
    },
    {
      name: 'text behind a parameter',
      text: '<tool_call><function=f><parameter=a>1</parameter> and </function>',
      parts: ['call f #0', '{"a": 1', 'text  and </function>'],
    },
    ...[
      '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>',
      '<tool_call>\n<function=f>{"a": 1}</function>\n</tool_call>',
      '<tool_call>\n<function=f g>\n</function>',
      '<tool_call>\n<function=f',
      '<tool_call>\n<function=f>\n<para',
      `<tool_call>\n<function=${'f'.repeat(300)}>\n</function>`,
    ].map((text) => ({ name: 'a malformed call', text: `a${text}`, parts: [`text a${text}`] })),
  ],
  [
    ...['<tool_call>', '</tool_call>', '<function=', '</function>', '<parameter=', '</parameter>'],
    ...['f', 'get_weather', 'city', 'days', '>', '\n', '1', '\ud83d', '\ude00'],
    ...['<tool_call>\n<function=get_weather>\n<parameter=city>\n', '<parameter=days>\n'],
  ],
);

test('a string leaves while it comes, anything else when it is complete', () => {
  const chunks = [
    ...['<tool_call>\n<function=write', '>\n', '<parameter=', 'path>\n/tmp', '/a', '\n', 'b'],
    ...['\n</para', 'meter>\n<parameter=x>\n[1,', '2]', '\n</parameter>', '\n</function>'],
  ];
  assert.deepEqual(streamed(CODER, chunks), [
    ...[[], [], ['call write #0', '{'], ['"path": "/tmp'], ['/a'], [], ['\\nb']],
    ...[[], ['"'], [], [', "x": [1,2]'], ['}'], []],
  ]);
});
