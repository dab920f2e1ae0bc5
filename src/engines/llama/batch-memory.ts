import koffi from 'koffi';
import type { Slice } from '../../model/step.ts';
import type { Pointer } from './binding.ts';

/** The arrays of a `llama_batch`, in one piece of native memory that lives as long as the context. */
export class BatchMemory {
  count = 0;
  readonly #tokens: Int32Array;
  readonly #positions: Int32Array;
  readonly #sequences: BigUint64Array;
  readonly #outputs: Int8Array;
  readonly #slotCells: Pointer;
  readonly #pointers: {
    token: Pointer;
    pos: Pointer;
    n_seq_id: Pointer;
    seq_id: Pointer;
    logits: Pointer;
  };

  constructor(tokensMax: number, slots: number) {
    const bytes = tokensMax * (4 + 4 + 4 + 8 + 1) + slots * 4 + 6 * 16;
    const base = koffi.alloc('uint8_t', bytes) as unknown as Pointer;
    const memory = koffi.view(base, bytes);
    let used = 0;
    const claim = (size: number) => {
      const at = used;
      used = (used + size + 15) & ~15;
      return { at, pointer: base + BigInt(at) };
    };
    const token = claim(4 * tokensMax);
    const pos = claim(4 * tokensMax);
    const counts = claim(4 * tokensMax);
    const sequences = claim(8 * tokensMax);
    const cells = claim(4 * slots);
    const outputs = claim(tokensMax);
    this.#tokens = new Int32Array(memory, token.at, tokensMax);
    this.#positions = new Int32Array(memory, pos.at, tokensMax);
    new Int32Array(memory, counts.at, tokensMax).fill(1);
    this.#sequences = new BigUint64Array(memory, sequences.at, tokensMax);
    const slotCells = new Int32Array(memory, cells.at, slots);
    for (let slot = 0; slot < slots; slot++) slotCells[slot] = slot;
    this.#slotCells = cells.pointer;
    this.#outputs = new Int8Array(memory, outputs.at, tokensMax);
    this.#pointers = {
      token: token.pointer,
      pos: pos.pointer,
      n_seq_id: counts.pointer,
      seq_id: sequences.pointer,
      logits: outputs.pointer,
    };
  }

  clear(): void {
    this.count = 0;
  }

  add(slice: Slice): void {
    const { tokens, position, slot } = slice;
    const sequence = this.#slotCells + BigInt(4 * slot);
    for (let i = 0; i < tokens.length; i++) {
      this.#tokens[this.count] = tokens[i];
      this.#positions[this.count] = position + i;
      this.#sequences[this.count] = sequence;
      this.#outputs[this.count] = slice.sample && i === tokens.length - 1 ? 1 : 0;
      this.count++;
    }
  }

  struct() {
    return { n_tokens: this.count, embd: null, ...this.#pointers };
  }
}
