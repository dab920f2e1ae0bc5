import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Chat, Content, Message } from '../model/request.ts';
import { textOf } from '../model/request.ts';
import { renderChat } from './render.ts';
import { renderFormOf } from './render-form.ts';
import { Template } from './template/template.ts';
import { fittingTurns, type TurnForm } from './turn-form.ts';

const GOLDENS = new URL('../../test/golden/templates/', import.meta.url);
const NOW = () => new Date(2026, 0, 31);

test('what the public templates take of turns', () => {
  const found = new Map<string, string[]>();
  for (const name of publicTemplates()) {
    const { system, ...others } = renderFormOf(golden(name)).turns;
    const form = [system, ...Object.entries(others).flatMap(([key, is]) => (is ? [key] : []))];
    const same = found.get(form.join(' ')) ?? [];
    found.set(form.join(' '), [...same, name.replace('llama.cpp/', '')]);
  }
  const takes = (name: string) => [...found].find(([, names]) => names.includes(name))?.[0];
  assert.equal(takes('qwen3'), 'anywhere');
  assert.equal(takes('openai-gpt-oss-120b'), 'first', 'it would drop later ones');
  assert.equal(takes('Qwen3.5-4B'), 'first', 'it refuses later ones');
  assert.equal(takes('deepseek-ai-DeepSeek-V3.1'), 'first', 'it would gather them at the front');
  assert.equal(takes('google-gemma-2-2b-it'), 'never mergesRuns');
  assert.equal(
    takes('mistralai-Mistral-Nemo-Instruct-2407'),
    'first mergesRuns mergesAfterTools shortCallIds',
  );
});

/** As Claude Code, a client that resumes after a cut, and one whose calls were named elsewhere. */
const HARD: Message[] = [
  said('system', 'Rule one.'),
  said('system', 'Rule two.'),
  said('user', 'First question.'),
  said('system', 'The date is today.'),
  said('user', 'Second question.'),
  { role: 'assistant', content: text('Half an'), reasoning: undefined, toolCalls: [] },
  {
    role: 'assistant',
    content: text('answer.'),
    reasoning: undefined,
    toolCalls: [{ id: 'toolu_01AbCdEfGhIj', name: 'look', argumentsJson: '{"at":"sea"}' }],
  },
  { role: 'tool', content: text('Blue.'), toolCallId: 'toolu_01AbCdEfGhIj', isError: false },
  said('user', 'Third question.'),
  said('system', 'A reminder.'),
];
/** In this order; where a template has instructions first, it still has them first. */
const WORDS = ['First', 'The date', 'Second', 'Half an', 'Blue.', 'Third', 'A reminder'];
const MAY_LACK = new Set(['Half an', 'Blue.']);

test('conversations that templates refuse or reorder are still written, each word in its place', () => {
  const cannot = new Set([
    'google-gemma-2-2b-it', // has no tools
    'NousResearch-Hermes-3-Llama-3.1-8B-tool_use', // cannot write most schemas
    'llama-cpp-deepseek-r1', // cannot write tools
  ]);
  for (const name of publicTemplates()) {
    if (cannot.has(name.replace('llama.cpp/', ''))) continue;
    const template = golden(name);
    const prompt = written(template, HARD);
    // Some write no results of tools, or no words beside a call: then none are asked for here.
    const wanted = WORDS.filter((word) => !MAY_LACK.has(word) || prompt.includes(word));
    let from = 0;
    for (const word of wanted) {
      const at = prompt.indexOf(word, from);
      assert.ok(at >= 0, `${name}: ${word} is not behind what came before it\n${prompt}`);
      from = at + word.length;
    }
    // It writes instructions before the last question only, and none where no question is last.
    if (name.endsWith('Mistral-Nemo-Instruct-2407')) continue;
    assert.ok(prompt.includes('Rule one.') && prompt.includes('Rule two.'), name);
    const grown = written(template, [...HARD.slice(0, 5)], false);
    assert.ok(prompt.startsWith(grown.trimEnd()), `${name}: what came first stays as it was`);
  }
});

test('turns that fit are not touched; others are merged without losing anything', () => {
  const free: TurnForm = form({});
  assert.deepEqual(fittingTurns(HARD, free), HARD);
  const strict = form({ system: 'first', mergesRuns: true, mergesAfterTools: true });
  const turns = fittingTurns(HARD, strict);
  assert.deepEqual(
    turns.map(({ role }) => role),
    ['system', 'user', 'assistant', 'tool'],
  );
  const of = (messages: readonly Message[]) => messages.map(({ content }) => textOf(content));
  const mark = /<\/?system-reminder>\n?/g;
  assert.equal(of(turns).join('\n').replace(mark, ''), `${of(HARD).join('\n')}\n`);
});

test('ids of calls from elsewhere become the same nine characters in call and result', () => {
  const ids = (messages: readonly Message[]) =>
    fittingTurns(messages, form({ shortCallIds: true })).flatMap((message) => {
      if (message.role === 'tool') return [message.toolCallId];
      return message.role === 'assistant' ? message.toolCalls.map(({ id }) => id) : [];
    });
  const [call, result] = ids(HARD);
  assert.match(call, /^[a-z0-9]{9}$/);
  assert.equal(result, call);
  const named = Array.from({ length: 5_000 }, (_, i): Message => {
    return { role: 'tool', content: [], toolCallId: `toolu_${i}`, isError: false };
  });
  assert.equal(new Set(ids(named)).size, named.length);
  const own: Message = { role: 'tool', content: [], toolCallId: 'aB3dE6gH9', isError: false };
  assert.deepEqual(ids([own]), ['aB3dE6gH9']);
});

function publicTemplates(): string[] {
  return ['', 'llama.cpp/'].flatMap((folder) =>
    readdirSync(new URL(`./${folder}`, GOLDENS))
      .filter((file) => file.endsWith('.jinja'))
      .map((file) => folder + file.slice(0, -'.jinja'.length)),
  );
}

function golden(name: string): Template {
  return new Template(readFileSync(new URL(`${name}.jinja`, GOLDENS), 'utf8'), NOW);
}

function written(template: Template, messages: Message[], opens = true): string {
  const chat: Chat = {
    model: 'any',
    messages,
    tools: [{ name: 'look', description: 'Looks.', parameters: undefined }],
    toolChoice: { kind: 'auto' },
    thinking: undefined,
    generationPrompt: opens,
  };
  return renderChat(template, chat, { bos_token: '', eos_token: '', form: renderFormOf(template) });
}

function form(more: Partial<TurnForm>): TurnForm {
  const free = { mergesRuns: false, mergesAfterTools: false, shortCallIds: false };
  return { system: 'anywhere', ...free, ...more };
}

function said(role: 'system' | 'user', words: string): Message {
  return { role, content: text(words) };
}

function text(words: string): Content[] {
  return [{ kind: 'text', text: words }];
}
