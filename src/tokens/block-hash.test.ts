import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../base/prng.ts';
import { ChainHasher } from './block-hash.ts';

const BLOCK_TOKENS = 16;
const hasher = new ChainHasher({ fingerprint: 'f', blockTokens: BLOCK_TOKENS });

test('hashes are those of Python: mmh3.hash_bytes(…, x64arch=False), first 8 bytes', () => {
  const ids = Uint32Array.from({ length: 40 }, (_, i) => Math.imul(i, 2654435761));
  const root = hasher.root('s');
  assert.equal(root, 0x8a9d826722bb73ben);
  assert.deepEqual([...hasher.blocks(root, ids)], [0x7a41ac101511db79n, 0x30b3240925149c44n]);
});

test('hashes are those of a slow twin', () => {
  const words = fc.array(fc.nat(0xffffffff), { minLength: 7, maxLength: 7 });
  const slow = new ChainHasher({ fingerprint: 'f', blockTokens: 7 });
  fc.assert(
    fc.property(words, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (ids, parent) => {
      const message = [Number(parent & 0xffffffffn), Number(parent >> 32n), ...ids];
      assert.equal(slow.block(parent, Uint32Array.from(ids), 0), murmur(message));
    }),
  );
});

test('a chain is its blocks, without the partial tail', () => {
  const random = new Prng(1);
  const ids = Uint32Array.from({ length: 100 }, () => random.below(150_000));
  const root = hasher.root('');
  const hashes = hasher.blocks(root, ids);
  assert.equal(hashes.length, 6);
  let parent = root;
  for (let i = 0; i < hashes.length; i++) {
    parent = hasher.block(parent, ids, i * BLOCK_TOKENS);
    assert.equal(hashes[i], parent);
  }
  assert.equal(hasher.blocks(root, ids.subarray(0, 15)).length, 0);
});

test('salts and models separate', () => {
  const other = new ChainHasher({ fingerprint: 'g', blockTokens: BLOCK_TOKENS });
  const roots = ['', 'a', 'b', 'a"', '\ud800', 'x'.repeat(100)].flatMap((salt) => [
    hasher.root(salt),
    other.root(salt),
  ]);
  assert.equal(new Set(roots).size, roots.length);
  const ids = new Uint32Array(BLOCK_TOKENS);
  const hashes = roots.map((root) => hasher.block(root, ids, 0));
  assert.equal(new Set(hashes).size, roots.length);
});

test('a million different blocks have a million hashes', () => {
  const random = new Prng(2);
  // Drawn from 50,000^4, the blocks do not repeat.
  const ids = Uint32Array.from({ length: 1_000_000 * 4 }, () => random.below(50_000));
  const small = new ChainHasher({ fingerprint: 'f', blockTokens: 4 });
  const root = small.root('');
  const hashes = BigUint64Array.from({ length: 1_000_000 }, (_, i) =>
    small.block(root, ids, i * 4),
  );
  hashes.sort();
  let distinct = 1;
  for (let i = 1; i < hashes.length; i++) if (hashes[i] !== hashes[i - 1]) distinct++;
  assert.equal(distinct, hashes.length);
});

/** MurmurHash3_x86_128 of 32-bit words, seed 0, first 64 bits; written from its definition. */
function murmur(words: readonly number[]): bigint {
  const mask = 0xffffffffn;
  const rotl = (x: bigint, r: bigint): bigint => ((x << r) | (x >> (32n - r))) & mask;
  const c = [0x239b961bn, 0xab0e9789n, 0x38b34ae5n, 0xa1e38b93n];
  const add = [0x561ccd1bn, 0x0bcaa747n, 0x96cd1c35n, 0x32ac3b17n];
  const turn = [19n, 17n, 15n, 13n];
  const h = [0n, 0n, 0n, 0n];
  const mixed = (word: number, lane: number): bigint =>
    (rotl((BigInt(word) * c[lane]) & mask, 15n + BigInt(lane)) * c[(lane + 1) % 4]) & mask;
  const whole = words.length - (words.length % 4);
  for (let i = 0; i < whole; i++) {
    const lane = i % 4;
    h[lane] = rotl(h[lane] ^ mixed(words[i], lane), turn[lane]);
    h[lane] = ((h[lane] + h[(lane + 1) % 4]) * 5n + add[lane]) & mask;
  }
  for (let i = whole; i < words.length; i++) h[i % 4] ^= mixed(words[i], i % 4);
  const spread = (): void => {
    h[0] = (h[0] + h[1] + h[2] + h[3]) & mask;
    for (const lane of [1, 2, 3]) h[lane] = (h[lane] + h[0]) & mask;
  };
  for (let lane = 0; lane < 4; lane++) h[lane] ^= BigInt(words.length * 4);
  spread();
  for (let lane = 0; lane < 4; lane++) {
    let k = h[lane];
    k = ((k ^ (k >> 16n)) * 0x85ebca6bn) & mask;
    k = ((k ^ (k >> 13n)) * 0xc2b2ae35n) & mask;
    h[lane] = k ^ (k >> 16n);
  }
  spread();
  return h[0] | (h[1] << 32n);
}
