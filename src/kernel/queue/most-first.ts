/** Items by a key, largest first; of equals the one that comes first. Only what is taken is put in order. */
export class MostFirst<T> {
  readonly #items: readonly T[];
  readonly #keys: Float64Array;
  /** A heap of positions, whoever is next at its head. */
  readonly #heap: Int32Array;
  #size: number;

  constructor(items: readonly T[], keyOf: (item: T) => number) {
    this.#items = items;
    this.#size = items.length;
    this.#keys = new Float64Array(items.length);
    this.#heap = new Int32Array(items.length);
    for (let i = 0; i < items.length; i++) {
      this.#keys[i] = keyOf(items[i]);
      this.#heap[i] = i;
    }
    for (let i = (items.length >> 1) - 1; i >= 0; i--) this.#sink(i);
  }

  get size(): number {
    return this.#size;
  }

  /** Undefined where all were taken. */
  take(): T | undefined {
    if (this.#size === 0) return undefined;
    const heap = this.#heap;
    const first = heap[0];
    heap[0] = heap[--this.#size];
    this.#sink(0);
    return this.#items[first];
  }

  #sink(start: number): void {
    const heap = this.#heap;
    const position = heap[start];
    let index = start;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#isBefore(heap[child + 1], heap[child])) child++;
      if (!this.#isBefore(heap[child], position)) break;
      heap[index] = heap[child];
      index = child;
    }
    heap[index] = position;
  }

  #isBefore(a: number, b: number): boolean {
    const [keyA, keyB] = [this.#keys[a], this.#keys[b]];
    return keyA > keyB || (keyA === keyB && a < b);
  }
}
