import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HashTable } from './hash-table.ts';
import { Prng } from './prng.ts';

const MIB = 1024 * 1024;

test('after any inserts and deletes the table answers as a Map would', () => {
  fc.assert(
    fc.property(fc.integer(), fc.constantFrom('spread', 'small', 'sameTag'), (seed, kind) => {
      const rng = new Prng(seed);
      const keys = keysOf(kind, 600, rng);
      const table = new HashTable({ valueWords: 2, bytesMax: MIB });
      const twin = new Map<number, number>();
      for (let i = 0; i < 3000; i++) {
        const key = rng.below(keys.length);
        const [low, high] = keys[key];
        const address = table.find(low, high);
        assert.equal(address === 0, !twin.has(key));
        if (address === 0) {
          const made = table.insert(low, high);
          assert.equal(table.memory[made + 2 * table.column], 0, 'a record begins with zeros');
          table.memory[made + 2 * table.column] = i + 1;
          table.memory[made + 3 * table.column] = ~i;
          twin.set(key, i);
        } else {
          const value = twin.get(key) as number;
          assert.equal(table.peek(low, high), address);
          assert.equal(table.memory[address + 2 * table.column], value + 1);
          assert.equal(table.memory[address + 3 * table.column], ~value);
          if (rng.below(3) > 0) {
            table.delete(address);
            twin.delete(key);
          }
        }
        assert.equal(table.size, twin.size);
      }
      table.check();
    }),
    { numRuns: 30 },
  );
});

test('it grows to what it promises, past every doubling, and finds all of it', () => {
  const rng = new Prng(7);
  const table = new HashTable({ valueWords: 3, bytesMax: 16 * MIB });
  const keys = keysOf('spread', table.sizeMax, rng);
  for (const [low, high] of keys) assert.notEqual(table.insert(low, high), 0);
  assert.equal(table.size, table.sizeMax);
  assert.ok(table.bytes <= 16 * MIB);
  assert.ok(table.bytes / table.size < 40, `${table.bytes / table.size} bytes per record`);
  table.check();
  const found = new Int32Array(8);
  const words = Int32Array.from(keys.slice(0, 8).flat());
  const places = Int32Array.from({ length: 8 }, (_, i) => 7 - i);
  table.peekAll({ words, places, found }, 8);
  found.forEach((address, i) => {
    assert.equal(address, table.find(...keys[7 - i]));
  });
});

test('a walk over all places meets each record once', () => {
  const table = new HashTable({ valueWords: 1, bytesMax: MIB });
  const addresses = keysOf('spread', 3000, new Prng(3)).map(([low, high]) =>
    table.insert(low, high),
  );
  const met = new Set<number>();
  let at = addresses[1234];
  for (let i = 0; i < table.places; i++) {
    at = table.after(at);
    met.add(at);
  }
  assert.equal(met.size, table.places);
  assert.ok(addresses.every((address) => met.has(address)));
});

test('a table that is full, and keys that all fall together, are refused and harm nothing', () => {
  const small = new HashTable({ valueWords: 1, bytesMax: 64 * 1024 });
  const keys = keysOf('spread', 10_000, new Prng(5));
  const taken = keys.filter(([low, high]) => small.insert(low, high) !== 0);
  assert.ok(taken.length >= small.sizeMax && taken.length < keys.length);
  small.check();
  const table = new HashTable({ valueWords: 1, bytesMax: MIB });
  const clash = keysOf('sameTag', 3000, new Prng(5));
  const fitting = clash.filter(([low, high]) => table.insert(low, high) !== 0);
  assert.ok(fitting.length > 500 && fitting.length < clash.length);
  for (const [low, high] of fitting) assert.notEqual(table.find(low, high), 0);
  table.check();
  assert.notEqual(table.insert(...keys[0]), 0, 'others still fit');
});

type Kind = 'spread' | 'small' | 'sameTag';

/** Distinct keys: random ones, small integers, or such that the table's own mixing makes equal. */
function keysOf(kind: Kind, count: number, rng: Prng): [low: number, high: number][] {
  return Array.from({ length: count }, (_, i) => {
    if (kind === 'small') return [i, 0];
    if (kind === 'sameTag') return [12345 ^ Math.imul(i, 0x9e3779b1), i];
    return [rng.uint32() | 0, rng.uint32() | 0];
  });
}
