import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BYTE_CHARACTERS } from '../model/byte-alphabet.ts';
import { type Bpe, buildBpe, specialTexts } from './bpe.ts';
import { readTokenizerJson, type TokenizerFiles } from './tokenizer-json.ts';
import { toyVocabulary } from './toy-vocabulary.test.ts';

type Json = Record<string, unknown>;

const TOY = toyVocabulary();
const QWEN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, use_regex: false };

test('a file gives the ids that the same vocabulary in GGUF gives', () => {
  const fromGguf = buildBpe(TOY);
  assert.ok(fromGguf.kind === 'built');
  const text = "the <|im_start|>  other king's  ünïcödé 日本語 😀😀\r\n12 <think>function</think>";
  const pairs = (TOY.merges as string[]).map((merge) => merge.split(' '));
  for (const merges of [TOY.merges, pairs]) {
    const bpe = built({ tokenizer: file({ model: { merges } }) });
    assert.deepEqual(bpe.encode(text), fromGguf.bpe.encode(text));
  }
});

test('normalizers and normalized tokens work in the order of the reference', () => {
  const added = [token('É?', { normalized: true }), token('e\u0301!', { normalized: false })];
  const tokenizer = file({ normalizer: { type: 'NFC' }, added_tokens: added });
  const bpe = built({ tokenizer });
  const ids = (text: string) => [...bpe.encode(text)].map((id) => id - (added[0].id as number));
  assert.deepEqual(ids('E\u0301?'), [0]); // found in what the normalizer made
  assert.deepEqual(ids('e\u0301!'), [1]); // found before
  assert.notDeepEqual(ids('\u00e9!'), [1]);
});

test('tokens that are pieces are not merged where the file says so', () => {
  const whole = 'othering'; // no merges lead to it
  const tokenizer = (ignore_merges: boolean) => {
    const made = file({ model: { ignore_merges } });
    const model = made.model as { vocab: Record<string, number> };
    model.vocab[whole] = TOY.tokens.length;
    return made;
  };
  assert.deepEqual([...built({ tokenizer: tokenizer(true) }).encode(whole)], [TOY.tokens.length]);
  assert.ok(built({ tokenizer: tokenizer(false) }).encode(whole).length > 1);
});

test('a text may be cut at special tokens, but not at ones that look around', () => {
  const texts = (changes: Json) => {
    const read = readTokenizerJson(
      files({ tokenizer: file({ added_tokens: [token('<|a|>', changes)] }) }),
    );
    assert.ok(read.kind === 'read');
    return [...specialTexts(read.vocabulary).values()];
  };
  assert.deepEqual(texts({}), ['<|a|>']);
  assert.deepEqual(texts({ rstrip: true }), []);
  assert.deepEqual(texts({ normalized: true }), []);
  assert.deepEqual(texts({ special: false, normalized: false }), []);
});

test('what the files beside it say is taken', () => {
  const config = {
    bos_token: { content: '<|im_start|>' },
    eos_token: '<|im_end|>',
    chat_template: [
      { name: 'tool_use', template: 'x' },
      { name: 'default', template: 'y' },
    ],
  };
  const read = readTokenizerJson({ tokenizer: file({}), config, template: undefined });
  assert.ok(read.kind === 'read');
  const { vocabulary } = read;
  assert.equal(vocabulary.tokens[vocabulary.beginToken ?? -1], '<|im_start|>');
  assert.equal(vocabulary.tokens[vocabulary.endToken ?? -1], '<|im_end|>');
  assert.deepEqual(
    vocabulary.endTokens.map((id) => vocabulary.tokens[id]),
    ['<|endoftext|>', '<|im_end|>'],
  );
  assert.equal(vocabulary.template, 'y');
  assert.equal(vocabulary.addsBegin, false);
  const template = {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: 'B', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    special_tokens: { B: { id: 'B', ids: [3], tokens: ['B'] } },
  };
  const post_processor = { type: 'Sequence', processors: [BYTE_LEVEL, template] };
  const begun = readTokenizerJson(files({ tokenizer: file({ post_processor }) }));
  assert.ok(begun.kind === 'read');
  assert.deepEqual([begun.vocabulary.beginToken, begun.vocabulary.addsBegin], [3, true]);
});

