/** Against what Python's jinja2 rendered: see test/golden/templates/README.md. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Chat, Message, Tool } from '../../model/request.ts';
import { templateInput } from '../render.ts';
import { readJson } from './json.ts';
import { Template } from './template.ts';
import { TemplateError } from './template-error.ts';

const FOLDER = new URL('../../../test/golden/templates/', import.meta.url);
const NOW = () => new Date(2026, 2, 4, 15, 6, 7);
const SETTINGS = { bos_token: '<bos>', eos_token: '<eos>', argumentsAsText: false };

for (const name of ['qwen3', 'smollm2', 'demo']) {
  test(`the template ${name} renders as in Python`, () => {
    const template = new Template(read(`${name}.jinja`), NOW);
    const { tools, conversations } = JSON.parse(read('conversations.json'));
    const rendered = conversations.map((it: Conversation) => {
      return [it.name, () => template.render(templateInput(chatOf(it, tools), SETTINGS))];
    });
    check(rendered, read(`${name}.golden`));
  });
}

test('Jinja means what it means in Python', () => {
  const { snippets } = JSON.parse(read('snippets.json'));
  const exact = readJson(read('snippets.json')) as Map<string, Map<string, unknown>>;
  const input = Object.fromEntries(exact.get('input') as Map<string, unknown>);
  const rendered = Object.entries(snippets as Record<string, string[]>).flatMap(
    ([group, sources]) =>
      sources.map(
        (source, i): Case => [
          `${group} ${i}`,
          () => new Template(source, NOW).render(input),
          source,
        ],
      ),
  );
  check(rendered, read('snippets.golden'));
});

type Case = [name: string, render: () => string, source?: string];

interface Conversation {
  name: string;
  messages: Message[];
  tools: string[];
  thinking: boolean | null;
}

function chatOf(it: Conversation, tools: Record<string, Tool>): Chat {
  return {
    model: 'any',
    messages: it.messages.map((message) =>
      message.role === 'assistant'
        ? { ...message, reasoning: message.reasoning ?? undefined }
        : message,
    ),
    tools: it.tools.map((name) => tools[name]),
    toolChoice: { kind: 'auto' },
    thinking: it.thinking ?? undefined,
  };
}

function check(cases: Case[], golden: string): void {
  const wanted = new Map(
    golden
      .slice(0, -1)
      .split(/^=== /m)
      .slice(1)
      .map((block, i, all) => {
        const lines = (i < all.length - 1 ? block.slice(0, -1) : block).split('\n');
        return [lines[0], lines.slice(1)];
      }),
  );
  assert.equal(wanted.size, cases.length);
  for (const [name, render, source = ''] of cases) {
    const lines = wanted.get(name) ?? [];
    if (lines[0]?.startsWith('!')) {
      assert.throws(render, TemplateError, `${name}: ${source}`);
      continue;
    }
    const text = lines.map((line) => line.slice(1)).join('\n');
    const plain = text.replace(/\\u([0-9a-f]{4})/g, (_, hex) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
    assert.equal(render(), plain, `${name}: ${source}`);
  }
}

function read(name: string): string {
  return readFileSync(new URL(name, FOLDER), 'utf8');
}
