/**
 * Speed of text → tokens → hashes, and of a chat template.
 *
 *   STATOR_VOCABULARY=… STATOR_SHARED=… node --import tsx src/tokens/tokens.bench.ts
 *
 * STATOR_SHARED: a folder whose traces/ hold messages.jsonl.gz files; else prose is made up.
 * STATOR_VOCABULARY: a Vocabulary as JSON; else one is learnt from bytes, which flatters encoding.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Prng } from '../base/prng.ts';
import { table, thousands } from '../base/text.ts';
import type { Chat, Message } from '../model/request.ts';
import type { Vocabulary } from '../model/vocabulary.ts';
import { buildBpe } from './bpe.ts';
import { ModelTokens } from './model-tokens.ts';
import { toyVocabulary } from './toy-vocabulary.test.ts';

const RUNS = 101;
const TRACES = ['tau-bench-airline-10tasks', 'lmcache-mini-swe-agent-6'];
const QWEN3 = new URL('../../test/golden/templates/qwen3.jinja', import.meta.url);

const vocabulary: Vocabulary = {
  ...vocabularyGiven(),
  template: readFileSync(QWEN3, 'utf8'),
};
const texts = textsGiven();
const whole = texts.join('\n').slice(0, 2_000_000);
const chat = chatOf(texts);
const built = ModelTokens.build({
  vocabulary,
  model: 'bench',
  fingerprint: 'bench',
  blockTokens: 16,
  now: () => new Date(),
});
if (built.kind !== 'exact') throw new Error(built.reason);
const { tokens } = built;

const rows: (string | number)[][] = [['what', 'ms', 'of', 'rate']];
const bytes = Buffer.byteLength(whole);
const ids = tokens.encode(whole);
const unused = fresh();
const first = once(() => unused.encode(whole));
rows.push([
  'build the encoder',
  ms(median(() => fresh())),
  `${vocabulary.merges.length} merges`,
  '',
]);
rows.push(['encode, first time', ms(first), `${thousands(bytes)} B`, rate(bytes, first)]);
const warm = median(() => tokens.encode(whole));
rows.push(['encode, warm', ms(warm), `${thousands(ids.length)} ids`, rate(bytes, warm)]);
const decoding = median(() => {
  const decoder = tokens.decoder();
  for (const id of ids) decoder.push(id);
});
rows.push(['decode', ms(decoding), `${thousands(ids.length)} ids`, rate(bytes, decoding)]);
const hashing = median(() => tokens.hasher.blocks(0n, ids));
rows.push(['hash blocks of 16', ms(hashing), `${thousands(ids.length)} ids`, '']);
const prompt = tokens.render(chat);
const rendering = median(() => Buffer.byteLength(tokens.render(chat)));
rows.push(['render Qwen3', ms(rendering), `${thousands(prompt.length)} chars`, '']);
rows.push(['', '', `${chat.messages.length} messages, ${chat.tools.length} tools`, '']);
const counting = median(() => tokens.count(chat));
rows.push(['render and count', ms(counting), `${thousands(tokens.count(chat))} ids`, '']);
console.log(table(rows));

function fresh() {
  const result = buildBpe(vocabulary);
  if (result.kind === 'unsupported') throw new Error(result.reason);
  return result.bpe;
}

function once(run: () => unknown): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

function median(run: () => unknown): number {
  const times = Array.from({ length: RUNS }, () => once(run)).sort((a, b) => a - b);
  return times[RUNS >> 1];
}

function ms(time: number): string {
  return time.toFixed(2);
}

function rate(size: number, time: number): string {
  return `${(size / 1000 / time).toFixed(1)} MB/s`;
}

function vocabularyGiven(): Vocabulary {
  const file = process.env.STATOR_VOCABULARY;
  return file === undefined ? toyVocabulary() : JSON.parse(readFileSync(file, 'utf8'));
}

function textsGiven(): string[] {
  const shared = process.env.STATOR_SHARED;
  if (shared === undefined) return prose();
  return TRACES.flatMap((name) => {
    const lines = gunzipSync(readFileSync(`${shared}/traces/${name}/messages.jsonl.gz`)).toString();
    return lines.trim().split('\n').flatMap(messagesIn);
  });
}

function messagesIn(line: string): string[] {
  const { messages } = JSON.parse(line) as { messages: { content: unknown }[] };
  return messages.flatMap(({ content }) => (typeof content === 'string' ? [content] : []));
}

function prose(): string[] {
  const random = new Prng(1);
  const words = Array.from({ length: 3000 }, () =>
    Array.from({ length: 1 + random.below(9) }, () =>
      String.fromCharCode(97 + random.below(26)),
    ).join(''),
  );
  const word = () => words[Math.floor(random.next() ** 3 * words.length)];
  return Array.from({ length: 400 }, () =>
    Array.from({ length: 200 }, (_, i) => (i % 17 === 16 ? '.\n' : ` ${word()}`)).join(''),
  );
}

/** 201 messages as a coding agent has them, 16 tools. */
function chatOf(from: readonly string[]): Chat {
  const text = (i: number) => [
    { kind: 'text' as const, text: from[i % from.length].slice(0, 3000) },
  ];
  const turns = Array.from({ length: 50 }, (_, i): Message[] => [
    { role: 'user', content: text(4 * i) },
    {
      role: 'assistant',
      content: text(4 * i + 1),
      reasoning: from[(4 * i + 2) % from.length].slice(0, 400),
      toolCalls: [{ id: `call_${i}`, name: 'read', argumentsJson: `{"path": "src/${i}.ts"}` }],
    },
    { role: 'tool', content: text(4 * i + 2), toolCallId: `call_${i}`, isError: false },
    { role: 'assistant', content: text(4 * i + 3), reasoning: undefined, toolCalls: [] },
  ]);
  const properties = Object.fromEntries(
    ['path', 'from', 'to', 'pattern', 'limit'].map((name) => [
      name,
      { type: 'string', description: `The ${name} to use, as the user has said it.` },
    ]),
  );
  return {
    model: 'bench',
    messages: [{ role: 'system', content: text(0) }, ...turns.flat()],
    tools: Array.from({ length: 16 }, (_, i) => ({
      name: `tool_${i}`,
      description: 'Does what the name says, and says what it did. '.repeat(8),
      parameters: { type: 'object', properties, required: ['path'] },
    })),
    toolChoice: { kind: 'auto' },
    thinking: true,
  };
}
