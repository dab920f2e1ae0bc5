/** A typed array that grows by doubling: one column of a table whose length nobody knows beforehand. */
type Numbers = Uint8Array | Uint16Array | Uint32Array | Float64Array;

const LEAST = 64;

export class Column<T extends Numbers> {
  readonly #kind: new (
    length: number,
  ) => T;
  #values: T;
  length = 0;

  constructor(kind: new (length: number) => T) {
    this.#kind = kind;
    this.#values = new kind(LEAST);
  }

  /** Returns where it went. */
  push(value: number): number {
    if (this.length === this.#values.length) {
      const larger = new this.#kind(this.length * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.length] = value;
    return this.length++;
  }

  at(index: number): number {
    return this.#values[index];
  }

  /** All values, by reference. */
  view(): T {
    return this.#values.subarray(0, this.length) as T;
  }

  /** A copy: the values at these places, in their order. */
  gather(places: Uint32Array): T {
    const found = new this.#kind(places.length);
    for (let i = 0; i < places.length; i++) found[i] = this.#values[places[i]];
    return found;
  }
}
