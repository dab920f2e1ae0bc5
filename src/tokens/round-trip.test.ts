/**
 * A turn's way out to a client and back: what the model wrote, taken apart, framed, sent back by the
 * client and rendered again must be what the model wrote. Else the next turn computes its context anew.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Part } from '../model/part.ts';
import type { Chat, Content, Message } from '../model/request.ts';
import { AnswerFold } from '../wire/answer.ts';
import { anthropicMessages } from '../wire/anthropic-messages.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import type { Ask, Wire } from '../wire/wire.ts';
import { AnswerParser } from './parsers/answer-parser.ts';
import { dialectOf, opensReasoning } from './parsers/dialect.ts';
import { renderChat } from './render.ts';
import { type RenderForm, renderFormOf } from './render-form.ts';
import { Template } from './template/template.ts';

const GOLDENS = new URL('../../test/golden/templates/', import.meta.url);
const NOW = () => new Date(2026, 0, 31);
const OPENING = { id: 'i', createdS: 1, model: 'm', promptTokens: 4 };
const REASONING = 'First the list.\n\nThen, perhaps, "more": 1 < 2.';
const ARGUMENTS = { path: 'src/a "b".ts', depth: 2 };
const SCHEMA = {
  type: 'object',
  properties: { path: { type: 'string' }, depth: { type: 'integer' } },
};

interface Model {
  name: string;
  source: string;
  template: Template;
  form: RenderForm;
}

/** How each client asks, and sends an answer back. */
interface Client {
  wire: Wire;
  ask(messages: readonly unknown[]): Ask;
  /** The answer as it goes into the history, and the result behind it. */
  turn(answer: unknown): unknown[];
}

const chatClient: Client = {
  wire: openaiChat,
  ask: (messages) =>
    openaiChat.parse({
      model: 'm',
      messages,
      chat_template_kwargs: { enable_thinking: true, thinking: true },
      tools: [{ type: 'function', function: { name: 'ls', parameters: SCHEMA } }],
    }),
  turn: (answer) => {
    const { message } = (answer as { choices: { message: { tool_calls: { id: string }[] } }[] })
      .choices[0];
    return [message, { role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'a.ts' }];
  },
};

const messagesClient = (display: 'omitted' | 'summarized'): Client => ({
  wire: anthropicMessages,
  ask: (messages) =>
    anthropicMessages.parse({
      model: 'm',
      max_tokens: 9,
      messages,
      thinking: { type: 'adaptive', display },
      tools: [{ name: 'ls', input_schema: SCHEMA }],
    }),
  turn: (answer) => {
    const { content } = answer as { content: { type: string; id?: string }[] };
    const tool_use_id = content.find(({ type }) => type === 'tool_use')?.id;
    const result = { type: 'tool_result', tool_use_id, content: 'a.ts' };
    return [
      { role: 'assistant', content },
      { role: 'user', content: [result] },
    ];
  },
});

const CLIENTS = [chatClient, messagesClient('summarized'), messagesClient('omitted')];

test('a turn with reasoning and a call comes back as it was written, over every template that keeps it', () => {
  const kept: string[] = [];
  for (const model of models()) {
    const wrote = writtenBy(model);
    if (wrote === undefined) continue;
    for (const { wire, ask, turn } of CLIENTS) {
      const question = { role: 'user', content: 'List.' };
      const first = ask([question]);
      const prompt = rendered(model, first);
      const answer = wholeOf(wire, first, partsOf(model, { ask: first, prompt, text: wrote }));
      const second = rendered(model, ask([question, ...turn(answer)]));
      const expected: string = prompt + wrote;
      assert.equal(second.slice(0, expected.length), expected, `${model.name} over ${wire.name}`);
    }
    kept.push(model.name);
  }
  console.log(`  reasoning and calls come back token for token in ${kept.length} templates`);
  for (const name of ['qwen3', 'GLM-4.6', 'gpt-oss-120b', 'Qwen3.5-4B', 'LFM2.5-8B']) {
    assert.ok(
      kept.some((it) => it.includes(name)),
      `${name} keeps reasoning while it calls tools`,
    );
  }
});

/** What the model writes between its prompt and the end of its turn; undefined where reasoning is lost. */
function writtenBy({ source, template, form }: Model): string | undefined {
  const { chat } = chatClient.ask([{ role: 'user', content: 'List.' }]).prompt as { chat: Chat };
  const write = (messages: Message[], more: Partial<Chat> = {}) => {
    const all = { ...chat, messages: [...chat.messages, ...messages], ...more };
    try {
      return renderChat(template, all, { bos_token: '<s>', eos_token: '</s>', form });
    } catch {
      return ''; // A model without tools, or one that cannot write these.
    }
  };
  const argumentsJson = JSON.stringify(ARGUMENTS);
  const call = { id: 'call00001', name: 'ls', argumentsJson };
  const said = (words: string): Content[] => [{ kind: 'text', text: words }];
  const answer = (more: object): Message => {
    return { role: 'assistant', content: [], reasoning: undefined, toolCalls: [], ...more };
  };
  const before = write([]);
  const after = write([
    answer({ reasoning: REASONING, toolCalls: [call] }),
    { role: 'tool', content: said('RESULT'), toolCallId: call.id, isError: false },
  ]);
  const text = after.slice(before.length, after.indexOf('RESULT'));
  const markers = dialectOf(source).calls?.markers ?? [];
  const end = Math.max(...markers.map((it) => text.lastIndexOf(it) + it.length), 0);
  return after.startsWith(before) && text.slice(0, end).includes(REASONING)
    ? text.slice(0, end)
    : undefined;
}

function partsOf(model: Model, of: { ask: Ask; prompt: string; text: string }): Part[] {
  const dialect = dialectOf(model.source);
  const { tools } = (of.ask.prompt as { chat: Chat }).chat;
  const parser = new AnswerParser({
    dialect,
    isOpen: opensReasoning(dialect, of.prompt),
    tools,
    callId: (written) => written ?? 'call00001',
  });
  const usage = { promptTokens: 1, outputTokens: 1, cachedTokens: 0 };
  return [
    ...parser.push(of.text, 1),
    ...parser.end(),
    { kind: 'done', finish: { kind: 'toolCalls' }, usage },
  ];
}

function wholeOf(wire: Wire, ask: Ask, parts: readonly Part[]): unknown {
  const fold = new AnswerFold();
  for (const part of parts) fold.add(part);
  const answer = fold.answer(undefined);
  assert.ok(answer);
  return JSON.parse(JSON.stringify(wire.whole(ask, OPENING, answer)));
}

function rendered({ template, form }: Model, { prompt }: Ask): string {
  assert.ok(prompt.kind === 'chat');
  return renderChat(template, prompt.chat, { bos_token: '<s>', eos_token: '</s>', form });
}

function models(): Model[] {
  return ['', 'llama.cpp/'].flatMap((folder) =>
    readdirSync(new URL(`./${folder}`, GOLDENS))
      .filter((file) => file.endsWith('.jinja'))
      .map((file) => {
        const source = readFileSync(new URL(folder + file, GOLDENS), 'utf8');
        const template = new Template(source, NOW);
        return { name: folder + file, source, template, form: renderFormOf(template) };
      }),
  );
}
