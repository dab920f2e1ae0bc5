/**
 * The tokens that could come next, as llama.cpp's samplers take them (`llama_token_data_array`, of
 * `llama_token_data`: id, logit, probability). One piece of native memory, filled anew each time.
 */
import { assert } from '../../base/assert.ts';
import { allocate, type Llama, memoryAt, type Pointer } from './binding.ts';

const HEAD_BYTES = 32;
const ENTRY_WORDS = 3;

export class Candidates {
  readonly #llama: Llama;
  readonly #pointer: Pointer;
  readonly #memory: ArrayBuffer;
  readonly #head: DataView;
  readonly #ids: Int32Array;
  readonly #logits: Float32Array;

  constructor(llama: Llama, vocabularySize: number) {
    this.#llama = llama;
    const { pointer, memory } = allocate(HEAD_BYTES + 4 * ENTRY_WORDS * vocabularySize);
    this.#pointer = pointer;
    this.#memory = memory;
    this.#head = new DataView(memory, 0, HEAD_BYTES);
    this.#ids = new Int32Array(memory, HEAD_BYTES);
    this.#logits = new Float32Array(memory, HEAD_BYTES);
  }

  /** The whole vocabulary but `banned`. */
  fill(logits: Float32Array, banned: Iterable<number>): void {
    for (let id = 0, at = 0; id < logits.length; id++, at += ENTRY_WORDS) {
      this.#ids[at] = id;
      this.#logits[at + 1] = logits[id];
    }
    for (const id of banned) this.#logits[id * ENTRY_WORDS + 1] = Number.NEGATIVE_INFINITY;
    this.#begin(logits.length);
  }

  /** Whether the sampler leaves this token in. */
  allows(sampler: Pointer, token: number): boolean {
    this.#ids[0] = token;
    this.#logits[1] = 0;
    this.#begin(1);
    this.#llama.sampler_apply(sampler, this.#pointer);
    return this.#logits[1] !== Number.NEGATIVE_INFINITY;
  }

  apply(sampler: Pointer): void {
    this.#llama.sampler_apply(sampler, this.#pointer);
  }

  /** Whether any token is left. */
  get hasAny(): boolean {
    const size = Number(this.#head.getBigUint64(8, true));
    for (let i = 0; i < size; i++) {
      if (this.#logits[i * ENTRY_WORDS + 1] !== Number.NEGATIVE_INFINITY) return true;
    }
    return false;
  }

  /** What a sampler selected. */
  get token(): number {
    const selected = Number(this.#head.getBigInt64(16, true));
    const size = Number(this.#head.getBigUint64(8, true));
    assert(selected >= 0 && selected < size, 'a chain of samplers selects a token');
    const data = this.#head.getBigUint64(0, true);
    if (data === this.#pointer + BigInt(HEAD_BYTES)) return this.#ids[selected * ENTRY_WORDS];
    // Samplers may put other memory in the place of ours.
    const entry = data + BigInt(4 * ENTRY_WORDS * selected);
    return new Int32Array(memoryAt(entry, 4))[0];
  }

  #begin(size: number): void {
    assert(HEAD_BYTES + 4 * ENTRY_WORDS * size <= this.#memory.byteLength, 'all candidates fit');
    this.#head.setBigUint64(0, this.#pointer + BigInt(HEAD_BYTES), true);
    this.#head.setBigUint64(8, BigInt(size), true);
    this.#head.setBigInt64(16, -1n, true);
    this.#head.setBigUint64(24, 0n, true);
  }
}
