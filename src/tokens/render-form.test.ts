import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Chat, Message, Tool } from '../model/request.ts';
import { renderChat } from './render.ts';
import { type RenderForm, renderFormOf } from './render-form.ts';
import { Template } from './template/template.ts';

const GOLDENS = new URL('../../test/golden/templates/', import.meta.url);
const NOW = () => new Date(2026, 0, 31);
const USUAL: RenderForm = {
  argumentsAsText: false,
  contentAsParts: false,
  emptyContentAsNull: false,
  needsParameters: false,
  needsDescription: false,
  reasoningField: 'reasoning_content',
  joinsWords: false,
  needsToolList: false,
  effortsRefused: new Set(),
  turns: { system: 'anywhere', mergesRuns: false, mergesAfterTools: false, shortCallIds: false },
};
const BARE: Tool = { name: 'bare', description: 'Does it.', parameters: undefined };
/** What a form says besides turns, which have tests of their own. */
const ofWriting = (form: RenderForm) => ({ ...form, turns: USUAL.turns });

test('arguments stay as they were written where a template takes them so', () => {
  const written: [string, boolean][] = [
    ['qwen3', true],
    ['smollm2', false],
    ['llama.cpp/meta-llama-Llama-3.1-8B-Instruct', false],
    ['llama.cpp/meetkai-functionary-medium-v3.2', true],
    ['llama.cpp/GLM-4.6', false],
    ['llama.cpp/google-gemma-4-31B-it', false],
    ['llama.cpp/mistralai-Mistral-Nemo-Instruct-2407', false],
    ['llama.cpp/mistralai-Ministral-3-14B-Reasoning-2512', true],
  ];
  for (const [name, argumentsAsText] of written) {
    assert.deepEqual(ofWriting(renderFormOf(golden(name))), { ...USUAL, argumentsAsText }, name);
  }
  const prompt = rendered(golden('qwen3'), [
    { role: 'user', content: text('Go.') },
    calling('{"path":  "a"}', ''),
  ]);
  assert.match(prompt, /"arguments": \{"path": {2}"a"\}\}/);
});

test('a template that only reads parts is given parts', () => {
  const source =
    '{% for m in messages %}<{{ m.role }}>{% for part in m.content %}' +
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}";
  const template = new Template(source, NOW);
  assert.deepEqual(renderFormOf(template), { ...USUAL, contentAsParts: true });
  const prompt = rendered(template, [
    { role: 'system', content: text('Be brief.') },
    { role: 'user', content: text('Hi', 'there') },
  ]);
  assert.equal(prompt, '<system>Be brief.<user>Hi\nthere');
});

test('a template that prints whatever it gets is given text', () => {
  const template = new Template('{% for m in messages %}{{ m.content }};{% endfor %}', NOW);
  assert.deepEqual(renderFormOf(template), USUAL);
  assert.equal(rendered(template, [{ role: 'user', content: text('Hi') }]), 'Hi;');
});

test('calls are not lost where a template wants no content beside them', () => {
  const template = golden('llama.cpp/deepseek-ai-DeepSeek-R1-Distill-Llama-8B');
  const form = { ...USUAL, argumentsAsText: true, emptyContentAsNull: true };
  assert.deepEqual(ofWriting(renderFormOf(template)), form);
  const prompt = rendered(template, [
    { role: 'user', content: text('Go.') },
    calling('{"path": "a"}', ''),
    { role: 'tool', content: text('done'), toolCallId: 'call00001', isError: false },
  ]);
  assert.match(prompt, /read\n```json\n\{"path": "a"\}\n```/);
});

test('a tool that says too little for a template gets an empty schema or description', () => {
  const chat = [{ role: 'user' as const, content: text('Go.') }];
  assert.match(rendered(golden('llama.cpp/ByteDance-Seed-OSS'), chat, [BARE]), /def bare/);
  const silent = { ...BARE, description: undefined };
  assert.match(rendered(golden('llama.cpp/Apertus-8B-Instruct'), chat, [silent]), /bare/);
  assert.doesNotMatch(rendered(golden('qwen3'), chat, [BARE]), /parameters/);
});

