/**
 * The WebAssembly that hashes blocks, and the memory it shares with us: a call hashes what was put
 * into `input`. Its source is assembly/block-hash.ts; scripts/build-wasm.js builds it.
 *
 * One instance serves the thread: a call runs to its end, and what it leaves behind is read at once.
 * Its memory (128 KiB) never grows, so the views are made once; long prompts are hashed in pieces.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { assert } from '../base/assert.ts';

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
assert(LITTLE_ENDIAN, 'the host is little-endian, as the memory of WebAssembly is');

interface Exports {
  memory: { buffer: ArrayBuffer };
  PIECE_TOKENS: { value: number };
  /** Addresses. */
  state: { value: number };
  input: { value: number };
  hashes: { value: number };
  chain(blockCount: number, blockTokens: number): void;
  digest(bytes: number): void;
}

/** As much of the global as we use; the libraries that types are taken from leave it to browsers. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { exports: unknown };
};

const exported = instance();
const { buffer } = exported.memory;

/** The ids that `input` holds, and the hashes that `hashes` holds. */
export const PIECE_TOKENS = exported.PIECE_TOKENS.value;
const PIECE_BYTES = PIECE_TOKENS * Uint32Array.BYTES_PER_ELEMENT;

/** One number: the parent of the first block before `chain`, the hash of the last one after it. */
export const state = new BigUint64Array(buffer, exported.state.value, 1);
export const input = new Uint32Array(buffer, exported.input.value, PIECE_TOKENS);
const inputBytes = new Uint8Array(buffer, exported.input.value, PIECE_BYTES);
/** What `chain` leaves, a hash for each block. */
export const hashes = new BigUint64Array(buffer, exported.hashes.value, PIECE_TOKENS);

/** Hashes `blockCount` blocks of `blockTokens` ids that lie in `input`: at most PIECE_TOKENS ids. */
export const { chain } = exported;

/**
 * XXH3-64 of the bytes. Over 32 KiB: of each 32 KiB in turn, with the hash before it as the seed.
 */
export function xxh3(bytes: Uint8Array, seed: bigint): bigint {
  state[0] = seed;
  let at = 0;
  do {
    const piece = bytes.subarray(at, at + PIECE_BYTES);
    inputBytes.set(piece);
    exported.digest(piece.length);
    at += piece.length;
  } while (at < bytes.length);
  return state[0];
}

function instance(): Exports {
  const path = fileURLToPath(new URL('./block-hash.wasm', import.meta.url));
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new Error(`${path} cannot be read; npm run build makes it.`, { cause });
  }
  return new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as Exports;
}
