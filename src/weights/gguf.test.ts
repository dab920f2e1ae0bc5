import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { fingerprintOf } from './fingerprint.ts';
import type { Gguf, GgufValue } from './gguf.ts';
import { GgufError } from './gguf.ts';
import { readGguf } from './gguf-read.ts';
import type { TensorToWrite } from './gguf-write.ts';
import { ggufBytes } from './gguf-write.ts';
import { modelInfo } from './model-info.ts';
import { F32, Q8_0 } from './tensor-type.ts';
import { vocabularyOf } from './vocabulary.ts';

const folder = mkdtempSync(join(tmpdir(), 'stator-gguf-'));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'model.gguf');

function read(bytes: Uint8Array): Gguf {
  // Some file systems take milliseconds to write over a file, and none to make one.
  rmSync(path, { force: true });
  writeFileSync(path, bytes);
  return readGguf(path);
}

const text = fc.string({ unit: 'binary', maxLength: 40 });
const numbers = {
  uint8: fc.uint8Array({ maxLength: 20 }),
  int8: fc.int8Array({ maxLength: 20 }),
  uint16: fc.uint16Array({ maxLength: 20 }),
  int16: fc.int16Array({ maxLength: 20 }),
  uint32: fc.uint32Array({ maxLength: 20 }),
  int32: fc.int32Array({ maxLength: 20 }),
  uint64: fc.bigUint64Array({ maxLength: 20 }),
  int64: fc.bigInt64Array({ maxLength: 20 }),
  float32: fc.float32Array({ maxLength: 20 }),
  float64: fc.float64Array({ maxLength: 20 }),
};

const value: fc.Arbitrary<GgufValue> = fc.oneof(
  text.map((it): GgufValue => ({ type: 'string', value: it })),
  fc.boolean().map((it): GgufValue => ({ type: 'bool', value: it })),
  fc.array(text).map((it): GgufValue => ({ type: 'array', of: 'string', values: it })),
  fc.array(fc.boolean()).map((it): GgufValue => ({ type: 'array', of: 'bool', values: it })),
  ...Object.entries(numbers).flatMap(([type, array]) => [
    (array as fc.Arbitrary<Uint8Array>).map(
      (values) => ({ type: 'array', of: type, values }) as GgufValue,
    ),
    (array as fc.Arbitrary<Uint8Array>)
      .filter((values) => values.length > 0)
      .map((values) => ({ type, value: values[0] }) as GgufValue),
  ]),
);

const tensor: fc.Arbitrary<TensorToWrite> = fc
  .record({
    name: fc.string({ maxLength: 60 }),
    rows: fc.integer({ min: 0, max: 5 }),
    blocks: fc.integer({ min: 0, max: 3 }),
    type: fc.constantFrom(F32, Q8_0),
    fill: fc.nat(255),
  })
  .map(({ name, rows, blocks, type, fill }) => ({
    name,
    shape: [blocks * type.blockElements, rows],
    type,
    data: new Uint8Array(rows * blocks * type.blockBytes).fill(fill),
  }));

test('what is written is what is read', () => {
  const metadata = fc.dictionary(fc.string({ minLength: 1, maxLength: 20 }), value);
  const tensors = fc.uniqueArray(tensor, { selector: (it) => it.name });
  fc.assert(
    fc.property(metadata, tensors, (entries, written) => {
      const expected = new Map(Object.entries(entries));
      expected.delete('general.alignment');
      const bytes = ggufBytes(expected, written);
      const gguf = read(bytes);
      assert.deepEqual(gguf.metadata, expected);
      assert.equal(gguf.tensors.length, written.length);
      gguf.tensors.forEach((it, i) => {
        const start = gguf.dataOffset + it.offset;
        assert.deepEqual({ ...it, offset: 0 }, { ...described(written[i]), offset: 0 });
        assert.deepEqual(new Uint8Array(bytes.subarray(start, start + it.bytes)), written[i].data);
      });
    }),
  );
});

function described({ name, shape, type, data }: TensorToWrite) {
  return { name, shape, type, bytes: data.length };
}

/** A small but complete model, so that damage can reach every kind of field. */
function smallModel(): Buffer {
  const uint32 = (it: number): GgufValue => ({ type: 'uint32', value: it });
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['llama.block_count', uint32(2)],
    ['llama.context_length', uint32(64)],
    ['llama.embedding_length', uint32(32)],
    ['llama.attention.head_count', uint32(4)],
    ['llama.attention.head_count_kv', { type: 'array', of: 'int32', values: Int32Array.of(2, 1) }],
    ['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', values: ['a', 'b', '</s>'] }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'int32', values: Int32Array.of(1, 1, 3) }],
    ['tokenizer.ggml.merges', { type: 'array', of: 'string', values: ['a b'] }],
    ['tokenizer.ggml.eos_token_id', uint32(2)],
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: true }],
    ['some.float', { type: 'float64', value: 0.5 }],
  ]);
  return ggufBytes(metadata, [
    { name: 'a', shape: [32, 3], type: Q8_0, data: new Uint8Array(102).fill(7) },
    { name: 'b', shape: [5], type: F32, data: new Uint8Array(20).fill(9) },
  ]);
}

