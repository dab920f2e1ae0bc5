/**
 * A queue between one producer and one consumer that both may end.
 *
 *   producer ── push ──► [ items ] ──► for await ── consumer
 *            ── end ───►            ◄── return ──   (a consumer that leaves is sent nothing more)
 *
 * The producer here is an engine step that cannot wait, so the bound is the producer's own: it never
 * pushes more than one request's tokens. `push` after the end is ignored, since an engine may still
 * be in mid-step when its client leaves.
 */
export class Pipe<T> implements AsyncIterable<T> {
  #items: T[] = [];
  #ended = false;
  #left = false;
  #wake: (() => void) | undefined;

  push(item: T): void {
    if (this.#ended || this.#left) return;
    this.#items.push(item);
    this.#stir();
  }

  end(): void {
    this.#ended = true;
    this.#stir();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    try {
      for (;;) {
        while (this.#items.length > 0) {
          const items = this.#items;
          this.#items = [];
          for (const item of items) yield item;
        }
        if (this.#ended) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.#left = true;
      this.#items = [];
    }
  }

  #stir(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
