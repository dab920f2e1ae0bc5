/**
 * Cuts a slot's saved state into KV blocks and builds a state from blocks.
 *
 *   state   magic, seq, streams, then per stream: cells [(pos, 1, seq) per cell, v_trans, layers,
 *           per layer (type, row bytes, K rows), per layer (type, row bytes, V rows)]
 *   block   per layer K rows of its tokens, per layer V rows: plain bytes, no header
 *
 * The format is llama.cpp's own (llama-kv-cache.cpp, state_write), not documented, and read here for
 * flash attention, where V lies in plain rows. A self-test at start gates its use.
 */
import { assert } from '../../base/assert.ts';

const HEADER_BYTES = 12;
const CELL_BYTES = 12;
const LAYER_HEADER_BYTES = 12;

interface Layer {
  type: number;
  rowBytes: number;
}

export class BlockCodec {
  readonly blockBytes: number;
  readonly #blockTokens: number;
  readonly #streams: number;
  readonly #magic: number;
  /** K of each layer, then V of each layer. */
  readonly #layers: Layer[];
  readonly #halves: number;

  /** Learns the layout from a state that holds at least one cell, all in one stream. */
  constructor(sample: Uint8Array, blockTokens: number) {
    const state = locate(sample);
    this.#blockTokens = blockTokens;
    this.#streams = state.streams;
    this.#magic = state.magic;
    this.#layers = state.layers;
    this.#halves = state.layers.length / 2;
    const rowBytes = this.#layers.reduce((sum, layer) => sum + layer.rowBytes, 0);
    this.blockBytes = rowBytes * blockTokens;
  }

  stateBytes(tokens: number): number {
    const perLayer = this.#layers.reduce(
      (sum, l) => sum + LAYER_HEADER_BYTES + l.rowBytes * tokens,
      0,
    );
    return HEADER_BYTES + 4 * this.#streams + CELL_BYTES * tokens + 8 + perLayer;
  }

  /** Copies the block at `index` of a saved state into `block` (`blockBytes` long). */
  read(state: Uint8Array, index: number, block: Uint8Array): void {
    const { cells, dataStart } = locate(state);
    assert((index + 1) * this.#blockTokens <= cells, 'a block lies within its state');
    let from = dataStart;
    let to = 0;
    for (const { rowBytes } of this.#layers) {
      from += LAYER_HEADER_BYTES;
      const bytes = this.#blockTokens * rowBytes;
      const at = from + index * bytes;
      block.set(state.subarray(at, at + bytes), to);
      from += cells * rowBytes;
      to += bytes;
    }
  }

  /** Writes the state that holds exactly these blocks; returns its length. */
  write(blocks: readonly Uint8Array[], state: Uint8Array): number {
    const cells = blocks.length * this.#blockTokens;
    const view = new DataView(state.buffer, state.byteOffset, state.byteLength);
    view.setUint32(0, this.#magic, true);
    view.setInt32(4, 0, true);
    view.setUint32(8, this.#streams, true);
    view.setUint32(12, cells, true);
    let at = 16;
    for (let position = 0; position < cells; position++) {
      view.setInt32(at, position, true);
      view.setUint32(at + 4, 1, true);
      view.setInt32(at + 8, 0, true);
      at += CELL_BYTES;
    }
    view.setUint32(at, 0, true);
    view.setUint32(at + 4, this.#halves, true);
    at += 8;
    let from = 0;
    for (const { type, rowBytes } of this.#layers) {
      view.setInt32(at, type, true);
      view.setBigUint64(at + 4, BigInt(rowBytes), true);
      at += LAYER_HEADER_BYTES;
      const bytes = this.#blockTokens * rowBytes;
      for (const block of blocks) {
        state.set(block.subarray(from, from + bytes), at);
        at += bytes;
      }
      from += bytes;
    }
    // The cells are in the first stream; the reader puts them where its caller says.
    for (let stream = 1; stream < this.#streams; stream++, at += 4) view.setUint32(at, 0, true);
    return at;
  }
}

/** Where things lie in a saved state; throws where the layout is not the one described above. */
function locate(state: Uint8Array): {
  magic: number;
  streams: number;
  cells: number;
  /** First byte of the first layer's header. */
  dataStart: number;
  layers: Layer[];
} {
  const view = new DataView(state.buffer, state.byteOffset, state.byteLength);
  const streams = view.getUint32(8, true);
  let at = HEADER_BYTES;
  let stream = 0;
  while (stream < streams && view.getUint32(at, true) === 0) {
    at += 4;
    stream++;
  }
  const cells = view.getUint32(at, true);
  at += 4 + CELL_BYTES * cells;
  if (view.getUint32(at, true) !== 0) throw new Error('V lies transposed in this state');
  const layerCount = view.getUint32(at + 4, true);
  const dataStart = at + 8;
  at = dataStart;
  const layers: Layer[] = [];
  for (let i = 0; i < 2 * layerCount; i++) {
    const type = view.getInt32(at, true);
    const rowBytes = Number(view.getBigUint64(at + 4, true));
    layers.push({ type, rowBytes });
    at += LAYER_HEADER_BYTES + cells * rowBytes;
  }
  if (at + 4 * (streams - stream - 1) !== state.length) {
    throw new Error('this state has another length than its layout says');
  }
  return { magic: view.getUint32(0, true), streams, cells, dataStart, layers };
}
