import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fingerprintOf } from './fingerprint.ts';
import type { Gguf, GgufValue } from './gguf.ts';
import { GgufError } from './gguf.ts';
import { readGguf } from './gguf-read.ts';
import { ggufBytes } from './gguf-write.ts';
import { modelInfo } from './model-info.ts';
import { F32 } from './tensor-type.ts';

const folder = mkdtempSync(join(tmpdir(), 'stator-info-'));
after(() => rmSync(folder, { recursive: true }));

let modelCount = 0;

type Metadata = Record<string, number | string | number[]>;

function model(architecture: string, more: Metadata = {}, fill = 1): Gguf {
  const stated: Metadata = {
    'general.architecture': architecture,
    [`${architecture}.block_count`]: 3,
    [`${architecture}.context_length`]: 4096,
    [`${architecture}.embedding_length`]: 512,
    [`${architecture}.attention.head_count`]: 8,
    ...more,
  };
  const metadata = new Map(Object.entries(stated).map(([key, value]) => [key, asValue(value)]));
  const data = new Uint8Array(new Float32Array(6).fill(fill).buffer);
  const path = join(folder, `${modelCount++}.gguf`);
  writeFileSync(path, ggufBytes(metadata, [{ name: 'a', shape: [2, 3], type: F32, data }]));
  return readGguf(path);
}

function asValue(value: number | string | number[]): GgufValue {
  if (typeof value === 'string') return { type: 'string', value };
  if (typeof value === 'number') return { type: 'uint32', value };
  return { type: 'array', of: 'int32', values: Int32Array.from(value) };
}

test('KV bytes a token follow heads, widths and layers', () => {
  const bytes = (more: Metadata) => modelInfo(model('llama', more)).kvBytesPerToken;
  assert.equal(bytes({}), 3 * 8 * (64 + 64) * 2);
  assert.equal(bytes({ 'llama.attention.head_count_kv': 2 }), 3 * 2 * 128 * 2);
  assert.equal(bytes({ 'llama.attention.head_count_kv': [4, 2, 0] }), 6 * 128 * 2);
  const widths = { 'llama.attention.key_length': 128, 'llama.attention.value_length': 96 };
  assert.equal(bytes(widths), 3 * 8 * 224 * 2);
  assert.equal(bytes({ 'llama.nextn_predict_layers': 1 }), 2 * 8 * 128 * 2);
});

test('weights are counted, and a name is found', () => {
  const info = modelInfo(model('llama', { 'general.name': 'Some model' }));
  assert.equal(info.parameters, 6);
  assert.equal(info.tensorBytes, 24);
  assert.equal(info.name, 'Some model');
  assert.match(modelInfo(model('llama')).name, /^\d+\.gguf$/);
  assert.equal(info.demo, undefined);
});

test('block caching is for full attention; otherwise it says why', () => {
  const why = (architecture: string, more: Metadata = {}) => {
    const { blockCaching } = modelInfo(model(architecture, more));
    return blockCaching.possible ? 'possible' : blockCaching.why;
  };
  for (const name of ['llama', 'qwen2', 'qwen3', 'qwen3moe', 'smollm3', 'phi3', 'granite']) {
    assert.equal(why(name), 'possible', name);
  }
  assert.equal(why('phi3', { 'phi3.attention.sliding_window': 2047 }), 'possible');
  assert.equal(why('gemma3', { 'gemma3.attention.sliding_window': 0 }), 'possible');
  assert.match(why('mamba'), /recurrent: their state/);
  assert.match(why('qwen35'), /recurrent layers/);
  assert.match(why('unheard', { 'unheard.ssm.state_size': 16 }), /recurrent layers/);
  assert.match(why('gpt-oss', { 'gpt-oss.attention.sliding_window': 128 }), /sliding window/);
  assert.match(why('gemma2'), /sliding window/);
  assert.match(why('llama4'), /sliding window/);
  const mla = { 'deepseek2.attention.key_length_mla': 192 };
  assert.match(why('deepseek2', mla), /compressed/);
});

test('what does not chat, or is incomplete, is refused', () => {
  assert.throws(() => modelInfo(model('bert')), /does not chat/);
  assert.throws(() => modelInfo(model('llama', { 'split.count': 2 })), /one part of a split model/);
  assert.throws(() => modelInfo(model('llama', { 'llama.context_length': 0 })), GgufError);
  assert.throws(() => modelInfo(model('llama', { 'llama.block_count': 2 ** 31 })), /claims/);
  assert.throws(
    () => modelInfo(model('llama', { 'llama.attention.head_count_kv': [] })),
    GgufError,
  );
});

test('fingerprints differ exactly where KV does', () => {
  const one = fingerprintOf(model('llama'));
  assert.match(one, /^[0-9a-f]{16}$/);
  const same: Metadata[] = [
    {},
    { 'general.name': 'renamed' },
    { 'tokenizer.chat_template': '{{ messages }}' },
  ];
  for (const more of same) assert.equal(fingerprintOf(model('llama', more)), one);
  const others = [
    model('qwen2'),
    model('llama', {}, 2),
    model('llama', { 'llama.rope.freq_base': 10_000 }),
    model('llama', { 'tokenizer.ggml.pre': 'qwen2' }),
    model('llama', { 'llama.attention.head_count_kv': [4, 2, 0] }),
  ];
  const all = [one, ...others.map(fingerprintOf)];
  assert.equal(new Set(all).size, all.length);
});
