import { closeSync, openSync, readSync, statSync } from 'node:fs';
import type { GgufArray, GgufScalar, GgufTensor, GgufValue } from './gguf.ts';
import { alignedTo, GGUF_ALIGNMENT, GGUF_TYPES, Gguf, GgufError } from './gguf.ts';
import { tensorType } from './tensor-type.ts';

/** Real headers reach about 20 MB (a vocabulary of 262k tokens); beyond this a length is a lie. */
const HEADER_BYTES_MAX = 256 * 1024 * 1024;
const WINDOW_BYTES = 1024 * 1024;
/** The least bytes one entry takes: key length, key, type, value; name length, dimensions, type, offset. */
const ENTRY_BYTES_MIN = 8 + 1 + 4 + 1;
const TENSOR_BYTES_MIN = 8 + 4 + 4 + 8;
/** The format allows 64 KiB; no key in use comes near this. */
const KEY_LENGTH_MAX = 256;
/** ggml keeps names in 64 bytes, the last of them zero. */
const NAME_BYTES_MAX = 63;
const DIMENSIONS_MAX = 4;
/** 2^50 elements: no model comes near, and products stay exact in a double. */
const ELEMENTS_MAX = 2 ** 50;

/**
 * Reads the header of a model file and checks that the tensor data it speaks of is there. Memory is
 * bounded by what the file really holds, whatever lengths it claims. Throws `GgufError`.
 */
export function readGguf(path: string): Gguf {
  const cursor = HeaderCursor.open(path);
  try {
    return readHeader(cursor);
  } finally {
    cursor.close();
  }
}

function readHeader(cursor: HeaderCursor): Gguf {
  readMagic(cursor);
  const tensorCount = cursor.count(TENSOR_BYTES_MIN, 'tensors');
  const entryCount = cursor.count(ENTRY_BYTES_MIN, 'metadata entries');
  const metadata = readMetadata(cursor, entryCount);
  const alignment = alignmentOf(cursor, metadata);
  const tensors: GgufTensor[] = [];
  const names = new Set<string>();
  let dataBytes = 0;
  for (let i = 0; i < tensorCount; i++) {
    const tensor = readTensor(cursor);
    if (names.has(tensor.name)) throw cursor.damaged(`names the tensor '${tensor.name}' twice`);
    if (tensor.offset !== dataBytes) {
      throw cursor.damaged(`puts the tensor '${tensor.name}' at a wrong place`);
    }
    names.add(tensor.name);
    tensors.push(tensor);
    dataBytes = alignedTo(alignment, dataBytes + tensor.bytes);
  }
  const last = tensors.at(-1);
  const dataOffset = last ? alignedTo(alignment, cursor.position) : cursor.position;
  // Some writers leave out the padding behind the last tensor.
  const end = dataOffset + (last ? last.offset + last.bytes : 0);
  if (end > cursor.fileBytes) {
    throw new GgufError(
      `${cursor.path} is cut short: it has ${cursor.fileBytes} of ${end} bytes; fetch or copy it again.`,
    );
  }
  return new Gguf({
    path: cursor.path,
    fileBytes: cursor.fileBytes,
    metadata,
    tensors,
    dataOffset,
  });
}

function readMagic(cursor: HeaderCursor): void {
  if (cursor.fileBytes === 0)
    throw new GgufError(`${cursor.path} is empty; fetch or copy it again.`);
  const magic = cursor.fileBytes < 4 ? '' : cursor.take(4).toString('latin1');
  if (magic !== 'GGUF') {
    throw new GgufError(
      `${cursor.path} is not a GGUF model file; name a file that llama.cpp can load.`,
    );
  }
  const version = cursor.uint32();
  if (version !== 2 && version !== 3) {
    const why =
      (version & 0xffff) === 0
        ? 'is written for big-endian machines'
        : `is GGUF version ${version}`;
    throw new GgufError(
      `${cursor.path} ${why}, and Stator reads little-endian versions 2 and 3; convert it again.`,
    );
  }
}

