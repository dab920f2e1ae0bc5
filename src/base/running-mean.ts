/** The mean of the last values, about `memory` of them; of all, while they are fewer. */
export class RunningMean {
  mean: number;
  readonly #memory: number;
  #count = 0;

  /** `prior` is what is said before any value came; the first value replaces it. */
  constructor(given: { memory: number; prior: number }) {
    this.mean = given.prior;
    this.#memory = given.memory;
  }

  add(value: number): void {
    this.#count = Math.min(this.#count + 1, this.#memory);
    this.mean += (value - this.mean) / this.#count;
  }
}
