/**
 * A min-heap over numeric keys. Equal keys leave in the order they came (by sequence number), so a
 * simulation that uses it never depends on anything but what was pushed.
 */
export class Heap<T> {
  #entries: Entry<T>[] = [];
  #pushes = 0;

  get size(): number {
    return this.#entries.length;
  }

  peek(): { key: number; value: T } | undefined {
    return this.#entries[0];
  }

  push(key: number, value: T): void {
    this.#entries.push({ key, order: this.#pushes++, value });
    this.#rise(this.#entries.length - 1);
  }

  pop(): { key: number; value: T } | undefined {
    const least = this.#entries[0];
    const last = this.#entries.pop();
    if (least === undefined || last === undefined || least === last) return least;
    this.#entries[0] = last;
    this.#sink(0);
    return least;
  }

  #rise(start: number): void {
    const heap = this.#entries;
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (before(heap[parent], heap[index])) return;
      [heap[parent], heap[index]] = [heap[index], heap[parent]];
      index = parent;
    }
  }

  #sink(start: number): void {
    const heap = this.#entries;
    let index = start;
    for (;;) {
      const left = 2 * index + 1;
      const right = left + 1;
      let least = index;
      if (left < heap.length && before(heap[left], heap[least])) least = left;
      if (right < heap.length && before(heap[right], heap[least])) least = right;
      if (least === index) return;
      [heap[least], heap[index]] = [heap[index], heap[least]];
      index = least;
    }
  }
}

interface Entry<T> {
  key: number;
  order: number;
  value: T;
}

function before(a: Entry<unknown>, b: Entry<unknown>): boolean {
  return a.key < b.key || (a.key === b.key && a.order < b.order);
}
