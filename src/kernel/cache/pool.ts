/**
 * The slots of one engine: each holds the KV of one sequence, a chain of blocks from the first token
 * on. A slot is busy while a sequence runs in it; afterwards it keeps its blocks until its place is
 * needed.
 */
import { assert } from '../../base/assert.ts';
import type { SequenceId } from '../../model/step.ts';
import type { Block } from './tree.ts';

export interface Slot {
  readonly index: number;
  holder: SequenceId | undefined;
  /** Complete blocks it holds, in order; what lies beyond them is not remembered. */
  blocks: Block[];
  /** Counts up with each use: the least was used longest ago. */
  lastUse: number;
}

export class SlotPool {
  readonly slots: readonly Slot[];
  #uses = 0;

  constructor(count: number) {
    this.slots = Array.from({ length: count }, (_, index) => ({
      index,
      holder: undefined,
      blocks: [],
      lastUse: 0,
    }));
  }

  get busyCount(): number {
    let count = 0;
    for (const slot of this.slots) if (slot.holder !== undefined) count++;
    return count;
  }

  take(slot: Slot, holder: SequenceId): void {
    assert(slot.holder === undefined, 'a slot has one holder');
    slot.holder = holder;
    slot.lastUse = ++this.#uses;
  }

  give(slot: Slot): void {
    assert(slot.holder !== undefined, 'a slot is given back once');
    slot.holder = undefined;
    slot.lastUse = ++this.#uses;
  }

  /** The slot holds what is expected to be used next. */
  touch(slot: Slot): void {
    slot.lastUse = ++this.#uses;
  }

  check(): void {
    for (const slot of this.slots) {
      slot.blocks.forEach((block, i) => {
        assert(block.index === i, 'a slot holds a chain from the first block');
        assert(block.slots.includes(slot.index), 'a block knows its slots');
        assert(slot.holder === undefined || block.locks > 0, 'a busy slot locks what it holds');
      });
    }
  }
}