function useAll(bytes: Uint8Array): void {
  const gguf = read(bytes);
  modelInfo(gguf);
  vocabularyOf(gguf);
  fingerprintOf(gguf);
}

test('a damaged file is refused in one sentence or read, and nothing else', () => {
  const whole = smallModel();
  useAll(whole);
  const damage = fc.record({
    length: fc.oneof(fc.constant(whole.length), fc.nat(whole.length)),
    flips: fc.array(fc.record({ at: fc.nat(whole.length - 1), byte: fc.nat(255) }), {
      maxLength: 4,
    }),
  });
  fc.assert(
    fc.property(damage, ({ length, flips }) => {
      const bytes = Buffer.from(whole);
      for (const { at, byte } of flips) bytes[at] = byte;
      try {
        useAll(bytes.subarray(0, length));
      } catch (thrown) {
        assert.ok(thrown instanceof GgufError, String(thrown));
        assert.match(thrown.message, /^[^\n]+; [^\n]+\.$/);
      }
    }),
    { numRuns: 3000 },
  );
});

test('every truncation is refused', () => {
  const whole = smallModel();
  // The padding behind the last tensor may be missing.
  for (let length = 0; length < whole.length - 12; length++) {
    assert.throws(() => read(whole.subarray(0, length)), GgufError, `${length} bytes`);
  }
});

test('lengths beyond the file are refused before memory is taken for them', () => {
  const header = (tensors: bigint, entries: bigint, rest: Buffer) => {
    const bytes = Buffer.alloc(24);
    bytes.write('GGUF');
    bytes.writeUInt32LE(3, 4);
    bytes.writeBigUInt64LE(tensors, 8);
    bytes.writeBigUInt64LE(entries, 16);
    return Buffer.concat([bytes, rest, Buffer.alloc(200)]);
  };
  const uint64 = (it: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(it);
    return bytes;
  };
  const key = Buffer.concat([uint64(1n), Buffer.from('k')]);
  const absurd = [2n ** 64n - 1n, 2n ** 63n, 2n ** 40n, 10n ** 6n];
  for (const length of absurd) {
    const text = Buffer.concat([key, Buffer.of(8, 0, 0, 0), uint64(length)]);
    const list = (of: number) =>
      Buffer.concat([key, Buffer.of(9, 0, 0, 0, of, 0, 0, 0), uint64(length)]);
    const files = [
      header(length, 0n, Buffer.alloc(0)),
      header(0n, length, Buffer.alloc(0)),
      header(0n, 1n, uint64(length)),
      header(0n, 1n, text),
      ...[0, 6, 7, 8, 11].map((of) => header(0n, 1n, list(of))),
    ];
    for (const bytes of files) assert.throws(() => read(bytes), GgufError);
  }
});

test('each cause has its own words', () => {
  const cases: [RegExp, Uint8Array][] = [
    [/is empty/, new Uint8Array(0)],
    [/is not a GGUF model file/, Buffer.from('PK\u0003\u0004 something')],
    [/is GGUF version 1/, Buffer.from('GGUF\u0001\0\0\0')],
    [/big-endian/, Buffer.from('GGUF\0\0\0\u0003')],
    [/is cut short: it has \d+ of \d+ bytes/, smallModel().subarray(0, -60)],
  ];
  for (const [message, bytes] of cases) assert.throws(() => read(bytes), { message });
  assert.throws(() => readGguf(join(folder, 'absent.gguf')), /does not exist/);
  assert.throws(() => readGguf(folder), /is not a file/);
});

test('a vocabulary of 150,000 tokens and merges is read whole', () => {
  const tokens = Array.from({ length: 150_000 }, (_, i) => `token ${i} ${'é'.repeat(i % 7)}`);
  const metadata = new Map<string, GgufValue>([
    ['tokens', { type: 'array', of: 'string', values: tokens }],
    ['merges', { type: 'array', of: 'string', values: tokens }],
  ]);
  const gguf = read(ggufBytes(metadata, []));
  assert.deepEqual(gguf.texts('tokens'), tokens);
  assert.deepEqual(gguf.texts('merges'), tokens);
});

test('a value of the wrong type is named', () => {
  const gguf = read(smallModel());
  assert.throws(() => gguf.number('general.architecture'), /'general.architecture' as string/);
  assert.throws(() => gguf.text('tokenizer.ggml.tokens'), /as a list of string instead of a text/);
  assert.throws(() => gguf.texts('llama.block_count'), /instead of a list of texts/);
  assert.throws(() => gguf.flag('llama.block_count'), /instead of a flag/);
  assert.equal(gguf.number('some.float'), 0.5);
  assert.deepEqual(gguf.numbers('llama.block_count'), [2]);
  assert.equal(gguf.number('absent'), undefined);
});
