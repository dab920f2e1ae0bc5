/**
 * A model file's header (GGUF versions 2 and 3; ggml/docs/gguf.md of llama.cpp v0.5.0), without the
 * weights.
 *
 *   magic, version, counts │ metadata: key, type, value … │ tensors: name, shape, type, offset … │ pad │ data
 *                                                                                          dataOffset ┘
 */
import { ModelError } from './model-error.ts';
import type { TensorType } from './tensor-type.ts';

export class Gguf {
  readonly path: string;
  readonly fileBytes: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensor[];
  /** Where tensor data starts in the file; tensor offsets count from here. */
  readonly dataOffset: number;

  constructor(parts: GgufParts) {
    this.path = parts.path;
    this.fileBytes = parts.fileBytes;
    this.metadata = parts.metadata;
    this.tensors = parts.tensors;
    this.dataOffset = parts.dataOffset;
  }

  /** The text under `key`; undefined where there is none. A value of another type throws `GgufError`. */
  text(key: string): string | undefined {
    const entry = this.metadata.get(key);
    if (entry === undefined || entry.type === 'string') return entry?.value;
    throw this.#mistyped(key, entry, 'a text');
  }

  flag(key: string): boolean | undefined {
    const entry = this.metadata.get(key);
    if (entry === undefined || entry.type === 'bool') return entry?.value;
    throw this.#mistyped(key, entry, 'a flag');
  }

  number(key: string): number | undefined {
    const entry = this.metadata.get(key);
    if (entry === undefined) return undefined;
    if (entry.type === 'array' || entry.type === 'string' || entry.type === 'bool') {
      throw this.#mistyped(key, entry, 'a number');
    }
    return Number(entry.value);
  }

  /** One number, or one a layer: both come as a list. */
  numbers(key: string): readonly number[] | undefined {
    const entry = this.metadata.get(key);
    if (entry === undefined) return undefined;
    if (entry.type !== 'array') return [this.number(key) as number];
    if (entry.of === 'string') throw this.#mistyped(key, entry, 'a list of numbers');
    return Array.from(entry.values as ArrayLike<number | bigint | boolean>, Number);
  }

  texts(key: string): readonly string[] | undefined {
    const entry = this.metadata.get(key);
    if (entry === undefined) return undefined;
    if (entry.type === 'array' && entry.of === 'string') return entry.values as readonly string[];
    throw this.#mistyped(key, entry, 'a list of texts');
  }

  #mistyped(key: string, entry: GgufValue, wanted: string): GgufError {
    const found = entry.type === 'array' ? `a list of ${entry.of}` : `${entry.type}`;
    return new GgufError(
      `${this.path} states '${key}' as ${found} instead of ${wanted}; convert the model again.`,
    );
  }
}

export interface GgufParts {
  path: string;
  fileBytes: number;
  metadata: ReadonlyMap<string, GgufValue>;
  tensors: readonly GgufTensor[];
  dataOffset: number;
}

export interface GgufTensor {
  name: string;
  /** Fastest-moving dimension first, as ggml has it; at most four. */
  shape: readonly number[];
  type: TensorType;
  /** From `dataOffset`. */
  offset: number;
  bytes: number;
}

export type GgufValue = GgufScalar | GgufArray;

export type GgufScalar =
  | { type: GgufNumberType; value: number }
  | { type: 'uint64' | 'int64'; value: bigint }
  | { type: 'bool'; value: boolean }
  | { type: 'string'; value: string };

/** Lists of lists do not exist: llama.cpp refuses them too. */
export type GgufArray =
  | { type: 'array'; of: GgufNumberType; values: GgufNumbers }
  | { type: 'array'; of: 'uint64' | 'int64'; values: BigUint64Array | BigInt64Array }
  | { type: 'array'; of: 'bool'; values: readonly boolean[] }
  | { type: 'array'; of: 'string'; values: readonly string[] };

export type GgufNumberType =
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'uint32'
  | 'int32'
  | 'float32'
  | 'float64';

export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

/** Type names by the number the file format gives them. */
export const GGUF_TYPES = [
  'uint8',
  'int8',
  'uint16',
  'int16',
  'uint32',
  'int32',
  'float32',
  'bool',
  'string',
  'array',
  'uint64',
  'int64',
  'float64',
] as const satisfies readonly GgufValue['type'][];

/** Offsets of tensor data are multiples of this, unless `general.alignment` says otherwise. */
export const GGUF_ALIGNMENT = 32;

/** The file itself is at fault. */
export class GgufError extends ModelError {
  override name = 'GgufError';
}

export function alignedTo(alignment: number, offset: number): number {
  return Math.ceil(offset / alignment) * alignment;
}
