import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Chat, Message } from '../model/request.ts';
import { renderChat } from './render.ts';
import { renderFormOf } from './render-form.ts';
import { Template } from './template/template.ts';

const GOLDENS = new URL('../../test/golden/templates/', import.meta.url);
const NOW = () => new Date(2026, 0, 31);
const USUAL = { argumentsAsText: false, contentAsParts: false, emptyContentAsNull: false };

test('arguments stay as they were written where a template takes them so', () => {
  const written: [string, boolean][] = [
    ['qwen3', true],
    ['smollm2', false],
    ['llama.cpp/meta-llama-Llama-3.1-8B-Instruct', false],
    ['llama.cpp/meetkai-functionary-medium-v3.2', true],
    ['llama.cpp/GLM-4.6', false],
    ['llama.cpp/mistralai-Mistral-Nemo-Instruct-2407', false],
    ['llama.cpp/mistralai-Ministral-3-14B-Reasoning-2512', true],
  ];
  for (const [name, argumentsAsText] of written) {
    assert.deepEqual(renderFormOf(golden(name)), { ...USUAL, argumentsAsText }, name);
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
  const form = { argumentsAsText: true, contentAsParts: false, emptyContentAsNull: true };
  assert.deepEqual(renderFormOf(template), form);
  const prompt = rendered(template, [
    { role: 'user', content: text('Go.') },
    calling('{"path": "a"}', ''),
    { role: 'tool', content: text('done'), toolCallId: 'call00001', isError: false },
  ]);
  assert.match(prompt, /read\n```json\n\{"path": "a"\}\n```/);
});

test('a template that takes nothing has the usual form', () => {
  const template = new Template("{{ raise_exception('No.') }}", NOW);
  assert.deepEqual(renderFormOf(template), USUAL);
});

function golden(name: string): Template {
  return new Template(readFileSync(new URL(`${name}.jinja`, GOLDENS), 'utf8'), NOW);
}

function rendered(template: Template, messages: Message[]): string {
  const chat: Chat = {
    model: 'any',
    messages,
    tools: [],
    toolChoice: { kind: 'auto' },
    thinking: undefined,
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
