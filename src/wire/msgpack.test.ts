import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { MsgpackReader, MsgpackWriter, type Packed } from './msgpack.ts';

/** The oracle, set to speak plain MessagePack: maps as maps, no extensions of its own. */
const oracle = new Packr({ mapsAsObjects: false, useRecords: false });

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.string({ unit: 'grapheme', minLength: 200, maxLength: 400 }),
  fc.constantFrom('', '\ufeffmarked', 'é'.repeat(16), 'x'.repeat(31), 'x'.repeat(32)),
  fc.constantFrom('x'.repeat(255), 'x'.repeat(256), 'x'.repeat(70_000)),
);
const integer = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.constantFrom(
    ...[7, 8, 15, 16, 31, 32, 53].flatMap((bits) => [2 ** bits - 1, -(2 ** bits) + 1]),
  ),
);
const big = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n });
const leaf: fc.Arbitrary<Packed> = fc.oneof(
  fc.constantFrom(null, true, false),
  integer,
  big,
  fc.double({ noNaN: true }).filter((value) => !Object.is(value, -0)),
  text,
  fc.uint8Array({ maxLength: 300 }),
);
const value = fc.letrec<{ value: Packed }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.array(tie('value'), { maxLength: 20 }),
    fc
      .array(fc.tuple(fc.oneof(integer, text), tie('value')), { maxLength: 20 })
      .map((entries) => new Map(entries)),
  ),
})).value;

test('what another implementation writes is read as it was', () => {
  fc.assert(
    fc.property(value, (packed) => {
      const read = new MsgpackReader(oracle.pack(packed)).read();
      assert.deepEqual(plain(read), plain(packed));
    }),
    { numRuns: 150 },
  );
});

test('what we write, another implementation reads as it was', () => {
  fc.assert(
    fc.property(writable, (packed) => {
      const read = oracle.unpack(write(new MsgpackWriter(), packed).done()) as Packed;
      assert.deepEqual(plain(read), plain(packed));
      const own = new MsgpackReader(write(new MsgpackWriter(), packed).done()).read();
      assert.deepEqual(plain(own), plain(packed));
    }),
    { numRuns: 150 },
  );
});

test('long values in every length form', () => {
  for (const count of [15, 16, 65_535, 65_536]) {
    const items = Array.from({ length: count }, (_, i) => i);
    const map = new Map(items.map((i) => [i, null]));
    for (const packed of [items, map, new Uint8Array(count), 'x'.repeat(count)] as Packed[]) {
      assert.deepEqual(plain(new MsgpackReader(oracle.pack(packed)).read()), plain(packed));
    }
    const written = write(new MsgpackWriter(), items).done();
    assert.deepEqual(new MsgpackReader(written).read(), items);
  }
});

test('hostile bytes end in a value or a RangeError, soon, and claim no more than they hold', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    value.map((packed) => new Uint8Array(oracle.pack(packed))),
  );
  const change = fc.record({ at: fc.nat(), to: fc.nat(255), cut: fc.nat() });
  fc.assert(
    fc.property(bytes, change, (source, { at, to, cut }) => {
      const hostile = source.slice(0, 1 + (cut % (source.length + 1)));
      if (hostile.length > 0) hostile[at % hostile.length] = to;
      // Within a bigger buffer, whose other bytes are none of the reader's business.
      const room = new Uint8Array(hostile.length + 64).fill(0x01);
      room.set(hostile, 32);
      try {
        new MsgpackReader(room.subarray(32, 32 + hostile.length)).read();
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error));
      }
    }),
    { numRuns: 1500 },
  );
});

test('a length that the bytes cannot hold, or nesting without end, is refused at once', () => {
  const tags = [0xdd, 0xdf, 0xdb, 0xc6];
  for (const tag of tags) {
    const bytes = Uint8Array.of(tag, 0xff, 0xff, 0xff, 0xff, 0x01);
    assert.throws(() => new MsgpackReader(bytes).read(), RangeError);
  }
  for (const tag of [0xcd, 0xce, 0xcf, 0xd1, 0xd2, 0xd3, 0xca, 0xcb, 0xda, 0xdc, 0xc4, 0xd9]) {
    assert.throws(() => new MsgpackReader(Uint8Array.of(tag)).read(), RangeError, tag.toString(16));
  }
  assert.throws(() => new MsgpackReader(new Uint8Array(100_000).fill(0x91)).read(), /nested/);
  assert.throws(() => new MsgpackReader(new Uint8Array(0)).read(), RangeError);
  assert.throws(() => new MsgpackReader(Uint8Array.of(0xc1)).read(), /0xc1/);
});

const writable = fc.letrec<{ value: Packed }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false),
    fc.nat(2 ** 31 - 1),
    fc.maxSafeInteger().map(Math.abs),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc
      .double({ noNaN: true })
      .map((number) => number + 0.5)
      .filter((n) => !Number.isInteger(n)),
    text,
    fc.array(tie('value'), { maxLength: 20 }),
  ),
})).value;

function write(writer: MsgpackWriter, packed: Packed): MsgpackWriter {
  if (packed === null) return writer.nil();
  if (typeof packed === 'boolean') return writer.boolean(packed);
  if (typeof packed === 'string') return writer.string(packed);
  if (typeof packed === 'bigint') return writer.uint64(packed);
  if (typeof packed === 'number') {
    return Number.isInteger(packed) ? writer.uint(packed) : writer.float(packed);
  }
  assert.ok(Array.isArray(packed));
  writer.array(packed.length);
  for (const item of packed) write(writer, item);
  return writer;
}

/** Integers of either kind alike, byte strings of either class alike. */
function plain(packed: Packed): unknown {
  if (typeof packed === 'bigint') return packed;
  if (typeof packed === 'number') return Number.isInteger(packed) ? BigInt(packed) : packed;
  if (packed instanceof Uint8Array) return { bytes: Array.from(packed) };
  if (Array.isArray(packed)) return packed.map(plain);
  if (packed instanceof Map)
    return { map: [...packed].map(([key, inner]) => [plain(key), plain(inner)]) };
  return packed;
}
