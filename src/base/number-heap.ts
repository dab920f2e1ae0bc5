/** A min-heap of numbers in one typed array: for many of them, where objects would cost ten times as much. */
export class NumberHeap {
  #keys: Float64Array;
  #size = 0;

  /** Holds `capacity` without growing. */
  constructor(capacity: number) {
    this.#keys = new Float64Array(Math.max(1, capacity));
  }

  get size(): number {
    return this.#size;
  }

  push(key: number): void {
    if (this.#size === this.#keys.length) this.#grow();
    const keys = this.#keys;
    let index = this.#size++;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (keys[parent] <= key) break;
      keys[index] = keys[parent];
      index = parent;
    }
    keys[index] = key;
  }

  pop(): number | undefined {
    if (this.#size === 0) return undefined;
    const keys = this.#keys;
    const least = keys[0];
    const last = keys[--this.#size];
    const end = this.#size;
    let index = 0;
    for (let child = 1; child < end; child = 2 * index + 1) {
      if (child + 1 < end && keys[child + 1] < keys[child]) child++;
      if (keys[child] >= last) break;
      keys[index] = keys[child];
      index = child;
    }
    keys[index] = last;
    return least;
  }

  #grow(): void {
    const grown = new Float64Array(this.#keys.length * 2);
    grown.set(this.#keys);
    this.#keys = grown;
  }
}
