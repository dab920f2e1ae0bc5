import { unreachable } from '../base/assert.ts';
import type { GgufScalar, GgufValue } from './gguf.ts';
import { alignedTo, GGUF_ALIGNMENT, GGUF_TYPES } from './gguf.ts';
import type { TensorType } from './tensor-type.ts';

export interface TensorToWrite {
  name: string;
  /** Fastest-moving dimension first. */
  shape: readonly number[];
  type: TensorType;
  /** In ggml's layout for `type`. */
  data: Uint8Array;
}

/** The bytes of a GGUF version 3 file; its alignment is the default one. */
export function ggufBytes(
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly TensorToWrite[],
): Buffer {
  const header = new HeaderBytes();
  header.bytes(Buffer.from('GGUF'));
  header.uint32(3);
  header.uint64(tensors.length);
  header.uint64(metadata.size);
  for (const [key, value] of metadata) {
    header.text(key);
    header.value(value);
  }
  let dataBytes = 0;
  for (const tensor of tensors) {
    header.text(tensor.name);
    header.uint32(tensor.shape.length);
    for (const size of tensor.shape) header.uint64(size);
    header.uint32(tensor.type.id);
    header.uint64(dataBytes);
    dataBytes = alignedTo(GGUF_ALIGNMENT, dataBytes + tensor.data.length);
  }
  const file = Buffer.alloc(alignedTo(GGUF_ALIGNMENT, header.length) + dataBytes);
  file.set(header.taken());
  let at = alignedTo(GGUF_ALIGNMENT, header.length);
  for (const tensor of tensors) {
    file.set(tensor.data, at);
    at = alignedTo(GGUF_ALIGNMENT, at + tensor.data.length);
  }
  return file;
}

/** A buffer that doubles: one small buffer a token would cost more than the tokens. */
class HeaderBytes {
  #buffer = Buffer.alloc(1024 * 1024);
  length = 0;

  taken(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length);
    this.#buffer.set(bytes, at);
  }

  uint32(value: number): void {
    const at = this.#grow(4);
    this.#buffer.writeUInt32LE(value, at);
  }

  uint64(value: number | bigint): void {
    const at = this.#grow(8);
    this.#buffer.writeBigUInt64LE(BigInt(value), at);
  }

  text(text: string): void {
    const bytes = Buffer.byteLength(text);
    this.uint64(bytes);
    const at = this.#grow(bytes);
    this.#buffer.write(text, at, 'utf8');
  }

  value(value: GgufValue): void {
    this.uint32(GGUF_TYPES.indexOf(value.type));
    if (value.type !== 'array') {
      this.#scalar(value);
      return;
    }
    this.uint32(GGUF_TYPES.indexOf(value.of));
    this.uint64(value.values.length);
    for (const element of value.values) {
      this.#scalar({ type: value.of, value: element } as GgufScalar);
    }
  }

  #scalar(scalar: GgufScalar): void {
    if (scalar.type === 'string') {
      this.text(scalar.value);
      return;
    }
    const at = this.#grow(SCALAR_BYTES[scalar.type]);
    const buffer = this.#buffer;
    switch (scalar.type) {
      case 'bool':
        return void buffer.writeUInt8(scalar.value ? 1 : 0, at);
      case 'uint8':
        return void buffer.writeUInt8(scalar.value, at);
      case 'int8':
        return void buffer.writeInt8(scalar.value, at);
      case 'uint16':
        return void buffer.writeUInt16LE(scalar.value, at);
      case 'int16':
        return void buffer.writeInt16LE(scalar.value, at);
      case 'uint32':
        return void buffer.writeUInt32LE(scalar.value, at);
      case 'int32':
        return void buffer.writeInt32LE(scalar.value, at);
      case 'uint64':
        return void buffer.writeBigUInt64LE(scalar.value, at);
      case 'int64':
        return void buffer.writeBigInt64LE(scalar.value, at);
      case 'float32':
        return void buffer.writeFloatLE(scalar.value, at);
      case 'float64':
        return void buffer.writeDoubleLE(scalar.value, at);
      default:
        unreachable(scalar);
    }
  }

  /** Makes room for `bytes` more and returns where they go. */
  #grow(bytes: number): number {
    const at = this.length;
    this.length += bytes;
    if (this.length > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(2 * this.#buffer.length, this.length));
      larger.set(this.#buffer.subarray(0, at));
      this.#buffer = larger;
    }
    return at;
  }
}

const SCALAR_BYTES = {
  bool: 1,
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  uint64: 8,
  int64: 8,
  float64: 8,
} as const;
