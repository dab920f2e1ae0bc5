import { basename } from 'node:path';
import type { Gguf } from './gguf.ts';
import { GgufError } from './gguf.ts';

/** What a model file's header says about serving it; see `fingerprintOf` for its identity. */
export interface ModelInfo {
  architecture: string;
  name: string;
  parameters: number;
  /** Longest context it was made for. */
  contextTokens: number;
  layers: number;
  heads: number;
  /** Of each layer; 0 where a layer keeps none. */
  kvHeads: readonly number[];
  headWidth: { key: number; value: number };
  /** Of one token over all layers, K and V in F16. */
  kvBytesPerToken: number;
  /** Of all weights as stored. */
  tensorBytes: number;
  /** Whether KV can be kept, cut and rebuilt by blocks; `why` not, as the end of a sentence. */
  blockCaching: { possible: true } | { possible: false; why: string };
  /** Random weights, and how many tokens an answer is to have; undefined for a real model. */
  demo: { answerTokensMin: number; answerTokensMax: number } | undefined;
  /** `enum llama_pooling_type`: how vectors of a text are made, where the model is made for that. */
  pooling: number | undefined;
}

const F16_BYTES = 2;
/** llama.cpp has room for so many. */
const LAYERS_MAX = 512;

/** Throws `GgufError` for files that hold no text-generating model or lack what serving needs. */
export function modelInfo(gguf: Gguf): ModelInfo {
  const architecture = gguf.text('general.architecture');
  if (architecture === undefined) {
    throw new GgufError(`${gguf.path} names no architecture; take a file that llama.cpp can load.`);
  }
  if (!/^[\w.-]{1,40}$/.test(architecture)) {
    throw new GgufError(`${gguf.path} names an impossible architecture; fetch or copy it again.`);
  }
  refuseOthers(gguf, architecture);
  const of = (key: string) => `${architecture}.${key}`;
  const heads = needed(gguf, of('attention.head_count'));
  const headWidth = Math.floor(needed(gguf, of('embedding_length')) / heads);
  const key = needed(gguf, of('attention.key_length'), headWidth);
  const value = needed(gguf, of('attention.value_length'), headWidth);
  const layers = layersOf(gguf, of);
  const kvHeads = kvHeadsOf(gguf, of('attention.head_count_kv'), layers, heads);
  const compressed = keepsCompressed(gguf, architecture);
  const widthPerHead = compressed ? key : key + value;
  return {
    architecture,
    name: gguf.text('general.name') ?? basename(gguf.path),
    parameters: gguf.tensors.reduce((sum, it) => sum + elements(it.shape), 0),
    contextTokens: needed(gguf, of('context_length')),
    layers,
    heads,
    kvHeads,
    headWidth: { key, value },
    kvBytesPerToken: kvHeads.reduce((sum, count) => sum + count * widthPerHead * F16_BYTES, 0),
    tensorBytes: gguf.tensors.reduce((sum, it) => sum + it.bytes, 0),
    blockCaching: blockCachingOf(gguf, architecture, compressed),
    demo: demoOf(gguf),
    pooling: gguf.number(of('pooling_type')),
  };
}

/** Architectures of llama.cpp v0.5.0 that do not write text token by token from a prompt. */
const OTHERS: ReadonlySet<string> = new Set([
  ...['clip', 'wavtokenizer-dec', 'pockettts', 'qwen3tts', 'eagle3', 'dflash', 'gemma4-assistant'],
  ...['bert', 'modern-bert', 'nomic-bert', 'nomic-bert-moe', 'neo-bert', 'jina-bert-v2'],
  ...['jina-bert-v3', 'eurobert', 'gemma-embedding', 'llama-embed', 't5', 't5encoder'],
  ...['dream', 'llada', 'llada-moe', 'rnd1'],
]);

/** `llm_arch_is_recurrent` there. */
const RECURRENT: ReadonlySet<string> = new Set([
  ...['mamba', 'mamba2', 'rwkv6', 'rwkv6qwen2', 'rwkv7', 'arwkv7'],
]);

/** `llm_arch_is_hybrid` there: some layers recurrent. */
const HYBRID: ReadonlySet<string> = new Set([
  ...['jamba', 'falcon-h1', 'plamo2', 'granitehybrid', 'lfm2', 'lfm2moe', 'nemotron_h'],
  ...[
    'nemotron_h_moe',
    'qwen3next',
    'kimi-linear',
    'bailingmoe3',
    'kimi-k3',
    'qwen35',
    'qwen35moe',
  ],
  ...['qwen4exp', 'deepseek4', 'minimax-01'],
]);

