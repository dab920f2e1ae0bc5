/** How many blocks each worker holds nearer than the one before them, and which workers hold any so. */
export class Holes {
  readonly workers = new Set<number>();
  /** By worker. */
  #counts = new Int32Array(16);

  makeRoomFor(worker: number): void {
    if (worker < this.#counts.length) return;
    const grown = new Int32Array(2 * worker);
    grown.set(this.#counts);
    this.#counts = grown;
  }

  of(worker: number): number {
    return this.#counts[worker];
  }

  /** More, or fewer. */
  add(worker: number, count: number): void {
    this.#counts[worker] += count;
    if (this.#counts[worker] > 0) this.workers.add(worker);
    else this.workers.delete(worker);
  }
}
