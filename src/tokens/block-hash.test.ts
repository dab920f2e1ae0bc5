import assert from 'node:assert/strict';
import { test } from 'node:test';
import { xxh3 as oracle } from '@node-rs/xxhash';
import fc from 'fast-check';
import { Prng } from '../base/prng.ts';
import { ChainHasher } from './block-hash.ts';
import { PIECE_TOKENS, xxh3 } from './block-hash-wasm.ts';

const BLOCK_TOKENS = 16;
const hasher = new ChainHasher({ fingerprint: 'f', blockTokens: BLOCK_TOKENS });
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

test("XXH3 of each length class: the answers of xxHash's own sanity check", () => {
  const bytes = sanityBytes(2367);
  for (const [length, unseeded, seeded] of SANITY) {
    const start = bytes.subarray(0, length);
    assert.equal(xxh3(start, 0n), unseeded, `${length} bytes`);
    assert.equal(xxh3(start, SANITY_SEED), seeded, `${length} bytes, seeded`);
  }
});

test('XXH3 of any bytes with any seed is that of the native library', () => {
  // Around the borders of the length classes, stripes and rounds, and beyond the longest block.
  const length = fc.oneof(
    fc.nat(300),
    fc.constantFrom(1023, 1024, 1025, 1087, 1088, 1089, 2048, 2049),
    fc.nat(4 * PIECE_TOKENS),
  );
  const seed = fc.oneof(fc.constantFrom(0n, 1337n, 2n ** 64n - 1n), u64);
  fc.assert(
    fc.property(length, seed, fc.integer(), (bytes, seeded, draw) => {
      const random = new Prng(draw);
      const message = Uint8Array.from({ length: bytes }, () => random.below(256));
      assert.equal(xxh3(message, seeded), oracle.xxh64(message, seeded));
    }),
  );
});

test('a chain of blocks of 1 to 256 tokens is that of a slow twin', () => {
  const random = new Prng(1);
  const ids = Uint32Array.from({ length: PIECE_TOKENS * 2 + 300 }, () => random.below(2 ** 32));
  for (let blockTokens = 1; blockTokens <= 256; blockTokens++) {
    const sized = new ChainHasher({ fingerprint: 'f', blockTokens });
    const root = sized.root('s');
    // Past the border between two pieces, with a block behind it that lacks one token.
    const some = ids.subarray(blockTokens, PIECE_TOKENS + 3 * blockTokens - 1);
    assert.deepEqual(sized.blocks(root, some), slowChain(root, some, blockTokens));
  }
  assert.deepEqual(hasher.blocks(7n, ids), slowChain(7n, ids, BLOCK_TOKENS));
});

test('a chain goes on from wherever it was cut, block by block or all at once', () => {
  const random = new Prng(2);
  const ids = Uint32Array.from({ length: 40_000 }, () => random.below(150_000));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 256 }), fc.nat(), u64, (blockTokens, draw, root) => {
      const sized = new ChainHasher({ fingerprint: 'f', blockTokens });
      const whole = sized.blocks(root, ids);
      assert.equal(whole.length, Math.floor(ids.length / blockTokens));
      const cut = draw % whole.length;
      const parent = cut === 0 ? root : whole[cut - 1];
      assert.equal(sized.block(parent, ids, cut * blockTokens), whole[cut]);
      // Another chain between the two leaves nothing behind that the second would use.
      hasher.blocks(hasher.root('other'), ids.subarray(0, 64));
      const rest = sized.blocks(parent, ids.subarray(cut * blockTokens));
      assert.deepEqual(rest, whole.subarray(cut));
    }),
    { numRuns: 50 },
  );
});

test('less than a block has no hash', () => {
  const root = hasher.root('');
  assert.equal(hasher.blocks(root, new Uint32Array(BLOCK_TOKENS - 1)).length, 0);
  assert.equal(hasher.blocks(root, new Uint32Array(0)).length, 0);
  assert.equal(hasher.blocks(root, new Uint32Array(BLOCK_TOKENS)).length, 1);
});

test('roots are the hash of their identity as JSON; what is empty is absent', () => {
  const rootOf = (json: string) => oracle.xxh64(json, 0n);
  assert.equal(hasher.root(''), rootOf('{"fingerprint":"f"}'));
  assert.equal(hasher.root('s'), rootOf('{"fingerprint":"f","salt":"s"}'));
  const adapted = new ChainHasher({ fingerprint: 'f', lora: 'l', blockTokens: BLOCK_TOKENS });
  assert.equal(adapted.root(''), rootOf('{"fingerprint":"f","lora_name":"l"}'));
  assert.equal(adapted.root('s'), rootOf('{"fingerprint":"f","lora_name":"l","salt":"s"}'));
  const plain = new ChainHasher({ fingerprint: 'f', lora: '', blockTokens: BLOCK_TOKENS });
  assert.equal(plain.root('s'), hasher.root('s'));
});

