/** POST /v1/embeddings: one or many texts, or token ids, and a vector for each. */
import { GatewayError } from '../model/error.ts';
import type { Hints } from '../model/request.ts';
import { list, object, optionalCount, optionalString, string, tokenIds, wrong } from './fields.ts';
import { readHints } from './hints.ts';
import type { Prompt } from './wire.ts';

const INPUTS_MAX = 2048;

export interface EmbeddingAsk {
  model: string;
  inputs: Exclude<Prompt, { kind: 'chat' }>[];
  /** Vectors as base64 of little-endian 32-bit floats, not as numbers. */
  base64: boolean;
  /** How many numbers a vector must have; undefined: as many as the model makes. */
  dimensions: number | undefined;
  hints: Hints;
}

export interface EmbeddingAnswer {
  vectors: readonly Float32Array[];
  promptTokens: number;
  note: string | undefined;
}

export function parseEmbeddings(input: unknown): EmbeddingAsk {
  const body = object(input, 'the body');
  const format = optionalString(body.encoding_format, 'encoding_format') ?? 'float';
  if (format !== 'float' && format !== 'base64') {
    throw wrong('encoding_format', 'must be float or base64');
  }
  return {
    model: string(body.model, 'model'),
    inputs: readInputs(body.input),
    base64: format === 'base64',
    dimensions: optionalCount(body.dimensions, 'dimensions', 1),
    hints: readHints(body),
  };
}

function readInputs(input: unknown): EmbeddingAsk['inputs'] {
  if (typeof input === 'string') return [readInput(input, 'input')];
  const inputs = list(input, 'input');
  if (inputs.length === 0) throw wrong('input', 'must not be empty');
  if (typeof inputs[0] === 'number') return [readInput(inputs, 'input')];
  if (inputs.length > INPUTS_MAX) throw wrong('input', `must hold at most ${INPUTS_MAX} texts`);
  return inputs.map((one, i) => readInput(one, `input[${i}]`));
}

function readInput(input: unknown, where: string): EmbeddingAsk['inputs'][number] {
  if (typeof input === 'string') {
    if (input === '') throw wrong(where, 'must not be empty');
    return { kind: 'text', text: input };
  }
  if (!Array.isArray(input)) throw wrong(where, 'must be a string or a list of token ids');
  if (input.length === 0) throw wrong(where, 'must not be empty');
  return { kind: 'tokens', ids: tokenIds(input, where) };
}

export function embeddingsWhole(ask: EmbeddingAsk, answer: EmbeddingAnswer): unknown {
  const { vectors, promptTokens, note } = answer;
  const size = vectors[0].length;
  if (ask.dimensions !== undefined && ask.dimensions !== size) {
    throw wrong('dimensions', `must be ${size} with this model, or be left out`);
  }
  return {
    object: 'list',
    data: vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: ask.base64 ? toBase64(vector) : Array.from(vector),
    })),
    model: ask.model,
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
    ...(note !== undefined && { nvext: { note } }),
  };
}

/** The one vector that was asked for in base64; throws where an engine answers anything else. */
export function readEmbedding(answer: unknown): {
  vector: Float32Array;
  usage: { promptTokens: number; outputTokens: number; cachedTokens: undefined };
  note: string | undefined;
} {
  const { data, usage, nvext } = (answer ?? {}) as {
    data?: { embedding?: unknown }[];
    usage?: { prompt_tokens?: number };
    nvext?: { note?: string };
  };
  const encoded = data?.[0]?.embedding;
  if (typeof encoded !== 'string') {
    throw new GatewayError('engine_failed', 'The engine answered with no embedding.');
  }
  return {
    vector: fromBase64(encoded),
    usage: { promptTokens: usage?.prompt_tokens ?? 0, outputTokens: 0, cachedTokens: undefined },
    note: nvext?.note,
  };
}

function toBase64(vector: Float32Array): string {
  const bytes = new Uint8Array(4 * vector.length);
  const view = new DataView(bytes.buffer);
  vector.forEach((value, i) => {
    view.setFloat32(4 * i, value, true);
  });
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

function fromBase64(encoded: string): Float32Array {
  const binary = atob(encoded);
  const view = new DataView(new ArrayBuffer(binary.length));
  for (let i = 0; i < binary.length; i++) view.setUint8(i, binary.charCodeAt(i));
  return Float32Array.from({ length: Math.floor(binary.length / 4) }, (_, i) =>
    view.getFloat32(4 * i, true),
  );
}