test('what could change an id and is not supported is refused by name', () => {
  const split = (changes: Json) => ({
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: 'a' }, behavior: 'Isolated', invert: false, ...changes },
        BYTE_LEVEL,
      ],
    },
  });
  const cases: [Json, RegExp][] = [
    [{ model: { type: 'Unigram' } }, /its tokenizer is of the type "Unigram"/],
    [{ model: { type: 'WordPiece' } }, /of the type "WordPiece"/],
    [{ model: { dropout: 0.1 } }, /drops merges/],
    [{ model: { end_of_word_suffix: '</w>' } }, /end_of_word_suffix "<\/w>"/],
    [{ model: { byte_fallback: true } }, /falls back to bytes and is made of them/],
    [{ model: { merges: ['the'], vocab: 3 } }, /its vocabulary is no JSON object/],
    [{ model: { merges: [['a']] } }, /one of its merges is no pair/],
    [{ model: { merges: ['q z'] } }, /it merges "qz", which is no token/],
    [{ model: { vocab: { a: 0 } } }, /no token for the byte 0/],
    [{ model: { vocab: { a: 0, b: 0 } } }, /two tokens have the id 0/],
    [{ model: { vocab: { a: 2 ** 40 } } }, /id of "a" is no token id/],
    [{ normalizer: { type: 'NFKC' } }, /its normalizer is "NFKC"/],
    [{ normalizer: { type: 'Precompiled' } }, /its normalizer is "Precompiled"/],
    [
      { normalizer: { type: 'Replace', pattern: { Regex: ' +' }, content: '' } },
      /replaces by a regular expression/,
    ],
    [{ pre_tokenizer: { type: 'Whitespace' } }, /its pre-tokenizer is "Whitespace"/],
    [{ pre_tokenizer: null }, /no tokens for the bytes of other characters/],
    [{ pre_tokenizer: { ...BYTE_LEVEL, add_prefix_space: true } }, /puts a space in front/],
    [split({ behavior: 'Removed' }), /a Split that is "Removed"/],
    [split({ behavior: 'MergedWithNext', invert: true }), /"inverted MergedWithNext"/],
    [split({ pattern: { Regex: '\\w+' } }), /cuts by "\\\\w\+", and "\\\\w" is not supported/],
    [split({ pattern: { String: '' } }), /is empty/],
    [{ added_tokens: [token('', {})] }, /added tokens is empty/],
    [{ added_tokens: [token('the', { id: 3 })] }, /"the" has another token's id/],
    [
      { added_tokens: [token(' x', { lstrip: true })] },
      /strips white space and has some of its own/,
    ],
    [{ added_tokens: {} }, /its added tokens is no JSON array/],
  ];
  for (const [changes, reason] of cases) assert.match(refusal(file(changes)), reason);
  assert.match(refusal(7), /its tokenizer is no JSON object/);
});

test('gaps that cannot be may be removed', () => {
  const removed = { type: 'Split', pattern: { Regex: QWEN }, behavior: 'Removed', invert: true };
  const pre_tokenizer = { type: 'Sequence', pretokenizers: [removed, BYTE_LEVEL] };
  const text = 'the other king 12';
  const ids = built({ tokenizer: file({ pre_tokenizer }) }).encode(text);
  assert.deepEqual(ids, built({ tokenizer: file({}) }).encode(text));
});

/** The toy vocabulary as a tokenizer.json; changes of the model are merged into it. */
function file(changes: Json): Json {
  const special = (text: string, id: number) => ({ ...token(text, {}), id });
  const isAdded = (id: number) => TOY.kinds[id] !== 'normal';
  const vocab = Object.fromEntries(
    TOY.tokens.flatMap((text, id) => (isAdded(id) ? [] : [[text, id]])),
  );
  assert.ok(BYTE_CHARACTERS.every((character) => character in vocab));
  const split = { type: 'Split', pattern: { Regex: QWEN }, behavior: 'Isolated', invert: false };
  const { model = {}, added_tokens, ...others } = changes;
  return {
    added_tokens:
      added_tokens ?? TOY.tokens.flatMap((it, id) => (isAdded(id) ? [special(it, id)] : [])),
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [split, BYTE_LEVEL] },
    ...others,
    model: { type: 'BPE', vocab, merges: TOY.merges, ...(model as Json) },
  };
}

let nextId = TOY.tokens.length;

function token(content: string, changes: Json): Json {
  const flags = {
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  };
  return { id: nextId++, content, ...flags, ...changes };
}

function files(given: Partial<TokenizerFiles>): TokenizerFiles {
  return { tokenizer: undefined, config: undefined, template: undefined, ...given };
}

function built(given: Partial<TokenizerFiles>): Bpe {
  const read = readTokenizerJson(files(given));
  assert.ok(read.kind === 'read', JSON.stringify(read).slice(0, 200));
  const result = buildBpe(read.vocabulary);
  assert.ok(result.kind === 'built');
  return result.bpe;
}

function refusal(tokenizer: unknown): string {
  const read = readTokenizerJson(files({ tokenizer }));
  if (read.kind === 'unsupported') return read.reason;
  const result = buildBpe(read.vocabulary);
  assert.ok(result.kind === 'unsupported', 'it was not refused');
  return result.reason;
}
