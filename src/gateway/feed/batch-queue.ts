/**
 * Batches of one worker that wait: their bytes are copied into a few large pieces of memory at once, so
 * that what they came in is garbage while it is young. Kept alive it would be the old generation's, and
 * collecting that holds up requests. Nothing is copied twice, however long the queue gets.
 *
 *   pieces   [ · · head █████ ] [ ███████ · ] … [ ████ tail · · · ]     a batch lies in one piece
 */
import { must } from '../../base/assert.ts';
import type { NumberedBatch } from '../../wire/kv-event-log.ts';

/** In front of each batch: its number (a double), then its length in bytes. */
const LENGTH_AT = 8;
const HEAD_BYTES = 12;

interface Piece {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  head: number;
  tail: number;
}

export class BatchQueue {
  readonly #limits: { bytesMax: number; pieceBytes: number };
  #pieces: Piece[] = [];
  /** One that was emptied last, for the next. */
  #spare: Piece | undefined;
  #count = 0;
  #bytes = 0;

  /** `bytesMax`: of what waits. `pieceBytes`: a batch that is larger has a piece of its own. */
  constructor(limits: { bytesMax: number; pieceBytes: number }) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  /** Of what waits, heads included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Copies the batch; false where there is no room. */
  push({ number, payload }: NumberedBatch): boolean {
    const size = HEAD_BYTES + payload.length;
    if (this.#bytes + size > this.#limits.bytesMax) return false;
    const piece = this.#roomFor(size);
    piece.view.setFloat64(piece.tail, number);
    piece.view.setUint32(piece.tail + LENGTH_AT, payload.length);
    piece.bytes.set(payload, piece.tail + HEAD_BYTES);
    piece.tail += size;
    this.#count++;
    this.#bytes += size;
    return true;
  }

  /** The one that waits longest; its bytes are good until the next `push`. */
  first(): NumberedBatch | undefined {
    if (this.#count === 0) return undefined;
    const { bytes, view, head } = this.#pieces[0];
    const start = head + HEAD_BYTES;
    const payload = bytes.subarray(start, start + view.getUint32(head + LENGTH_AT));
    return { number: view.getFloat64(head), payload };
  }

  shift(): void {
    const piece = must(this.#pieces[0], 'there is a batch to be taken');
    const size = HEAD_BYTES + piece.view.getUint32(piece.head + LENGTH_AT);
    piece.head += size;
    this.#count--;
    this.#bytes -= size;
    if (piece.head < piece.tail) return;
    this.#pieces.shift();
    if (piece.bytes.length === this.#limits.pieceBytes) this.#spare = piece;
  }

  clear(): void {
    this.#pieces = [];
    this.#count = 0;
    this.#bytes = 0;
  }

  #roomFor(size: number): Piece {
    const last = this.#pieces.at(-1);
    if (last !== undefined && last.tail + size <= last.bytes.length) return last;
    let piece = size <= this.#limits.pieceBytes ? this.#spare : undefined;
    if (piece === undefined) {
      const bytes = new Uint8Array(Math.max(this.#limits.pieceBytes, size));
      piece = { bytes, view: new DataView(bytes.buffer), head: 0, tail: 0 };
    } else {
      this.#spare = undefined;
      piece.head = 0;
      piece.tail = 0;
    }
    this.#pieces.push(piece);
    return piece;
  }
}
