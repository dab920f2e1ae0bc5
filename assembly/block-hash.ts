// biome-ignore-all lint/correctness/noPrecisionLoss: AssemblyScript reads 64-bit literals exactly.
/**
 * AssemblyScript, compiled by scripts/build-wasm.js: XXH3 with 64-bit results, and the chain of
 * hashes over the blocks of a prompt. What it computes is said in src/tokens/block-hash.ts.
 *
 * XXH3 (Yann Collet): specification doc/xxhash_spec.md of the xxHash repository. Sums, products and
 * shifts are modulo 2^64; memory is little-endian, as the algorithm wants it.
 *
 * A call hashes what lies in `input`; nothing is allocated, so the views its caller holds stay good.
 */

/** Ids that one call takes: small enough to stay in the nearest caches, copied in and hashed. */
export const PIECE_TOKENS: u32 = 8192;

/** A seed or a parent comes in here, the last hash goes out. */
export const state: usize = memory.data(8, 16);
export const input: usize = memory.data(PIECE_TOKENS * 4, 16);
/** Of `chain`, in the order of the blocks. */
export const hashes: usize = memory.data(PIECE_TOKENS * 8, 16);

/** Of local hashes, as NVIDIA Dynamo has it, and of the chain. */
const BLOCK_SEED: u64 = 1337;
const PAIR_BYTES: u32 = 16;

/** Replaces the parent in `state` by the hash of the last of the blocks that lie in `input`. */
export function chain(blockCount: u32, blockTokens: u32): void {
  const bytes = blockTokens << 2;
  let parent = load<u64>(state);
  let block = input;
  let hash = hashes;
  for (let i: u32 = 0; i < blockCount; i++) {
    parent = ofTwoWords(parent, xxh3(block, bytes, BLOCK_SEED), PAIR_BYTES, BLOCK_SEED);
    store<u64>(hash, parent);
    block += bytes;
    hash += 8;
  }
  store<u64>(state, parent);
}

/** Replaces the seed in `state` by the hash of the first `bytes` bytes of `input`. */
export function digest(bytes: u32): void {
  store<u64>(state, xxh3(input, bytes, load<u64>(state)));
}

const P32_1: u64 = 0x9e3779b1;
const P32_2: u64 = 0x85ebca77;
const P32_3: u64 = 0xc2b2ae3d;
const P64_1: u64 = 0x9e3779b185ebca87;
const P64_2: u64 = 0xc2b2ae3d27d4eb4f;
const P64_3: u64 = 0x165667b19e3779f9;
const P64_4: u64 = 0x85ebca77c2b2ae63;
const P64_5: u64 = 0x27d4eb2f165667c5;
const MIX_SHORT: u64 = 0x9fb21c651e98df25;
const MIX_LAST: u64 = 0x165667919e3779f9;

const SECRET_BYTES: u32 = 192;
/** XXH3's default secret. */
// biome-ignore format: rows of 16
const SECRET: usize = memory.data<u8>([
  0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
  0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
  0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
  0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
  0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
  0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
  0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
  0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
  0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
  0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
  0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
  0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
], 16);

function xxh3(at: usize, bytes: u32, seed: u64): u64 {
  if (bytes <= 16) return ofAtMost16(at, bytes, seed);
  if (bytes <= 128) return ofAtMost128(at, bytes, seed);
  if (bytes <= 240) return ofAtMost240(at, bytes, seed);
  return ofMore(at, bytes, seed);
}

function ofAtMost16(at: usize, bytes: u32, seed: u64): u64 {
  if (bytes > 8) return ofTwoWords(load<u64>(at), load<u64>(at + bytes - 8), bytes, seed);
  if (bytes >= 4) {
    const turned = seed ^ ((<u64>bswap<u32>(<u32>seed)) << 32);
    const flip = (load<u64>(SECRET, 8) ^ load<u64>(SECRET, 16)) - turned;
    let hash = ((load<u32>(at + bytes - 4) as u64) + ((load<u32>(at) as u64) << 32)) ^ flip;
    hash ^= rotl<u64>(hash, 49) ^ rotl<u64>(hash, 24);
    hash *= MIX_SHORT;
    hash = (hash ^ ((hash >> 35) + bytes)) * MIX_SHORT;
    return hash ^ (hash >> 28);
  }
  if (bytes === 0) return avalancheOf64(seed ^ load<u64>(SECRET, 56) ^ load<u64>(SECRET, 64));
  const first = <u32>load<u8>(at);
  const middle = <u32>load<u8>(at + (bytes >> 1));
  const last = <u32>load<u8>(at + bytes - 1);
  const all = (first << 16) | (middle << 24) | last | (bytes << 8);
  return avalancheOf64(<u64>all ^ (<u64>(load<u32>(SECRET) ^ load<u32>(SECRET, 4)) + seed));
}