test('effort reaches a template in the nearest word that it takes', () => {
  const prompt = (name: string, effort: string) =>
    rendered(golden(`llama.cpp/${name}`), [{ role: 'user', content: text('Go.') }], [], { effort });
  assert.match(prompt('openai-gpt-oss-120b', 'low'), /Reasoning: low/);
  for (const [asked, taken] of [
    ['minimal', 'low'],
    ['medium', 'high'],
    ['max', 'high'],
  ]) {
    assert.equal(prompt('tencent-Hy3', asked), prompt('tencent-Hy3', taken), asked);
  }
  assert.notEqual(prompt('tencent-Hy3', 'low'), prompt('tencent-Hy3', 'high'));
  assert.match(prompt('tencent-Hy3', 'beyond all words'), /no_think/);
});

test('reasoning of earlier turns stays where the client asks for it and the template can', () => {
  const messages: Message[] = [
    { role: 'user', content: text('Go.') },
    { ...calling('{}', 'Well.'), reasoning: 'Hm, which way?' } as Message,
    { role: 'tool', content: text('done'), toolCallId: 'call00001', isError: false },
    { role: 'user', content: text('And now?') },
  ];
  const template = golden('llama.cpp/GLM-4.7-Flash');
  assert.doesNotMatch(rendered(template, messages), /which way/);
  assert.match(rendered(template, messages, [], { keepsReasoning: true }), /which way/);
  const templateArguments = { clear_thinking: false };
  assert.match(rendered(template, messages, [], { templateArguments }), /which way/);
});

test('gpt-oss keeps reasoning while it calls tools, together with what was said beside the call', () => {
  const messages: Message[] = [
    { role: 'user', content: text('Go.') },
    { ...calling('{}', 'I look.'), reasoning: 'Which way?' } as Message,
    { role: 'tool', content: text('done'), toolCallId: 'call00001', isError: false },
  ];
  const prompt = rendered(golden('llama.cpp/openai-gpt-oss-120b'), messages, [BARE]);
  assert.match(prompt, /<\|channel\|>analysis<\|message\|>Which way\?\n\nI look\.<\|end\|>/);
});

test('of images the model is told that they were there', () => {
  const image = { kind: 'image' as const, url: 'data:image/png;base64,AAAA' };
  const asked: Message[] = [{ role: 'user', content: [...text('What is this?'), image] }];
  const template = golden('qwen3');
  assert.match(rendered(template, asked), /What is this\?\n\[image: this/);
  const answered: Message[] = [
    ...asked,
    calling('{}', 'I cannot see it.'),
    { role: 'tool', content: [image], toolCallId: 'call00001', isError: true },
  ];
  const prompt = rendered(template, answered);
  assert.match(prompt, /What is this\?\n\[image: this model reads text only/);
  assert.match(prompt, /Error:\n\[image: this model/);
});

test('a template that takes nothing has the usual form', () => {
  const template = new Template("{{ raise_exception('No.') }}", NOW);
  assert.deepEqual(ofWriting(renderFormOf(template)), USUAL);
});

function golden(name: string): Template {
  return new Template(readFileSync(new URL(`${name}.jinja`, GOLDENS), 'utf8'), NOW);
}

function rendered(
  template: Template,
  messages: Message[],
  tools: Tool[] = [],
  more: Partial<Chat> = {},
): string {
  const chat: Chat = {
    ...{ model: 'any', messages, tools, toolChoice: { kind: 'auto' }, thinking: undefined },
    ...more,
  };
  return renderChat(template, chat, { bos_token: '', eos_token: '', form: renderFormOf(template) });
}

function calling(argumentsJson: string, words: string): Message {
  const toolCalls = [{ id: 'call00001', name: 'read', argumentsJson }];
  return { role: 'assistant', content: text(words), reasoning: undefined, toolCalls };
}

function text(...texts: string[]): { kind: 'text'; text: string }[] {
  return texts.map((it) => ({ kind: 'text', text: it }));
}
