/** The host store's places: which are free, which block has which, and who leaves first. */
import { assert, must } from '../../base/assert.ts';
import type { Handle } from '../../model/step.ts';
import { Leaves } from './leaves.ts';
import type { Block } from './tree.ts';

export class HostTier {
  readonly #places: number;
  readonly #free: Handle[] = [];
  readonly #leaves = new Leaves<Block>({ stampOf: (block) => block.stamp, isLeaf: mayLeave });

  constructor(places: number) {
    this.#places = places;
    for (let handle = places - 1; handle >= 0; handle--) this.#free.push(handle);
  }

  get usedCount(): number {
    return this.#places - this.#free.length;
  }

  get isFull(): boolean {
    return this.#free.length === 0;
  }

  /** Gives the block a place; there must be one. */
  place(block: Block): Handle {
    const handle = must(this.#free.pop(), 'a place is free');
    assert(block.host === undefined, 'a block has one place');
    block.host = handle;
    if (block.parent !== undefined) block.parent.hostChildren++;
    this.#leaves.offer(block);
    return handle;
  }

  /** Takes the block out and returns its place, which is not free before `free` is called. */
  take(block: Block): Handle {
    const handle = must(block.host, 'a block that leaves has a place');
    block.host = undefined;
    if (block.parent !== undefined) {
      block.parent.hostChildren--;
      this.#leaves.offer(block.parent);
    }
    return handle;
  }

  free(handle: Handle): void {
    this.#free.push(handle);
  }

  /** To be called when nobody uses the block any more, its bytes have come, or a file has it. */
  offer(block: Block): void {
    this.#leaves.offer(block);
  }

  choose(worth: (block: Block) => number): Block | undefined {
    return this.#leaves.choose(worth);
  }

  /** Whether the block could leave now. */
  lets(block: Block): boolean {
    return mayLeave(block);
  }

  /** `arriving`: places of blocks that were forgotten while their bytes were on the way. */
  check(blocks: Iterable<Block>, arriving: Iterable<Handle>): void {
    const handles = new Set(this.#free);
    assert(handles.size === this.#free.length, 'a place is free once');
    for (const handle of arriving) {
      assert(!handles.has(handle), 'bytes come to a place that waits for them');
      handles.add(handle);
    }
    const leaves = this.#leaves.all();
    const children = new Map<Block, number>();
    for (const block of blocks) {
      assert(mayLeave(block) === leaves.has(block), 'who may leave the host store can be found');
      if (block.host === undefined) continue;
      if (block.parent !== undefined) {
        children.set(block.parent, (children.get(block.parent) ?? 0) + 1);
      }
      assert(!handles.has(block.host), 'a place has one block');
      handles.add(block.host);
    }
    for (const block of blocks) {
      assert(block.hostChildren === (children.get(block) ?? 0), 'host children are counted');
    }
    assert(handles.size === this.#places, 'places are free or used');
  }
}

/** What is kept may leave where a file has it. */
function mayLeave({ host, arriving, hostChildren, locks, keeps, file }: Block): boolean {
  if (host === undefined || arriving || hostChildren > 0 || locks > keeps) return false;
  return keeps === 0 || file?.state === 'saved';
}
