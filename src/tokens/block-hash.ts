/**
 * Identity of KV blocks: a 64-bit hash chained over the blocks of a prompt.
 *
 *   root  = first 64 bits of murmur(seed 1, fingerprint and salt)
 *   block = first 64 bits of murmur(seed 0, parent low, parent high, ids…)
 *
 * murmur is MurmurHash3_x86_128 (Austin Appleby, public domain; reference file MurmurHash3.cpp of
 * SMHasher) over little-endian 32-bit words. It needs no 64-bit arithmetic, which JavaScript has
 * only as BigInt; BigInts appear at the border, where hashes leave as the port wants them.
 */
import { assert } from '../base/assert.ts';
import type { BlockHash, BlockHashes } from '../model/block.ts';
import type { BlockHasher } from '../ports.ts';

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
assert(LITTLE_ENDIAN, 'the host is little-endian, as the layout of 64-bit hashes supposes');

const ROOT_SEED = 1;
const BLOCK_SEED = 0;
const PARENT_WORDS = 2;

export class ChainHasher implements BlockHasher {
  readonly blockTokens: number;
  readonly #fingerprint: string;
  /** Parent, then ids. */
  readonly #message: Uint32Array;
  readonly #digest = new Uint32Array(4);
  readonly #digest64 = new BigUint64Array(this.#digest.buffer);

  /** `fingerprint`: of the model, so that nothing is shared between models. */
  constructor(options: { fingerprint: string; blockTokens: number }) {
    this.#fingerprint = options.fingerprint;
    this.blockTokens = options.blockTokens;
    this.#message = new Uint32Array(PARENT_WORDS + options.blockTokens);
  }

  root(salt: string): BlockHash {
    const bytes = new TextEncoder().encode(JSON.stringify([this.#fingerprint, salt]));
    const words = new Uint32Array(1 + Math.ceil(bytes.length / 4));
    words[0] = bytes.length; // the last word is padded
    new Uint8Array(words.buffer).set(bytes, 4);
    murmur(words, ROOT_SEED, this.#digest);
    return this.#digest64[0];
  }

  block(parent: BlockHash, ids: Uint32Array, start: number): BlockHash {
    this.#digest64[0] = parent;
    this.#chain(ids, start);
    return this.#digest64[0];
  }

  blocks(root: BlockHash, ids: Uint32Array): BlockHashes {
    const count = Math.floor(ids.length / this.blockTokens);
    const hashes = new BigUint64Array(count);
    const words = new Uint32Array(hashes.buffer);
    this.#digest64[0] = root;
    for (let i = 0; i < count; i++) {
      this.#chain(ids, i * this.blockTokens);
      words[2 * i] = this.#digest[0];
      words[2 * i + 1] = this.#digest[1];
    }
    return hashes;
  }

  /** Replaces the parent in the digest by the hash of the block at `start`. */
  #chain(ids: Uint32Array, start: number): void {
    const message = this.#message;
    message[0] = this.#digest[0];
    message[1] = this.#digest[1];
    for (let i = 0; i < this.blockTokens; i++) message[PARENT_WORDS + i] = ids[start + i];
    murmur(message, BLOCK_SEED, this.#digest);
  }
}

const C1 = 0x239b961b;
const C2 = 0xab0e9789;
const C3 = 0x38b34ae5;
const C4 = 0xa1e38b93;

/** MurmurHash3_x86_128 of whole words. */
function murmur(words: Uint32Array, seed: number, digest: Uint32Array): void {
  const whole = words.length & ~3;
  let h1 = seed;
  let h2 = seed;
  let h3 = seed;
  let h4 = seed;
  for (let i = 0; i < whole; i += 4) {
    h1 ^= scramble1(words[i]);
    h1 = (Math.imul((rotate(h1, 19) + h2) | 0, 5) + 0x561ccd1b) | 0;
    h2 ^= scramble2(words[i + 1]);
    h2 = (Math.imul((rotate(h2, 17) + h3) | 0, 5) + 0x0bcaa747) | 0;
    h3 ^= scramble3(words[i + 2]);
    h3 = (Math.imul((rotate(h3, 15) + h4) | 0, 5) + 0x96cd1c35) | 0;
    h4 ^= scramble4(words[i + 3]);
    h4 = (Math.imul((rotate(h4, 13) + h1) | 0, 5) + 0x32ac3b17) | 0;
  }
  const rest = words.length - whole;
  if (rest > 2) h3 ^= scramble3(words[whole + 2]);
  if (rest > 1) h2 ^= scramble2(words[whole + 1]);
  if (rest > 0) h1 ^= scramble1(words[whole]);

  const bytes = words.length * 4;
  h1 ^= bytes;
  h2 ^= bytes;
  h3 ^= bytes;
  h4 ^= bytes;
  h1 = (h1 + h2 + h3 + h4) | 0;
  h2 = avalanche((h2 + h1) | 0);
  h3 = avalanche((h3 + h1) | 0);
  h4 = avalanche((h4 + h1) | 0);
  h1 = (avalanche(h1) + h2 + h3 + h4) | 0;
  digest[0] = h1;
  digest[1] = h2 + h1;
  digest[2] = h3 + h1;
  digest[3] = h4 + h1;
}

function scramble1(k: number): number {
  return Math.imul(rotate(Math.imul(k, C1), 15), C2);
}

function scramble2(k: number): number {
  return Math.imul(rotate(Math.imul(k, C2), 16), C3);
}

function scramble3(k: number): number {
  return Math.imul(rotate(Math.imul(k, C3), 17), C4);
}

function scramble4(k: number): number {
  return Math.imul(rotate(Math.imul(k, C4), 18), C1);
}

function avalanche(h: number): number {
  const a = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  const b = Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  return b ^ (b >>> 16);
}

function rotate(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}
