/** The longest recorded conversation of each client, over every public template. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Recorded, recorded } from '../../test/recorded.ts';
import type { Chat } from '../model/request.ts';
import { anthropicMessages } from '../wire/anthropic-messages.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import { renderChat } from './render.ts';
import { renderFormOf } from './render-form.ts';
import { Template } from './template/template.ts';

const GOLDENS = new URL('../../test/golden/templates/llama.cpp/', import.meta.url);
const WIRES = { '/v1/messages': anthropicMessages, '/v1/chat/completions': openaiChat };

/** What these cannot write, transformers cannot either. */
const CANNOT: Record<string, RegExp> = {
  'google-gemma-2-2b-it.jinja': /roles must alternate/, // It has no tools.
  'llama-cpp-deepseek-r1.jinja': /cannot be written as JSON/,
  'NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja': /goes too far/,
};

test('every client’s conversation can be written for every model that has tools', () => {
  const chats = longest().map(({ client, path, body }) => {
    const { prompt } = WIRES[path as keyof typeof WIRES].parse(body);
    assert.ok(prompt.kind === 'chat');
    return { client, chat: prompt.chat };
  });
  assert.ok(chats.length >= 6, `${chats.length} clients`);
  let written = 0;
  for (const file of readdirSync(GOLDENS).filter((name) => name.endsWith('.jinja'))) {
    const template = new Template(readFileSync(new URL(file, GOLDENS), 'utf8'), () => new Date(0));
    const form = renderFormOf(template);
    for (const { client, chat } of chats) {
      try {
        const prompt = renderChat(template, chat, { bos_token: '', eos_token: '', form });
        assert.ok(prompt.includes(lastWords(chat)), `${file}: the last words of ${client}`);
        written++;
      } catch (thrown) {
        assert.match((thrown as Error).message, CANNOT[file] ?? /^$/, `${file}: ${client}`);
      }
    }
  }
  console.log(`  ${written} conversations written`);
});

function longest(): Recorded[] {
  const found = new Map<string, Recorded>();
  const size = ({ body }: Recorded) => (body.messages as unknown[]).length;
  for (const request of recorded(...Object.keys(WIRES))) {
    const known = found.get(request.client);
    if (known === undefined || size(request) > size(known)) found.set(request.client, request);
  }
  return [...found.values()];
}

/** Of the user: some of the models have no way to write a tool's result. */
function lastWords({ messages }: Chat): string {
  const last = messages[messages.length - 1];
  const part = last.role === 'user' ? last.content.at(-1) : undefined;
  return part?.kind === 'text' ? part.text.trim().slice(-40) : '';
}
