/** The host store's bytes: blocks by handle, in slabs that are claimed when first written. */
import { assert } from '../../base/assert.ts';
import type { Handle } from '../../model/step.ts';

const SLAB_BYTES = 16 * 1024 * 1024;

export class HostStore {
  readonly #blockBytes: number;
  readonly #blocksPerSlab: number;
  readonly #slabs: (Uint8Array | undefined)[] = [];

  constructor(blockBytes: number) {
    this.#blockBytes = blockBytes;
    this.#blocksPerSlab = Math.max(1, Math.floor(SLAB_BYTES / blockBytes));
  }

  /** The bytes of a block, to be written. */
  claim(handle: Handle): Uint8Array {
    const slab = Math.floor(handle / this.#blocksPerSlab);
    this.#slabs[slab] ??= new Uint8Array(this.#blocksPerSlab * this.#blockBytes);
    return this.get(handle);
  }

  get(handle: Handle): Uint8Array {
    const slab = this.#slabs[Math.floor(handle / this.#blocksPerSlab)];
    assert(slab !== undefined, 'a handle is written before it is read');
    const start = (handle % this.#blocksPerSlab) * this.#blockBytes;
    return slab.subarray(start, start + this.#blockBytes);
  }
}