function readMetadata(cursor: HeaderCursor, entryCount: number): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < entryCount; i++) {
    const key = cursor.text();
    if (key === '') throw cursor.damaged('has metadata without a name');
    if (key.length > KEY_LENGTH_MAX) throw cursor.damaged('has metadata with an overlong name');
    if (metadata.has(key)) throw cursor.damaged(`states '${key}' twice`);
    metadata.set(key, readValue(cursor, key));
  }
  return metadata;
}

function readValue(cursor: HeaderCursor, key: string): GgufValue {
  const type = readType(cursor, key);
  if (type !== 'array') return readScalar(cursor, type);
  const of = readType(cursor, key);
  if (of === 'array') throw cursor.damaged(`has lists within the list '${key}'`);
  return readArray(cursor, of, key);
}

function readType(cursor: HeaderCursor, key: string): GgufValue['type'] {
  const id = cursor.uint32();
  const type = GGUF_TYPES[id];
  if (type === undefined) throw cursor.damaged(`gives '${key}' the unknown type ${id}`);
  return type;
}

function readScalar(cursor: HeaderCursor, type: GgufScalar['type']): GgufScalar {
  switch (type) {
    case 'string':
      return { type, value: cursor.text() };
    case 'bool':
      return { type, value: cursor.take(1)[0] !== 0 };
    case 'uint64':
      return { type, value: cursor.take(8).readBigUInt64LE() };
    case 'int64':
      return { type, value: cursor.take(8).readBigInt64LE() };
    default: {
      const array = NUMBERS[type];
      return { type, value: new array(cursor.copy(array.BYTES_PER_ELEMENT))[0] };
    }
  }
}

function readArray(cursor: HeaderCursor, of: GgufScalar['type'], key: string): GgufArray {
  const elementBytes = of === 'string' ? 8 : of === 'bool' ? 1 : NUMBERS[of].BYTES_PER_ELEMENT;
  const length = cursor.count(elementBytes, `elements of '${key}'`);
  if (of === 'string') {
    const values: string[] = [];
    for (let i = 0; i < length; i++) values.push(cursor.text());
    return { type: 'array', of, values };
  }
  const bytes = cursor.copy(length * elementBytes);
  if (of === 'bool') {
    return { type: 'array', of, values: Array.from(new Uint8Array(bytes), (byte) => byte !== 0) };
  }
  return { type: 'array', of, values: new NUMBERS[of](bytes) } as GgufArray;
}

/** Every platform Stator runs on is little-endian, as the file is. */
const NUMBERS = {
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  uint32: Uint32Array,
  int32: Int32Array,
  uint64: BigUint64Array,
  int64: BigInt64Array,
  float32: Float32Array,
  float64: Float64Array,
};

function alignmentOf(cursor: HeaderCursor, metadata: ReadonlyMap<string, GgufValue>): number {
  const entry = metadata.get('general.alignment');
  if (entry === undefined) return GGUF_ALIGNMENT;
  const alignment = entry.type === 'uint32' ? entry.value : 0;
  const powerOfTwo = alignment > 0 && Number.isInteger(Math.log2(alignment));
  if (!powerOfTwo) throw cursor.damaged('states an alignment that is no power of two');
  return alignment;
}

function readTensor(cursor: HeaderCursor): GgufTensor {
  const name = cursor.text();
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) throw cursor.damaged('has an overlong tensor name');
  const dimensions = cursor.uint32();
  if (dimensions > DIMENSIONS_MAX) throw cursor.damaged(`gives '${name}' ${dimensions} dimensions`);
  const shape: number[] = [];
  let elements = 1;
  for (let i = 0; i < dimensions; i++) {
    const size = cursor.uint64();
    shape.push(size);
    elements *= size;
    if (size > ELEMENTS_MAX || elements > ELEMENTS_MAX) {
      throw cursor.damaged(`gives the tensor '${name}' an impossible size`);
    }
  }
  const id = cursor.uint32();
  const type = tensorType(id);
  if (type === undefined) {
    throw new GgufError(
      `${cursor.path} stores '${name}' as type ${id}, which this engine does not know; ` +
        'take another quantization of the model.',
    );
  }
  if ((shape[0] ?? 1) % type.blockElements !== 0) {
    throw cursor.damaged(`gives the tensor '${name}' rows that are no whole blocks`);
  }
  const bytes = (elements / type.blockElements) * type.blockBytes;
  return { name, shape, type, offset: cursor.uint64(), bytes };
}

