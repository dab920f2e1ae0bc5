import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Part } from '../../model/part.ts';
import { type Dialect, HermesParser } from './hermes.ts';

const QWEN3: Dialect = { thinking: 'optional', calls: 'json' };
const CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1.0}}\n</tool_call>';
const F = ['call f#0', '{"a": 1.0}'];

const CASES: { name: string; dialect?: Partial<Dialect>; text: string; parts: string[] }[] = [
  { name: 'plain text', text: 'Hello <b>', parts: ['text Hello <b>'] },
  { name: 'nothing', text: '', parts: [] },
  {
    name: 'reasoning, text, calls: the breaks between them belong to the markers',
    text: `<think>\nhm\n\n</think>\n\nSure.\n${CALL}\n${CALL}`,
    parts: ['reasoning hm\n', 'text Sure.', ...F, 'call f#1', '{"a": 1.0}'],
  },
  {
    name: 'more breaks than a template writes',
    text: `<think>\n\na\n</think>\n\n\nb\n\n${CALL}\n`,
    parts: ['reasoning \na', 'text \nb\n', ...F],
  },
  { name: 'empty reasoning', text: '<think>\n\n</think>\n\nx', parts: ['text x'] },
  { name: 'reasoning alone', text: '<think>\nabc</think>', parts: ['reasoning abc'] },
  { name: 'reasoning cut short', text: '<think>abc\n</thi', parts: ['reasoning abc\n</thi'] },
  {
    name: 'a later <think> is text',
    text: 'a <think>b</think>',
    parts: ['text a <think>b</think>'],
  },
  {
    name: 'reasoning that the prompt opened',
    dialect: { thinking: 'open' },
    text: '\nhm <tool_call> <think>\n</think>\n\nx',
    parts: ['reasoning hm <tool_call> <think>', 'text x'],
  },
  {
    name: 'a model that does not think',
    dialect: { thinking: 'none' },
    text: '<think>a</think>',
    parts: ['text <think>a</think>'],
  },
  {
    name: 'a model without calls',
    dialect: { calls: 'none' },
    text: CALL,
    parts: [`text ${CALL}`],
  },
  {
    name: 'members in another order, markers inside of strings',
    text: '<tool_call>{"arguments":{"a":"</tool_call>{\\""},"name":"g"}</tool_call>',
    parts: ['call g#0', '{"a":"</tool_call>{\\""}'],
  },
  { name: 'a call without its end marker', text: CALL.slice(0, -5), parts: F },
  { name: 'text after a call', text: `${CALL}\nmore`, parts: [...F, 'text \nmore'] },
  ...[
    '<tool_call>\n{"name": "f", "arguments": {"a": 1}\n</tool_call>',
    '<tool_call>\n{"name": "f", "arguments": {"a": "x\ny"}}\n</tool_call>',
    '<tool_call>\n{"name": "f"}\n</tool_call>',
    '<tool_call>\n{"name": 1, "arguments": {}}\n</tool_call>',
    '<tool_call>\n{"name": "f", "arguments": []}\n</tool_call>',
    '<tool_call>\n{"name": "f", "arguments": {"a": tru}}\n</tool_call>',
    '<tool_call>\nf(1)\n</tool_call>',
    '<tool_call>\n{"name": "f", "arguments": {}} x</tool_call>',
    '<tool_call>\n{"name": "f", "argum',
    '<tool_call>',
    '\n<tool_ca',
  ].map((text) => ({ name: 'a malformed call', text: `a\n${text}`, parts: [`text a\n${text}`] })),
  {
    name: 'a whole call after a broken one',
    text: `<tool_call>{"x" ${CALL}`,
    parts: ['text <tool_call>{"x" ', ...F],
  },
];

test('answers are taken apart', () => {
  for (const { name, dialect, text, parts } of CASES) {
    assert.deepEqual(shown(parse(dialect, [text])), parts, name);
  }
});

test('any cutting of an answer gives the same parts', () => {
  const answer = fc.constantFrom(...CASES);
  fc.assert(
    fc.property(
      answer,
      fc.array(fc.nat(9), { minLength: 1 }),
      ({ dialect, text, parts }, sizes) => {
        const chunks: string[] = [];
        for (let at = 0, i = 0; at < text.length; i++) {
          const size = sizes[i % sizes.length] || 1;
          chunks.push(text.slice(at, at + size));
          at += size;
        }
        assert.deepEqual(shown(parse(dialect, chunks)), parts);
      },
    ),
    { numRuns: 2000 },
  );
});

test('any cutting of any text gives the same parts, and loses no plain text', () => {
  const atom = fc.constantFrom(
    ...[
      '<think>',
      '</think>',
      '<tool_call>',
      '</tool_call>',
      '\n',
      '{"name":"f","arguments":{',
      '}}',
    ],
    ...['"', '<', 'x', '\\', ' ', '{', '}'],
  );
  fc.assert(
    fc.property(fc.array(atom, { maxLength: 12 }), fc.nat(5), (atoms, size) => {
      const text = atoms.join('');
      const chunks = text.match(new RegExp(`[^]{1,${size + 1}}`, 'g')) ?? [];
      assert.deepEqual(shown(parse({}, chunks)), shown(parse({}, [text])));
      const plain = parse({ thinking: 'none', calls: 'none' }, chunks);
      assert.deepEqual(shown(plain), text === '' ? [] : [`text ${text}`]);
    }),
    { numRuns: 3000 },
  );
});

test('text leaves at once, but for what could be a marker', () => {
  const parser = new HermesParser(QWEN3, () => 'id');
  const texts = ['Hi', ' there', '\n', 'you <', 'tool_', 'x'].map((it) =>
    shown(parser.push(it, 1)),
  );
  assert.deepEqual(texts, [
    ...[['text Hi'], ['text  there'], [], ['text \nyou '], [], ['text <tool_x']],
  ]);
});

test('tokens are counted once', () => {
  for (const { dialect, text } of CASES) {
    const parts = parse(dialect, [...text]);
    const counted = parts.reduce((sum, it) => sum + ('tokens' in it ? it.tokens : 0), 0);
    assert.ok(counted <= text.length);
    if (parts.length > 0) assert.ok(counted > 0);
  }
});

function parse(dialect: Partial<Dialect> | undefined, chunks: readonly string[]): Part[] {
  const parser = new HermesParser({ ...QWEN3, ...dialect }, () => 'id');
  return [...chunks.flatMap((it) => parser.push(it, it.length)), ...parser.end()];
}

/** Parts in short, neighbours of a kind as one. */
function shown(parts: readonly Part[]): string[] {
  const lines: string[] = [];
  let last = '';
  for (const part of parts) {
    if (part.kind === 'toolCall') lines.push(`call ${part.name}#${part.index}`);
    else if (part.kind === 'toolArguments') lines.push(part.text);
    else if (part.kind === 'text' || part.kind === 'reasoning') {
      if (last === part.kind) lines[lines.length - 1] += part.text;
      else lines.push(`${part.kind} ${part.text}`);
    }
    last = part.kind;
  }
  return lines;
}