/** The first and the last word of 9 to 16 bytes, which may overlap. */
function ofTwoWords(first: u64, last: u64, bytes: u32, seed: u64): u64 {
  const low = first ^ ((load<u64>(SECRET, 24) ^ load<u64>(SECRET, 32)) + seed);
  const high = last ^ ((load<u64>(SECRET, 40) ^ load<u64>(SECRET, 48)) - seed);
  return avalanche(<u64>bytes + bswap<u64>(low) + high + folded(low, high));
}

/** From both ends towards the middle, where the two may overlap. */
function ofAtMost128(at: usize, bytes: u32, seed: u64): u64 {
  const seeds = i64x2.replace_lane(i64x2.splat(seed), 1, 0 - seed);
  const end = at + bytes;
  let sums = mixedPair(at, end - 16, SECRET, seeds);
  if (bytes > 32) {
    sums = i64x2.add(sums, mixedPair(at + 16, end - 32, SECRET + 32, seeds));
    if (bytes > 64) {
      sums = i64x2.add(sums, mixedPair(at + 32, end - 48, SECRET + 64, seeds));
      if (bytes > 96) {
        sums = i64x2.add(sums, mixedPair(at + 48, end - 64, SECRET + 96, seeds));
      }
    }
  }
  return avalanche(<u64>bytes * P64_1 + lanes(sums));
}

/** The secret is used again for what is beyond 128 bytes, shifted by 3, so that no pair repeats. */
function ofAtMost240(at: usize, bytes: u32, seed: u64): u64 {
  let sum = <u64>bytes * P64_1;
  for (let i: u32 = 0; i < 128; i += 16) sum += mixed(at + i, SECRET + i, seed);
  sum = avalanche(sum);
  for (let i: u32 = 128; i + 16 <= bytes; i += 16) {
    sum += mixed(at + i, SECRET + (i - 128 + 3), seed);
  }
  return avalanche(sum + mixed(at + bytes - 16, SECRET + (136 - 17), seed));
}

const STRIPE_BYTES: u32 = 64;
/** The secret moves on by so much with each stripe. */
const STRIPE_STEP: u32 = 8;
const ROUND_STRIPES: u32 = (SECRET_BYTES - STRIPE_BYTES) / STRIPE_STEP;

/**
 * Eight sums, two in each vector: for each word of a stripe, keyed by the secret, its low half times
 * its high half, and the word beside it as it came. After a round of stripes the sums are scrambled.
 */
function ofMore(at: usize, bytes: u32, seed: u64): u64 {
  seedSecret(seed);
  let sums01 = i64x2(P32_3, P64_1);
  let sums23 = i64x2(P64_2, P64_3);
  let sums45 = i64x2(P64_4, P32_2);
  let sums67 = i64x2(P64_5, P32_1);
  const last = (bytes - 1) / STRIPE_BYTES;
  for (let i: u32 = 0; i <= last; i++) {
    let stripe = at + i * STRIPE_BYTES;
    let secret = seeded + (i % ROUND_STRIPES) * STRIPE_STEP;
    if (i > 0 && i % ROUND_STRIPES === 0) {
      sums01 = scrambled(sums01, 0);
      sums23 = scrambled(sums23, 16);
      sums45 = scrambled(sums45, 32);
      sums67 = scrambled(sums67, 48);
    }
    if (i === last) {
      // It ends where the input ends, and may overlap the one before.
      stripe = at + bytes - STRIPE_BYTES;
      secret = LAST_SECRET;
    }
    const words01 = v128.load(stripe);
    const words23 = v128.load(stripe, 16);
    const words45 = v128.load(stripe, 32);
    const words67 = v128.load(stripe, 48);
    const keyed01 = v128.xor(words01, v128.load(secret));
    const keyed23 = v128.xor(words23, v128.load(secret, 16));
    const keyed45 = v128.xor(words45, v128.load(secret, 32));
    const keyed67 = v128.xor(words67, v128.load(secret, 48));
    const low03 = v128.shuffle<u32>(keyed01, keyed23, 0, 2, 4, 6);
    const high03 = v128.shuffle<u32>(keyed01, keyed23, 1, 3, 5, 7);
    const low47 = v128.shuffle<u32>(keyed45, keyed67, 0, 2, 4, 6);
    const high47 = v128.shuffle<u32>(keyed45, keyed67, 1, 3, 5, 7);
    sums01 = added(sums01, words01, i64x2.extmul_low_i32x4_u(low03, high03));
    sums23 = added(sums23, words23, i64x2.extmul_high_i32x4_u(low03, high03));
    sums45 = added(sums45, words45, i64x2.extmul_low_i32x4_u(low47, high47));
    sums67 = added(sums67, words67, i64x2.extmul_high_i32x4_u(low47, high47));
  }
  const folded03 = foldedPairs(
    v128.xor(sums01, v128.load(seeded, 11)),
    v128.xor(sums23, v128.load(seeded, 27)),
  );
  const folded47 = foldedPairs(
    v128.xor(sums45, v128.load(seeded, 43)),
    v128.xor(sums67, v128.load(seeded, 59)),
  );
  return avalanche(<u64>bytes * P64_1 + lanes(i64x2.add(folded03, folded47)));
}

