/** Against what Python's jinja2 rendered: see test/golden/templates/README.md. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Chat, Message, Tool } from '../../model/request.ts';
import { templateInput } from '../render.ts';
import { renderFormOf } from '../render-form.ts';
import { readJson } from './json.ts';
import { Template } from './template.ts';
import { TemplateError, TemplateRefusal } from './template-error.ts';

const FOLDER = new URL('../../../test/golden/templates/', import.meta.url);
const NOW = () => new Date(2026, 2, 4, 15, 6, 7);
const NAMES = { bos_token: '<bos>', eos_token: '<eos>' };

const chats = JSON.parse(read('conversations.json'));
const inputs = inputsOf(readJson(read('inputs.json')) as Inputs);

for (const folder of ['', 'llama.cpp/']) {
  for (const file of readdirSync(new URL(`./${folder}`, FOLDER))) {
    if (!file.endsWith('.jinja')) continue;
    test(`the template ${folder}${file} renders as in Python`, () => {
      const template = new Template(read(folder + file), NOW);
      const rendered = inputs.map(([name, input]): Case => [name, () => template.render(input)]);
      check(rendered, read(`${folder}${file.slice(0, -'.jinja'.length)}.golden`));
    });
  }
}

for (const name of ['qwen3', 'smollm2', 'demo']) {
  test(`conversations become what the template ${name} reads`, () => {
    const template = new Template(read(`${name}.jinja`), NOW);
    // As transformers hands arguments over.
    const form = { ...renderFormOf(template), argumentsAsText: false };
    const settings = { ...NAMES, form };
    const rendered = chats.conversations.map((it: Conversation): Case => {
      const input = templateInput(chatOf(it, chats.tools), settings);
      return [it.name, () => template.render(input)];
    });
    check(rendered, read(`${name}.chats.golden`));
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

/** Read as tool arguments are, so that numbers stay what they were. */
type Inputs = Map<'tools' | 'cases', never> & {
  get(key: 'tools'): Map<string, unknown>;
  get(key: 'cases'): Map<string, unknown>[];
};

/** As `raw_inputs` in scripts/goldens-templates.py. */
function inputsOf(file: Inputs): [name: string, input: Record<string, unknown>][] {
  return file.get('cases').map((given) => {
    const { name, tools, ...rest } = Object.fromEntries(given);
    const offered = (tools as string[] | undefined)?.map((it) => file.get('tools').get(it));
    const input = { documents: null, add_generation_prompt: true, ...NAMES, ...rest };
    return [name as string, { ...input, tools: offered ?? null }];
  });
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

/** A template's own refusal must have its words; what else Python raises for must throw. */
function check(cases: Case[], golden: string): void {
  const wanted = blocksOf(golden);
  assert.deepEqual(
    cases.map(([name]) => name),
    [...wanted.keys()],
  );
  for (const [name, render, source = ''] of cases) {
    const { raises, text } = wanted.get(name) as Block;
    if (raises) assert.throws(render, refusing(text), `${name}: ${source}`);
    else assert.equal(render(), text, `${name}: ${source}`);
  }
}

function refusing(error: string): (thrown: unknown) => boolean {
  const own = /^TemplateError: ([\s\S]*)$/.exec(error)?.[1];
  return (thrown) => {
    assert.ok(thrown instanceof TemplateError, String(thrown));
    assert.equal(thrown instanceof TemplateRefusal ? thrown.message : undefined, own);
    return true;
  };
}

interface Block {
  raises: boolean;
  text: string;
}

/** `=== name`, then lines behind `|`, or behind `!` what Python raised. */
function blocksOf(golden: string): Map<string, Block> {
  const blocks = new Map<string, Block>();
  for (const block of golden.split(/^=== /m).slice(1)) {
    const [name, ...lines] = block.slice(0, -1).split('\n');
    const text = lines
      .map((line) => line.slice(1))
      .join('\n')
      .replace(/\\u([0-9a-f]{4})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
    blocks.set(name, { raises: lines[0].startsWith('!'), text });
  }
  return blocks;
}

function read(name: string): string {
  return readFileSync(new URL(name, FOLDER), 'utf8');
}