test('models, adapters and salts separate, however odd or long the salt', () => {
  const long = 'x'.repeat(4 * PIECE_TOKENS);
  const salts = ['', 'a', 'b', 'a"', '\ud800', '\udc00', '\u0000', long, `${long}y`, `y${long}`];
  const hashers = [
    hasher,
    new ChainHasher({ fingerprint: 'g', blockTokens: BLOCK_TOKENS }),
    new ChainHasher({ fingerprint: 'f', lora: 'a', blockTokens: BLOCK_TOKENS }),
    new ChainHasher({ fingerprint: 'f', lora: 'b', blockTokens: BLOCK_TOKENS }),
  ];
  const roots = hashers.flatMap((one) => salts.map((salt) => one.root(salt)));
  assert.equal(new Set(roots).size, roots.length);
  const ids = new Uint32Array(BLOCK_TOKENS);
  const first = roots.map((root) => hasher.block(root, ids, 0));
  assert.equal(new Set(first).size, roots.length);
});

test('a block of no tokens, of half a token or of more than a piece is refused', () => {
  for (const blockTokens of [0, -1, 1.5, Number.NaN, PIECE_TOKENS + 1]) {
    assert.throws(() => new ChainHasher({ fingerprint: 'f', blockTokens }), /a block has 1 to/);
  }
  const ids = Uint32Array.from({ length: 2 * PIECE_TOKENS }, (_, i) => i);
  const largest = new ChainHasher({ fingerprint: 'f', blockTokens: PIECE_TOKENS });
  assert.deepEqual(largest.blocks(1n, ids), slowChain(1n, ids, PIECE_TOKENS));
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

/** The chain as its definition has it, by the native library, one message at a time. */
function slowChain(root: bigint, ids: Uint32Array, blockTokens: number): BigUint64Array {
  const chained: bigint[] = [];
  let parent = root;
  for (let start = 0; start + blockTokens <= ids.length; start += blockTokens) {
    const block = new Uint8Array(ids.slice(start, start + blockTokens).buffer);
    const pair = BigUint64Array.of(parent, oracle.xxh64(block, 1337n));
    parent = oracle.xxh64(new Uint8Array(pair.buffer), 1337n);
    chained.push(parent);
  }
  return BigUint64Array.from(chained);
}

/** The top bytes of 2654435761 times the powers of 11400714785074694797: xxHash's sanity buffer. */
function sanityBytes(length: number): Uint8Array {
  let word = 2654435761n;
  return Uint8Array.from({ length }, () => {
    const byte = Number(word >> 56n);
    word = (word * 11400714785074694797n) & 0xffffffffffffffffn;
    return byte;
  });
}

const SANITY_SEED = 0x9e3779b185ebca8dn;

/** Bytes, their XXH3-64 with seed 0, and with SANITY_SEED: xxHash, tests/sanity_test_vectors.h. */
const SANITY: readonly (readonly [length: number, unseeded: bigint, seeded: bigint])[] = [
  [0, 0x2d06800538d394c2n, 0xa8a6b918b2f0364an],
  [1, 0xc44bdff4074eecdbn, 0x032be332dd766ef8n],
  [6, 0x27b56a84cd2d7325n, 0x84589c116ab59ab9n],
  [12, 0xa713daf0dfbb77e7n, 0xe7303e1b2336de0en],
  [24, 0xa3fe70bf9d3510ebn, 0x850e80fc35bdd690n],
  [48, 0x397da259ecba1f11n, 0xadc2cbaa44acc616n],
  [80, 0xbcdefbbb2c47c90an, 0xc6dd0cb699532e73n],
  [195, 0xcd94217ee362ec3an, 0xba68003d370cb3d9n],
  [403, 0xcdeb804d65c6dea4n, 0x6259f6ecfd6443fdn],
  [512, 0x617e49599013cb6bn, 0x3ce457de14c27708n],
  [2048, 0xdd59e2c3a5f038e0n, 0x66f81670669ababcn],
  [2240, 0x6e73a90539cf2948n, 0x757ba8487d1b5247n],
  [2367, 0xcb37aeb9e5d361edn, 0xd2db3415b942b42an],
];
