/** From control tokens to calls: what a decoder must let through for a parser to see it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Chat } from '../../model/request.ts';
import { ModelTokens } from '../model-tokens.ts';
import { toyVocabulary } from '../toy-vocabulary.test.ts';
import { TOOLS } from './check-format.test.ts';

const CONTROL = [
  ...['[TOOL_CALLS]', '[ARGS]', '<|python_tag|>', '<|channel|>', '<|message|>', '<|call|>'],
  ...['<|start|>', '<|end|>'],
];

test('a call written with control tokens is read', () => {
  const cases: [template: string, text: string, id: string][] = [
    ['[TOOL_CALLS]', '[TOOL_CALLS]f[ARGS]{}', 'call00000'],
    ['<|python_tag|>', '<|python_tag|>{"name": "f", "parameters": {}}', 'call_0'],
    ['<|channel|><|message|>', '<|channel|>commentary to=functions.f<|message|>{}', 'call_0'],
  ];
  for (const [template, text, id] of cases) {
    const tokens = tokensOf(`{{ '' }}{# ${template} #}`);
    const parser = tokens.parser(CHAT);
    const decoder = tokens.decoder();
    const parts = [...tokens.encode(text)].flatMap((it) => parser.push(decoder.push(it), 1));
    parts.push(...parser.end());
    const calls = parts.filter(({ kind }) => kind === 'toolCall');
    assert.deepEqual(calls, [{ kind: 'toolCall', index: 0, id, name: 'f' }], text);
    assert.ok(!parts.some((part) => part.kind === 'text' && part.text !== ''), text);
  }
});

test('markers of other formats stay nothing, and so do those that end an answer', () => {
  const tokens = tokensOf("{{ '' }}{# <|channel|><|message|> #}");
  const decoder = tokens.decoder();
  const ids = tokens.encode('[TOOL_CALLS]a<|end|><|call|><|im_start|>');
  assert.equal([...ids].map((id) => decoder.push(id)).join(''), 'a<|end|>');
});

test('ids of calls that the model names itself are taken once', () => {
  const tokens = tokensOf("{{ '' }}{# <|tool_calls_section_begin|> #}");
  const call = '<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}<|tool_call_end|>';
  const parser = tokens.parser(CHAT);
  const parts = parser.push(`<|tool_calls_section_begin|>${call}${call}`, 1);
  const ids = parts.flatMap((part) => (part.kind === 'toolCall' ? [part.id] : []));
  assert.deepEqual(ids, ['functions.f:0', 'call_0']);
});

const CHAT: Chat = {
  ...{ model: 'm', messages: [], tools: TOOLS, toolChoice: { kind: 'auto' } },
  thinking: undefined,
};

function tokensOf(template: string): ModelTokens {
  const plain = toyVocabulary({ template });
  const tokens = [...plain.tokens, ...CONTROL];
  const kinds = [...plain.kinds, ...CONTROL.map(() => 'control' as const)];
  const endTokens = [...plain.endTokens, tokens.indexOf('<|call|>')];
  const vocabulary = { ...plain, tokens, kinds, endTokens };
  const settings = { model: 'm', fingerprint: 'f', blockTokens: 16, now: () => new Date(0) };
  const built = ModelTokens.build({ vocabulary, ...settings });
  assert.ok(built.kind === 'exact');
  return built.tokens;
}
