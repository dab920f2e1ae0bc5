/**
 * The demo model: random weights behind a real tokenizer and chat template. Its text is noise; its
 * tokens, its KV cache and its speed are real. It is written on first start, so that nothing has to be
 * fetched.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEMO_TEMPLATE } from './demo-template.ts';
import type { DemoShape } from './demo-tensors.ts';
import { demoTensors } from './demo-tensors.ts';
import type { DemoVocabulary } from './demo-vocabulary.ts';
import { demoVocabulary } from './demo-vocabulary.ts';
import type { GgufValue } from './gguf.ts';
import { ggufBytes } from './gguf-write.ts';
import { ModelError } from './model-error.ts';

/** SHA-256 of the file. Whatever changes it (shape, seed, vocabulary, template) changes this line. */
const DEMO_SHA256 = '890f1276fb195763230e485fabfd40a0ef998965cf856a1ad3a0927d3a5d29d4';

const CONTEXT_TOKENS = 65_536;
const SEED = 1;

/**
 * Chosen by measurement, so that a prompt is dear enough for reuse to show and a whole comparison still
 * takes minutes. Matrices outweigh attention as they do in models that people serve: at 7k of context
 * attention is a quarter of a prompt token's time, in Qwen3-8B a fifth of its arithmetic. So there is one
 * narrow head, wide feed-forward layers, and Q8_0, whose decode steps keep up with its prefill (Q4_0
 * computes prompts faster, and decodes five times slower against them). 21 M parameters, 768 bytes of KV
 * a token. Tied: a second matrix of 16k rows would gain nothing. One thread of a 2-core EPYC with
 * AVX-512, llama.cpp v0.5.0, flash attention, F16 KV, chunks of 512, 4 slots in streams of their own,
 * CPU time:
 *
 *   prefill   512 tokens 3,100/s · 1k 3,150/s · 4k 2,950/s · 8k 2,850/s · 16k 2,350/s (averages)
 *   the last 5 % of 16k alone: 0.47 s of 7.0 s
 *   decode at 1k   1 sequence 550/s · 4 sequences 820/s
 */
const DEMO_SHAPE: DemoShape = {
  layers: 3,
  width: 192,
  heads: 1,
  kvHeads: 1,
  headWidth: 64,
  feedForwardWidth: 10_240,
};

/** A real answer has a length; the engine ends the demo's at random between these. */
const ANSWER_TOKENS_MIN = 20;
const ANSWER_TOKENS_MAX = 80;

/**
 * The path of the demo model in `folder`, which is made if needed (0700; the file 0600). A file that
 * is not what this version writes is written anew, aside and then moved, so that processes that start
 * at once do not meet half a file. Throws `ModelError` where the folder cannot be written.
 */
export function demoModel(folder: string): string {
  const path = join(folder, `stator-demo-${DEMO_SHA256.slice(0, 12)}.gguf`);
  if (isWhole(path)) return path;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    moveIntoPlace(path, demoModelBytes());
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code ?? String(thrown);
    throw new ModelError(
      `The demo model cannot be written to ${folder} (${code}); ` +
        'set STATOR_CACHE to a folder that can be written.',
      { cause: thrown },
    );
  }
  return path;
}

function moveIntoPlace(path: string, bytes: Uint8Array): void {
  const aside = `${path}.${randomUUID()}`;
  try {
    writeFileSync(aside, bytes, { mode: 0o600 });
    renameSync(aside, path);
  } catch (thrown) {
    rmSync(aside, { force: true });
    // Windows refuses to replace a file that another process has just written and opened.
    if (!isWhole(path)) throw thrown;
  }
}

/** Reading and hashing all of it takes some 10 ms. */
function isWhole(path: string): boolean {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('hex') === DEMO_SHA256;
  } catch {
    return false;
  }
}

/** The whole file; the same bytes from the same version, on every machine. */
export function demoModelBytes(): Buffer {
  const vocabulary = demoVocabulary();
  return ggufBytes(metadata(vocabulary), demoTensors(DEMO_SHAPE, vocabulary.loud, SEED));
}

function metadata(vocabulary: DemoVocabulary): Map<string, GgufValue> {
  const { tokens, kinds, merges } = vocabulary;
  const id = (token: string): GgufValue => uint32(tokens.indexOf(token));
  return new Map<string, GgufValue>([
    ['general.architecture', string('qwen3')],
    ['general.name', string('Stator demo')],
    ['general.description', string('Random weights: the text is noise, the speed is real.')],
    ['general.license', string('apache-2.0')],
    ['general.file_type', uint32(7)],
    ['general.quantization_version', uint32(2)],
    ['qwen3.context_length', uint32(CONTEXT_TOKENS)],
    ['qwen3.block_count', uint32(DEMO_SHAPE.layers)],
    ['qwen3.embedding_length', uint32(DEMO_SHAPE.width)],
    ['qwen3.feed_forward_length', uint32(DEMO_SHAPE.feedForwardWidth)],
    ['qwen3.attention.head_count', uint32(DEMO_SHAPE.heads)],
    ['qwen3.attention.head_count_kv', uint32(DEMO_SHAPE.kvHeads)],
    ['qwen3.attention.key_length', uint32(DEMO_SHAPE.headWidth)],
    ['qwen3.attention.value_length', uint32(DEMO_SHAPE.headWidth)],
    ['qwen3.attention.layer_norm_rms_epsilon', { type: 'float32', value: 1e-6 }],
    ['qwen3.rope.freq_base', { type: 'float32', value: 1_000_000 }],
    ['tokenizer.ggml.model', string('gpt2')],
    ['tokenizer.ggml.pre', string('qwen2')],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', values: tokens }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'int32', values: kinds }],
    ['tokenizer.ggml.merges', { type: 'array', of: 'string', values: merges }],
    ['tokenizer.ggml.eos_token_id', id('<|im_end|>')],
    ['tokenizer.ggml.padding_token_id', id('<|endoftext|>')],
    ['tokenizer.ggml.bos_token_id', id('<|endoftext|>')],
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: false }],
    ['tokenizer.chat_template', string(DEMO_TEMPLATE)],
    ['stator.demo', { type: 'bool', value: true }],
    ['stator.answer_tokens_min', uint32(ANSWER_TOKENS_MIN)],
    ['stator.answer_tokens_max', uint32(ANSWER_TOKENS_MAX)],
  ]);
}

function uint32(value: number): GgufValue {
  return { type: 'uint32', value };
}

function string(value: string): GgufValue {
  return { type: 'string', value };
}
