import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { Chat, Message, ToolCall } from '../../model/request.ts';
import { ModelTokens } from '../model-tokens.ts';
import { toyVocabulary } from '../toy-vocabulary.test.ts';
import { TOOLS } from './check-format.test.ts';
import { dialectOf, markersOf, opensReasoning } from './dialect.ts';

const FOLDER = new URL('../../../test/golden/templates/llama.cpp/', import.meta.url);
const TEMPLATES = readdirSync(FOLDER).filter((file) => file.endsWith('.jinja'));

/** What templates of the wild are taken for; all others have calls of a kind we do not read. */
const DIALECTS: Record<string, [calls: string, reasoning: string | undefined]> = {
  'Bielik-11B-v3.0-Instruct': ['hermes', 'qwen3'],
  'GLM-4.6': ['glm45', 'qwen3'],
  'GLM-4.7-Flash': ['glm45', 'qwen3'],
  'LFM2-8B-A1B': ['pythonic', undefined],
  'LFM2.5-8B-A1B': ['pythonic', 'qwen3'],
  'MiMo-VL': ['hermes', undefined],
  'Mistral-Small-3.2-24B-Instruct-2506': ['mistral', undefined],
  'NVIDIA-Nemotron-3-Nano-30B-A3B-BF16': ['qwen3_coder', 'qwen3'],
  'NousResearch-Hermes-3-Llama-3.1-8B-tool_use': ['hermes', undefined],
  'Qwen-QwQ-32B': ['hermes', 'qwen3'],
  'Qwen-Qwen2.5-7B-Instruct': ['hermes', undefined],
  'Qwen3-Coder': ['qwen3_coder', undefined],
  'Qwen3.5-4B': ['qwen3_coder', 'qwen3'],
  'Reka-Edge': ['hermes', 'qwen3'],
  'Spark2.5': ['glm45', 'deepseek_v3'],
  'StepFun3.5-Flash': ['qwen3_coder', 'qwen3'],
  'deepseek-ai-DeepSeek-R1-Distill-Llama-8B': ['deepseek_v3', 'qwen3'],
  'deepseek-ai-DeepSeek-R1-Distill-Qwen-32B': ['deepseek_v3', 'qwen3'],
  'deepseek-ai-DeepSeek-V3.1': ['deepseek_v3', 'qwen3'],
  'ibm-granite-granite-4.0': ['hermes', undefined],
  'ibm-granite-granite-4.1': ['hermes', undefined],
  'inclusionai-ling-3.0-flash': ['glm45', 'qwen3'],
  'llama-cpp-deepseek-r1': ['deepseek_v3', 'qwen3'],
  'meta-llama-Llama-3.1-8B-Instruct': ['llama3_json', undefined],
  'meta-llama-Llama-3.2-3B-Instruct': ['llama3_json', undefined],
  'mistralai-Ministral-3-14B-Reasoning-2512': ['mistral', 'mistral'],
  'mistralai-Mistral-Nemo-Instruct-2407': ['mistral', undefined],
  'moonshotai-Kimi-K2': ['kimi_k2', undefined],
  'openai-gpt-oss-120b': ['openai', undefined],
  'poolside-Laguna-S-2.1': ['glm45', 'deepseek_v3'],
  'poolside-Laguna-XS-2.1': ['glm45', 'qwen3'],
  'poolside-Laguna-XS.2': ['glm45', 'qwen3'],
};

/** Templates whose history does not show what an answer looks like. */
const NOT_WRITTEN: Record<string, string> = {
  'LFM2-8B-A1B': 'leaves calls out',
  'NousResearch-Hermes-3-Llama-3.1-8B-tool_use': 'looks into a view of a dict',
  'Qwen-QwQ-32B': 'opens reasoning in the prompt, leaves it out of the history',
  'deepseek-ai-DeepSeek-R1-Distill-Llama-8B': 'the same',
  'deepseek-ai-DeepSeek-R1-Distill-Qwen-32B': 'the same',
  'llama-cpp-deepseek-r1': 'writes a generator as JSON, which Python cannot either',
  'poolside-Laguna-XS-2.1': 'closes reasoning in the prompt, opens it in the history',
  'poolside-Laguna-XS.2': 'the same',
};

test('templates tell what their models write', () => {
  const found: Record<string, unknown> = {};
  for (const file of TEMPLATES) {
    const { calls, reasoning } = dialectOf(read(file));
    if (calls !== undefined) found[nameOf(file)] = [calls.names[0], reasoning?.names[0]];
  }
  assert.deepEqual(found, DIALECTS);
});

