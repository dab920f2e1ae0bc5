/** Stored blocks whose parent was never told of: a bounded number waits until it is. */
import type { Tier } from '../../model/block.ts';
import type { StoredBlocks } from '../../wire/kv-event-reader.ts';

export class Orphans {
  readonly #blocksMax: number;
  /** By their parent's name. */
  readonly #waiting = new Map<string, StoredBlocks[]>();
  #blocks = 0;

  constructor(blocksMax: number) {
    this.#blocksMax = blocksMax;
  }

  get blocks(): number {
    return this.#blocks;
  }

  clear(): void {
    this.#waiting.clear();
    this.#blocks = 0;
  }

  /** Keeps a copy; false where there is no room. */
  add(event: StoredBlocks & { parent: Uint32Array }): boolean {
    const { count, names, parent, tokens } = event;
    if (this.#blocks + count > this.#blocksMax) return false;
    const key = keyOf(parent, 0);
    const siblings = this.#waiting.get(key) ?? [];
    siblings.push({
      ...event,
      names: names.slice(),
      parent: parent.slice(),
      tokens: tokens.slice(),
    });
    this.#waiting.set(key, siblings);
    this.#blocks += count;
    return true;
  }

  /** Those whose parent is one of the blocks; they wait no longer. */
  of({ names, count }: StoredBlocks): StoredBlocks[] {
    const found: StoredBlocks[] = [];
    for (let i = 0; i < count && this.#blocks > 0; i++) {
      const children = this.#waiting.get(keyOf(names, i));
      if (children === undefined) continue;
      this.#waiting.delete(keyOf(names, i));
      for (const child of children) {
        this.#blocks -= child.count;
        found.push(child);
      }
    }
    return found;
  }

  /** The block is gone: it waits no longer, nor does what follows it in its event. */
  remove(low: number, high: number, tier: Tier): void {
    for (const [key, siblings] of this.#waiting) {
      for (const event of siblings) {
        const at = event.tier === tier ? indexOf(event, low, high) : event.count;
        this.#blocks -= event.count - at;
        event.count = at;
      }
      const left = siblings.filter(({ count }) => count > 0);
      if (left.length === 0) this.#waiting.delete(key);
      else this.#waiting.set(key, left);
    }
  }
}

/** The place of a name; the count where it is not among them. */
function indexOf({ names, count }: StoredBlocks, low: number, high: number): number {
  let i = 0;
  while (i < count && (names[2 * i] !== low || names[2 * i + 1] !== high)) i++;
  return i;
}

function keyOf(names: Uint32Array, i: number): string {
  return `${names[2 * i]} ${names[2 * i + 1]}`;
}