function added(sums: v128, words: v128, products: v128): v128 {
  const neighbours = v128.shuffle<u64>(words, words, 1, 0);
  return i64x2.add(i64x2.add(sums, neighbours), products);
}

function scrambled(sums: v128, offset: usize): v128 {
  const key = v128.load(seeded + (SECRET_BYTES - STRIPE_BYTES) + offset);
  const shifted = v128.xor(sums, i64x2.shr_u(sums, 47));
  return i64x2.mul(v128.xor(shifted, key), i64x2.splat(P32_1));
}

/** The secret of inputs over 240 bytes, made for the seed they came with last. */
const seeded: usize = memory.data(192, 16);
let seededWith: u64 = 0;
memory.copy(seeded, SECRET, SECRET_BYTES);
const LAST_SECRET: usize = seeded + (SECRET_BYTES - STRIPE_BYTES - 7);

function seedSecret(seed: u64): void {
  if (seed === seededWith) return;
  for (let i: u32 = 0; i < SECRET_BYTES; i += 16) {
    store<u64>(seeded + i, load<u64>(SECRET + i) + seed);
    store<u64>(seeded + i, load<u64>(SECRET + i, 8) - seed, 8);
  }
  seededWith = seed;
}

function mixed(at: usize, secret: usize, seed: u64): u64 {
  const low = load<u64>(at) ^ (load<u64>(secret) + seed);
  return folded(low, load<u64>(at, 8) ^ (load<u64>(secret, 8) - seed));
}

/** The exclusive or of both halves of the 128-bit product; WebAssembly has only the low one. */
function folded(a: u64, b: u64): u64 {
  const aLow = a & 0xffffffff;
  const bLow = b & 0xffffffff;
  const aHigh = a >> 32;
  const bHigh = b >> 32;
  const low = aLow * bLow;
  const cross = aHigh * bLow;
  const middle = (low >> 32) + (cross & 0xffffffff) + aLow * bHigh;
  const high = (cross >> 32) + (middle >> 32) + aHigh * bHigh;
  return (a * b) ^ high;
}

/** As `mixed` of both addresses, with 16 bytes of the secret each: a result in each lane. */
function mixedPair(first: usize, second: usize, secret: usize, seeds: v128): v128 {
  return foldedPairs(
    v128.xor(v128.load(first), i64x2.add(v128.load(secret), seeds)),
    v128.xor(v128.load(second), i64x2.add(v128.load(secret, 16), seeds)),
  );
}

/** As `folded` of the two lanes of `x` and of those of `y`: a result in each lane. */
function foldedPairs(x: v128, y: v128): v128 {
  // Two low halves, then two high halves.
  const a = v128.shuffle<u32>(x, y, 0, 4, 1, 5);
  const b = v128.shuffle<u32>(x, y, 2, 6, 3, 7);
  const turned = v128.shuffle<u32>(a, a, 2, 3, 0, 1);
  const low = i64x2.extmul_low_i32x4_u(a, b);
  const cross = i64x2.extmul_low_i32x4_u(turned, b);
  const other = i64x2.extmul_high_i32x4_u(turned, b);
  const carried = i64x2.add(i64x2.shr_u(low, 32), v128.and(cross, i64x2.splat(0xffffffff)));
  const middle = i64x2.add(carried, other);
  const carries = i64x2.add(i64x2.shr_u(cross, 32), i64x2.shr_u(middle, 32));
  const high = i64x2.add(carries, i64x2.extmul_high_i32x4_u(a, b));
  return v128.xor(i64x2.add(low, i64x2.shl(i64x2.add(cross, other), 32)), high);
}

function lanes(sums: v128): u64 {
  return i64x2.extract_lane(sums, 0) + i64x2.extract_lane(sums, 1);
}

function avalanche(hash: u64): u64 {
  hash = (hash ^ (hash >> 37)) * MIX_LAST;
  return hash ^ (hash >> 32);
}

/** Of XXH64, XXH3's predecessor. */
function avalancheOf64(hash: u64): u64 {
  hash = (hash ^ (hash >> 33)) * P64_2;
  hash = (hash ^ (hash >> 29)) * P64_3;
  return hash ^ (hash >> 32);
}