/** Sliding windows that apply even where the file states none. */
const WINDOWED: ReadonlySet<string> = new Set(['gemma2', 'exaone-moe', 'smallthinker']);

/** States a window in its files that llama.cpp does not apply. */
const UNWINDOWED: ReadonlySet<string> = new Set(['phi3', 'phimoe']);

function refuseOthers(gguf: Gguf, architecture: string): void {
  if (OTHERS.has(architecture)) {
    throw new GgufError(
      `${gguf.path} is a ${architecture} model, which does not chat; take a chat model.`,
    );
  }
  if ((gguf.number('split.count') ?? 1) > 1) {
    throw new GgufError(
      `${gguf.path} is one part of a split model; join the parts with llama-gguf-split --merge.`,
    );
  }
}

function blockCachingOf(
  gguf: Gguf,
  architecture: string,
  compressed: boolean,
): ModelInfo['blockCaching'] {
  const why = obstacle(gguf, architecture, compressed);
  return why === undefined ? { possible: true } : { possible: false, why };
}

function obstacle(gguf: Gguf, architecture: string, compressed: boolean): string | undefined {
  const stateful = gguf.metadata.has(`${architecture}.ssm.state_size`);
  if (RECURRENT.has(architecture)) {
    return `${architecture} models are recurrent: their state cannot be cut at a block's end`;
  }
  if (HYBRID.has(architecture) || stateful) {
    return `${architecture} models have recurrent layers, whose state cannot be cut at a block's end`;
  }
  if (slides(gguf, architecture)) {
    return `${architecture} models attend through a sliding window, so that old KV is not kept`;
  }
  if (compressed) return `${architecture} models keep KV compressed, without rows of V`;
  return undefined;
}

function slides(gguf: Gguf, architecture: string): boolean {
  if (UNWINDOWED.has(architecture)) return false;
  const window = gguf.number(`${architecture}.attention.sliding_window`);
  if (window !== undefined) return window > 0;
  // Llama 4 attends in chunks unless its file states a window of 0; EXAONE 4 slides at 32B only.
  if (architecture === 'llama4') return true;
  if (architecture === 'exaone4') return gguf.number('exaone4.block_count') === 64;
  return WINDOWED.has(architecture);
}

/** Multi-head latent attention: one row of K a layer, from which V is read too. */
function keepsCompressed(gguf: Gguf, architecture: string): boolean {
  return gguf.metadata.has(`${architecture}.attention.key_length_mla`);
}

function demoOf(gguf: Gguf): ModelInfo['demo'] {
  if (gguf.flag('stator.demo') !== true) return undefined;
  return {
    answerTokensMin: needed(gguf, 'stator.answer_tokens_min'),
    answerTokensMax: needed(gguf, 'stator.answer_tokens_max'),
  };
}

/** Layers that predict further tokens are not run, and keep no KV. */
function layersOf(gguf: Gguf, of: (key: string) => string): number {
  const layers = needed(gguf, of('block_count'));
  const further = gguf.number(of('nextn_predict_layers')) ?? 0;
  if (layers <= LAYERS_MAX && further >= 0 && further < layers) return layers - further;
  throw new GgufError(`${gguf.path} claims ${layers} layers; fetch or copy it again.`);
}

function kvHeadsOf(gguf: Gguf, key: string, layers: number, heads: number): number[] {
  const stated = gguf.numbers(key) ?? [heads];
  if (
    stated.length === 0 ||
    !stated.every((it) => Number.isInteger(it) && it >= 0 && it <= heads)
  ) {
    throw new GgufError(`${gguf.path} states '${key}' wrongly; fetch or copy it again.`);
  }
  return Array.from({ length: layers }, (_, layer) => stated[layer] ?? stated[0]);
}

/** A positive integer; the first where the file states one a layer. */
function needed(gguf: Gguf, key: string, otherwise?: number): number {
  const value = gguf.numbers(key)?.[0] ?? otherwise;
  if (value !== undefined && Number.isSafeInteger(value) && value > 0) return value;
  throw new GgufError(
    `${gguf.path} does not state '${key}' as it should; take a file that llama.cpp can load.`,
  );
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
