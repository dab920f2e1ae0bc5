import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GgufValue } from './gguf.ts';
import { Gguf, GgufError } from './gguf.ts';
import { vocabularyOf } from './vocabulary.ts';

function gguf(tokens: string[], more: [string, GgufValue][] = []): Gguf {
  const metadata = new Map<string, GgufValue>([
    ['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', values: tokens }],
    ...more,
  ]);
  return new Gguf({ path: 'model.gguf', fileBytes: 0, metadata, tensors: [], dataOffset: 0 });
}

const uint32 = (value: number): GgufValue => ({ type: 'uint32', value });
const bool = (value: boolean): GgufValue => ({ type: 'bool', value });
const string = (value: string): GgufValue => ({ type: 'string', value });

function ends(tokens: string[], more: [string, GgufValue][] = []): string[] {
  return vocabularyOf(gguf(tokens, more)).endTokens.map((id) => tokens[id]);
}

test('tokens end an answer by their text, by a key, or as file separators', () => {
  const qwen = ['a', '<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|fim_pad|>', '<|repo_name|>'];
  assert.deepEqual(ends(qwen), ['<|endoftext|>', '<|im_end|>', '<|fim_pad|>', '<|repo_name|>']);
  assert.deepEqual(ends(['a', 'b', 'c'], [['tokenizer.ggml.eos_token_id', uint32(2)]]), ['c']);
  assert.deepEqual(ends(['a', 'b', 'c'], [['tokenizer.ggml.eot_token_id', uint32(1)]]), ['b']);
  assert.deepEqual(ends(['a', 'b'], [['tokenizer.ggml.eos_token_id', uint32(7)]]), []);
  assert.deepEqual(ends(['<|end|>', '<|return|>', '<|call|>']), ['<|return|>', '<|call|>']);
  assert.deepEqual(ends(['<|end|>', '<|return|>']), ['<|end|>', '<|return|>']);
  assert.deepEqual(ends(['</s>', '<|tool_response>']), ['<|tool_response>']);
});

test('kinds are those stated, but for tokens that llama.cpp knows better', () => {
  const tokens = ['a', '<|im_end|>', '<|channel|>', 'x', 'y', 'z', 'w', ''];
  const values = Int32Array.of(1, 1, 3, 4, 2, 5, 6, 0);
  const stated: [string, GgufValue] = [
    'tokenizer.ggml.token_type',
    { type: 'array', of: 'int32', values },
  ];
  const vocabulary = vocabularyOf(gguf(tokens, [stated]));
  assert.deepEqual(vocabulary.kinds, [
    ...['normal', 'control', 'userDefined', 'userDefined', 'unknown', 'unused', 'byte', 'normal'],
  ]);
  assert.equal(vocabulary.tokens[7], '[EMPTY_7]');
});

test('whether an encoding begins with a token follows the file, then the pre-tokenizer', () => {
  const adds = (more: [string, GgufValue][]) => vocabularyOf(gguf(['a', 'b'], more)).addsBegin;
  const begin: [string, GgufValue] = ['tokenizer.ggml.bos_token_id', uint32(1)];
  assert.equal(adds([begin]), false);
  assert.equal(adds([begin, ['tokenizer.ggml.add_bos_token', bool(true)]]), true);
  assert.equal(adds([['tokenizer.ggml.add_bos_token', bool(true)]]), false);
  assert.equal(adds([begin, ['tokenizer.ggml.pre', string('llama-bpe')]]), true);
  const said: [string, GgufValue][] = [
    begin,
    ['tokenizer.ggml.pre', string('llama-bpe')],
    ['tokenizer.ggml.add_bos_token', bool(false)],
  ];
  assert.equal(adds(said), false);
});

test('vocabularies that llama.cpp aborts on are refused', () => {
  assert.throws(() => vocabularyOf(gguf([])), GgufError);
  assert.throws(() => vocabularyOf(gguf(['a', 'a'])), /lists a token twice/);
  const short: [string, GgufValue] = [
    'tokenizer.ggml.token_type',
    { type: 'array', of: 'int32', values: Int32Array.of(1) },
  ];
  assert.throws(() => vocabularyOf(gguf(['a', 'b'], [short])), /fewer token types/);
});
