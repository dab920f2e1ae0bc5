/** An answer that holds for a while: whoever asks again meanwhile costs nobody anything. */
export class Remembered<T> {
  readonly #ask: () => Promise<T>;
  readonly #forMs: number;
  #answer: { value: T; atMs: number } | undefined;
  #asking: Promise<T> | undefined;

  /** A failure is not remembered. */
  constructor(ask: () => Promise<T>, forMs: number) {
    this.#ask = ask;
    this.#forMs = forMs;
  }

  async get(): Promise<T> {
    const known = this.#answer;
    if (known !== undefined && performance.now() - known.atMs < this.#forMs) return known.value;
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    const value = await this.#asking;
    this.#answer = { value, atMs: performance.now() };
    return value;
  }
}