test('calls that a template writes into the history are read from an answer', () => {
  for (const name of Object.keys(DIALECTS)) {
    if (name in NOT_WRITTEN) continue;
    assert.equal(unreadable(read(`${name}.jinja`), name), undefined, name);
  }
});

test('names choose formats, whatever the template says', () => {
  const { calls, reasoning } = dialectOf('<think>', { toolCalls: 'glm45', reasoning: 'none' });
  assert.equal(calls?.names[0], 'glm45');
  assert.equal(reasoning, undefined);
  assert.throws(() => dialectOf('', { toolCalls: 'qwen' }), /^RangeError: .* qwen; .* hermes, /);
  assert.throws(() => dialectOf('', { reasoning: 'deepseek' }), /deepseek_r1/);
});

test('a prompt tells whether reasoning is open', () => {
  const qwen = dialectOf('', { reasoning: 'qwen3' });
  const r1 = dialectOf('', { reasoning: 'deepseek_r1' });
  const mistral = dialectOf('', { reasoning: 'mistral' });
  const prompts = ['a', 'a<think>\n', 'a<think>\n\n</think>\n\n', 'a[THINK]'];
  const opened = (dialect: ReturnType<typeof dialectOf>) =>
    prompts.map((prompt) => opensReasoning(dialect, prompt));
  assert.deepEqual(opened(qwen), [false, true, false, false]);
  assert.deepEqual(opened(r1), [true, true, false, true]);
  assert.deepEqual(opened(mistral), [false, false, false, true]);
  assert.deepEqual(opened(dialectOf('')), [false, false, false, false]);
  assert.deepEqual([...markersOf(mistral)], ['[THINK]', '[/THINK]']);
});

const CALLS: ToolCall[] = [
  { id: 'abcDEF123', name: 'get_weather', argumentsJson: '{"city": "Ro\\"me", "days": 2}' },
  { id: 'abcDEF124', name: 'write', argumentsJson: '{"path": "/a b", "content": "x\\n<y>\\n"}' },
];
/** How turns end; what comes behind is not of the answer. */
const TURN_END = new RegExp(
  [
    ...['<\\|im_end\\|>', '<\\|eot_id\\|>', '<\\|call\\|>', '<｜end▁of▁sentence｜>', '<sep>'],
    ...['<\\|role_end\\|>', '</assistant>', '<\\|end_of_text\\|>'],
  ].join('|'),
);

/** Why no calls, or others, are read from what the template makes of some. */
function unreadable(template: string, name: string): string | undefined {
  const [endToken] = toyVocabulary().endTokens;
  const vocabulary = toyVocabulary({ template, beginToken: endToken, endToken });
  const built = ModelTokens.build({ ...{ vocabulary, model: name }, ...SETTINGS });
  if (built.kind !== 'exact') return built.kind;
  const { tokens } = built;
  const chat = chatOf([]);
  const prompt = tokens.render(chat);
  const given = CALLS.slice(0, name.includes('Llama-3') || name.includes('gpt-oss') ? 1 : 2);
  const after = tokens.render({ ...chatOf(given), generationPrompt: false });
  if (!after.startsWith(prompt)) return 'history is written otherwise than the prompt';
  const answer = after.slice(prompt.length).split(TURN_END)[0];
  const parser = tokens.parser(chat);
  const parts = [...parser.push(answer, 1), ...parser.end()];
  const read = parts.flatMap((part) => (part.kind === 'toolCall' ? [{ ...part, text: '' }] : []));
  for (const part of parts) {
    if (part.kind === 'toolArguments') read[part.index].text += part.text;
    else if (part.kind === 'text' && part.text.trim() !== '') return `text ${part.text}`;
    else if (part.kind === 'reasoning' && part.text.trim() !== 'Hm.') return part.text;
  }
  const calls = read.map((call) => [call.name, JSON.parse(call.text)]);
  const expected = given.map((call) => [call.name, JSON.parse(call.argumentsJson)]);
  return isDeepStrictEqual(calls, expected) ? undefined : `other calls: ${answer}`;
}

const SETTINGS = { fingerprint: '', blockTokens: 16, now: () => new Date(0) };

function chatOf(toolCalls: ToolCall[]): Chat {
  const messages: Message[] = [{ role: 'user', content: [{ kind: 'text', text: 'x' }] }];
  if (toolCalls.length > 0) {
    messages.push({ role: 'assistant', content: [], reasoning: 'Hm.', toolCalls });
  }
  const [toolChoice, thinking] = [{ kind: 'auto' } as const, undefined];
  return { model: 'm', messages, tools: TOOLS, toolChoice, thinking };
}

function nameOf(file: string): string {
  return file.slice(0, -'.jinja'.length);
}

function read(file: string): string {
  return readFileSync(new URL(file, FOLDER), 'utf8');
}
