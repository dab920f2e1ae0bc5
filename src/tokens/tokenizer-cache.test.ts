import assert from 'node:assert/strict';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Vocabulary } from '../model/vocabulary.ts';
import { buildBpe } from './bpe.ts';
import type { MergeRules } from './merge-rules.ts';
import { type Kept, TokenizerCache } from './tokenizer-cache.ts';
import { loadTokenizerFile } from './tokenizer-file.ts';
import { toyVocabulary } from './toy-vocabulary.test.ts';

const folder = mkdtempSync(join(tmpdir(), 'stator-tokenizers-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const KEPT: Kept<{ names: string[]; nothing?: number }> = {
  header: { names: ['é', '\ud83d\ude00'] },
  rules: {
    triples: Uint32Array.of(1, 2, 3, 4, 5, 4_000_000_000),
    ranks: Uint32Array.of(),
    extra: ['x'],
    unmerged: Uint32Array.of(7),
  },
};

test('what was made once is read the next time, by its owner only', () => {
  const cache = new TokenizerCache(join(folder, 'a', 'b'));
  assert.deepEqual(cache.get('source', made), KEPT);
  assert.deepEqual(cache.get('source', never), KEPT);
  assert.deepEqual(cache.get('other', made), KEPT);
  const files = readdirSync(join(folder, 'a', 'b'));
  assert.equal(files.length, 2);
  for (const file of files) {
    assert.match(file, /^[0-9a-f]{64}-\d+\.tokens$/);
    assert.equal(statSync(join(folder, 'a', 'b', file)).mode & 0o777, 0o600);
  }
});

test('a torn or foreign file is made anew', () => {
  const place = join(folder, 'torn');
  const cache = new TokenizerCache(place);
  cache.get('source', made);
  const path = join(place, readdirSync(place)[0]);
  const whole = readFileSync(path);
  const flipped = Buffer.from(whole);
  flipped[whole.length - 1] ^= 1;
  const harm = [
    () => truncateSync(path, whole.length - 4),
    () => truncateSync(path, 20),
    () => truncateSync(path, 0),
    () => writeFileSync(path, 'something else altogether, and long enough to be read'),
    () => writeFileSync(path, flipped),
  ];
  for (const hurt of harm) {
    hurt();
    let calls = 0;
    const count = () => {
      calls++;
      return KEPT;
    };
    assert.deepEqual(cache.get('source', count), KEPT);
    assert.equal(calls, 1);
    assert.deepEqual(readFileSync(path), whole);
  }
  assert.equal(readdirSync(place).length, 1); // nothing unfinished is left
});

test('where nothing can be written, it is made each time', () => {
  const file = join(folder, 'file');
  writeFileSync(file, '');
  assert.deepEqual(new TokenizerCache(join(file, 'x')).get('source', made), KEPT);
  assert.equal(
    new TokenizerCache(join(folder, 'none')).get('source', () => undefined),
    undefined,
  );
});

test('rules from the cache encode alike, and other merges are other rules', () => {
  const cache = new TokenizerCache(join(folder, 'rules'));
  const vocabulary = toyVocabulary();
  const text = 'the other kings, größe 日本 <|im_end|>';
  const fresh = encoded(vocabulary, undefined, text);
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(encoded(vocabulary, cache.rules(vocabulary), text), fresh);
  }
  const fewer = toyVocabulary({ merges: [] });
  assert.deepEqual(encoded(fewer, cache.rules(fewer), text), encoded(fewer, undefined, text));
  assert.notDeepEqual(encoded(fewer, cache.rules(fewer), text), fresh);
});

test('a tokenizer file is loaded with what lies beside it, and from the cache', () => {
  const cache = new TokenizerCache(join(folder, 'files'));
  const place = mkdtempSync(join(folder, 'model-'));
  const path = join(place, 'tokenizer.json');
  writeFileSync(path, JSON.stringify(json()));
  const first = loaded(path, cache);
  assert.equal(JSON.stringify(loaded(path, cache)), JSON.stringify(first));
  assert.equal(readdirSync(join(folder, 'files')).length, 1);
  assert.deepEqual(
    encoded(first.vocabulary, first.rules, 'the  other king'),
    encoded(toyVocabulary(), undefined, 'the  other king'),
  );
  writeFileSync(join(place, 'tokenizer_config.json'), '{"eos_token": "the", "chat_template": "a"}');
  const second = loaded(path, cache);
  assert.notEqual(second.fingerprint, first.fingerprint);
  assert.equal(second.vocabulary.template, 'a');
  writeFileSync(join(place, 'chat_template.jinja'), 'b');
  assert.equal(loaded(path, cache).vocabulary.template, 'b');

  writeFileSync(path, '{"model": {"type": "Unigram"}}');
  const refused = loadTokenizerFile(path, cache);
  assert.ok(refused.kind === 'unsupported');
  assert.match(refused.reason, /"Unigram"/);
  writeFileSync(path, '{');
  const broken = loadTokenizerFile(path, cache);
  assert.ok(broken.kind === 'unsupported');
  assert.match(broken.reason, /is no JSON/);
});

function made(): typeof KEPT {
  return KEPT;
}

function never(): never {
  throw new Error('it was kept');
}

function encoded(vocabulary: Vocabulary, rules: MergeRules | undefined, text: string): number[] {
  const built = buildBpe(vocabulary, rules);
  assert.ok(built.kind === 'built');
  return [...built.bpe.encode(text)];
}

function loaded(path: string, cache: TokenizerCache) {
  const result = loadTokenizerFile(path, cache);
  assert.ok(result.kind === 'loaded', JSON.stringify(result));
  return result;
}

/** The toy vocabulary's words as a tokenizer.json. */
function json() {
  const { tokens, kinds, merges } = toyVocabulary();
  const words = tokens.filter((_, id) => kinds[id] === 'normal');
  return {
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    model: { vocab: Object.fromEntries(words.map((token, id) => [token, id])), merges },
  };
}