/** Walks a file front to back through one window; no length it meets is trusted. */
class HeaderCursor {
  readonly path: string;
  readonly fileBytes: number;
  readonly #file: number;
  #window: Buffer = Buffer.alloc(0);
  #windowStart = 0;
  /** Of the next byte, in the file. */
  position = 0;

  static open(path: string): HeaderCursor {
    try {
      // Asked first, because opening a named pipe would wait for its other end.
      const stat = statSync(path);
      if (stat.isFile()) return new HeaderCursor(path, openSync(path, 'r'), stat.size);
    } catch (thrown) {
      throw unreadable(path, thrown);
    }
    throw new GgufError(`${path} is not a file; name the GGUF file itself.`);
  }

  constructor(path: string, file: number, fileBytes: number) {
    this.path = path;
    this.#file = file;
    this.fileBytes = fileBytes;
  }

  close(): void {
    closeSync(this.#file);
  }

  damaged(how: string): GgufError {
    return new GgufError(
      `${this.path} is damaged near byte ${this.position}: it ${how}; fetch or copy it again.`,
    );
  }

  /** The next `bytes`; the view is good until the next call. */
  take(bytes: number): Buffer {
    this.#bound(bytes);
    let start = this.position - this.#windowStart;
    if (start + bytes > this.#window.length) {
      this.#fill(bytes);
      start = 0;
    }
    this.position += bytes;
    return this.#window.subarray(start, start + bytes);
  }

  /** The next `bytes` in memory of their own, aligned for any element type. */
  copy(bytes: number): ArrayBuffer {
    const copy = new Uint8Array(bytes);
    copy.set(this.take(bytes));
    return copy.buffer;
  }

  uint32(): number {
    return this.take(4).readUInt32LE();
  }

  /** Above 2^53 exactness is lost, which any limit the caller checks against forgives. */
  uint64(): number {
    const bytes = this.take(8);
    return bytes.readUInt32LE() + bytes.readUInt32LE(4) * 0x1_0000_0000;
  }

  text(): string {
    const bytes = this.uint64();
    this.#bound(bytes);
    return this.take(bytes).toString('utf8');
  }

  /** A number of things that take `bytesEach` or more, so that it cannot exceed what is left. */
  count(bytesEach: number, things: string): number {
    const count = this.uint64();
    const left = Math.min(this.fileBytes, HEADER_BYTES_MAX) - this.position;
    if (count * bytesEach > left) throw this.damaged(`claims ${count} ${things}`);
    return count;
  }

  #bound(bytes: number): void {
    if (this.position + bytes > this.fileBytes) {
      throw this.damaged('ends within its header, or claims a length beyond its end');
    }
    if (this.position + bytes > HEADER_BYTES_MAX) throw this.damaged('claims an impossible header');
  }

  #fill(bytesNeeded: number): void {
    const bytes = Math.min(Math.max(bytesNeeded, WINDOW_BYTES), this.fileBytes - this.position);
    const window = Buffer.allocUnsafe(bytes);
    let filled = 0;
    while (filled < bytes) {
      const read = readInto(this.path, this.#file, window, filled, this.position + filled);
      if (read === 0) throw this.damaged('became shorter while it was read');
      filled += read;
    }
    this.#window = window;
    this.#windowStart = this.position;
  }
}

function readInto(path: string, file: number, into: Buffer, at: number, position: number): number {
  try {
    return readSync(file, into, at, into.length - at, position);
  } catch (thrown) {
    throw unreadable(path, thrown);
  }
}

function unreadable(path: string, thrown: unknown): GgufError {
  const code = (thrown as NodeJS.ErrnoException).code ?? 'unknown error';
  const why = code === 'ENOENT' ? 'does not exist; check the path' : `cannot be read (${code})`;
  return new GgufError(`${path} ${why}.`, { cause: thrown });
}
