/**
 * One engine's KV memory: slots (device), host store, and the tree that knows what lies where.
 *
 *   admit    longest match anywhere; the slot that has to copy least; the moves that make it so
 *   extend   one more block was computed in a slot
 *   release  the sequence ended: its blocks stay, unlocked, until others need the room
 *
 * At most `blocksMax` distinct blocks stay, copies not counted; while a longer prompt runs, its own
 * blocks may pass that bound and are trimmed when it ends. A block whose last slot is needed goes
 * down to the host store, so a slot is never a reason to forget.
 */
import { assert, must } from '../../base/assert.ts';
import type { BlockHash, BlockHashes, KvEvent, Tier } from '../../model/block.ts';
import type { Handle, Move, SequenceId } from '../../model/step.ts';
import { type Slot, SlotPool } from './pool.ts';
import { type Block, BlockTree } from './tree.ts';

export interface TierSizes {
  slots: number;
  blockTokens: number;
  /** Distinct blocks kept over all tiers. */
  blocksMax: number;
  /** Blocks the host store holds; 0 switches copying off: only in-place reuse is left. */
  hostBlocks: number;
  /** A match is cut to a multiple of so many blocks: 1, or an exact engine's chunk. */
  matchBlocks: number;
}

export interface Admission {
  slot: number;
  /** Leading tokens of the prompt that need no computing. */
  cachedTokens: number;
  moves: Move[];
}

interface Holding {
  slot: Slot;
  chain: Block[];
}

export class TieredCache {
  readonly #sizes: TierSizes;
  readonly #tree = new BlockTree();
  readonly #pool: SlotPool;
  readonly #holdings = new Map<SequenceId, Holding>();
  readonly #freeHandles: Handle[] = [];
  #changes: Change[] = [];

  constructor(sizes: TierSizes) {
    this.#sizes = sizes;
    this.#pool = new SlotPool(sizes.slots);
    for (let handle = sizes.hostBlocks - 1; handle >= 0; handle--) this.#freeHandles.push(handle);
  }

  get blockCount(): number {
    return this.#tree.size;
  }

  get hostBlockCount(): number {
    return this.#sizes.hostBlocks - this.#freeHandles.length;
  }

  get busySlotCount(): number {
    return this.#pool.busyCount;
  }

  /** For the page: each slot's holder and tokens. */
  slots(): { holder: SequenceId | undefined; tokens: number }[] {
    return this.#pool.slots.map((slot) => ({
      holder: slot.holder,
      tokens: slot.blocks.length * this.#sizes.blockTokens,
    }));
  }

  /**
   * Gives the sequence a slot with as much of its prompt as is known, `usable` blocks at most.
   * Undefined when all slots are busy.
   */
  admit(sequence: SequenceId, hashes: BlockHashes, usable: number): Admission | undefined {
    const wanted = this.#whole(this.#tree.match(hashes, usable));
    const choice = this.#chooseSlot(wanted);
    if (choice === undefined) return undefined;
    const { slot, inPlace } = choice;

    const moves: Move[] = [];
    let chain = this.#copies ? wanted : this.#whole(wanted.slice(0, inPlace));
    this.#tree.lock(chain);
    if (chain.length > inPlace) {
      // Where the store takes no more than lies in the slot already, what lies there is as good.
      const reach = Math.max(inPlace, this.#bringToHost(chain, moves));
      const reachable = this.#whole(chain.slice(0, reach));
      this.#tree.unlock(chain.slice(reachable.length));
      chain = reachable;
    }
    const rebuilt = chain.length > inPlace;
    this.#vacate(slot, rebuilt ? 0 : chain.length, moves);
    if (rebuilt) {
      const handles = chain.map((block) =>
        must(block.host, 'a block to rebuild lies in the host store'),
      );
      moves.push({ kind: 'copyIn', slot: slot.index, handles });
      for (const block of chain) this.#place(block, slot);
    } else {
      moves.push({ kind: 'cut', slot: slot.index, tokens: chain.length * this.#sizes.blockTokens });
    }
    this.#pool.take(slot, sequence);
    this.#holdings.set(sequence, { slot, chain });
    return {
      slot: slot.index,
      cachedTokens: chain.length * this.#sizes.blockTokens,
      moves,
    };
  }

  /** The next block of the sequence was computed: it can be matched from now on. */
  extend(
    sequence: SequenceId,
    given: { hash: BlockHash; tokens: Uint32Array; salt: string },
  ): void {
    const { slot, chain } = must(this.#holdings.get(sequence), 'a sequence that runs has a slot');
    const parent = chain[chain.length - 1];
    let block = this.#tree.get(given.hash);
    if (block === undefined) {
      block = this.#tree.add({ ...given, parent });
    } else {
      this.#tree.lock([block]);
    }
    chain.push(block);
    this.#place(block, slot);
    this.#trim();
  }

  /** The sequence ended; its blocks stay until room is needed. */
  release(sequence: SequenceId): void {
    const { slot, chain } = must(this.#holdings.get(sequence), 'a sequence is released once');
    this.#holdings.delete(sequence);
    this.#tree.unlock(chain);
    this.#pool.give(slot);
    this.#trim();
  }

  /** Forgets every block that no running sequence uses. */
  reset(): void {
    const earlier = [...this.#changes];
    for (let block = this.#tree.oldest(); block !== undefined; block = this.#tree.oldest()) {
      this.#forget(block);
    }
    if (this.#tree.size === 0) this.#changes = [...earlier, { kind: 'cleared' }];
  }

  /** What changed since the last call, as KV events. */
  takeEvents(): KvEvent[] {
    const changes = this.#changes;
    this.#changes = [];
    return eventsOf(changes, this.#sizes.blockTokens);
  }

  check(): void {
    this.#tree.check();
    this.#pool.check();
    const handles = new Set(this.#freeHandles);
    assert(handles.size === this.#freeHandles.length, 'a handle is free once');
    for (const block of this.#tree.blocks()) {
      assert(block.slots.length > 0 || block.host !== undefined, 'a block lies somewhere');
      for (const slot of block.slots) {
        assert(this.#pool.slots[slot].blocks[block.index] === block, 'a slot knows its blocks');
      }
      if (block.host === undefined) continue;
      assert(!handles.has(block.host), 'a handle names one block');
      handles.add(block.host);
    }
    assert(handles.size === this.#sizes.hostBlocks, 'handles are free or used');
    assert(
      this.#tree.size <= this.#sizes.blocksMax || this.#tree.idleCount === 0,
      'idle blocks stay within their bound',
    );
  }

  #whole(chain: Block[]): Block[] {
    return chain.slice(0, chain.length - (chain.length % this.#sizes.matchBlocks));
  }

  get #copies(): boolean {
    return this.#sizes.hostBlocks > 0;
  }

  /** The idle slot that costs the least copying; among equals the one unused for longest. */
  #chooseSlot(wanted: readonly Block[]): { slot: Slot; inPlace: number } | undefined {
    let best: { slot: Slot; inPlace: number; cost: number } | undefined;
    for (const slot of this.#pool.slots) {
      if (slot.holder !== undefined) continue;
      const inPlace = commonBlocks(slot.blocks, wanted);
      const cost = this.#copies
        ? this.#blocksToCopy(slot, inPlace, wanted)
        : wanted.length - inPlace;
      if (
        best === undefined ||
        cost < best.cost ||
        (cost === best.cost && slot.lastUse < best.slot.lastUse)
      ) {
        best = { slot, inPlace, cost };
      }
    }
    return best;
  }

  /** Blocks copied if this slot serves: its last copies go down, what is missing comes up. */
  #blocksToCopy(slot: Slot, inPlace: number, wanted: readonly Block[]): number {
    const rebuild = inPlace < wanted.length;
    let count = rebuild ? wanted.length : 0;
    for (let i = rebuild ? 0 : inPlace; i < slot.blocks.length; i++) {
      if (isLastCopy(slot.blocks[i])) count++;
    }
    return count;
  }

  /** Makes each block of the chain lie in the host store; returns how many leading ones do. */
  #bringToHost(chain: readonly Block[], moves: Move[]): number {
    for (let i = 0; i < chain.length; i++) {
      const block = chain[i];
      if (block.host !== undefined) continue;
      if (!this.#copyOut(block, block.slots[0], moves)) return i;
    }
    return chain.length;
  }

  /** Drops what the slot holds from block `keep` on, copying down what lies nowhere else. */
  #vacate(slot: Slot, keep: number, moves: Move[]): void {
    for (let i = keep; this.#copies && i < slot.blocks.length; i++) {
      if (isLastCopy(slot.blocks[i])) this.#copyOut(slot.blocks[i], slot.index, moves);
    }
    while (slot.blocks.length > keep) {
      const block = must(slot.blocks.pop(), 'a slot has the blocks it counts');
      this.#leave(block, slot.index);
      if (block.slots.length === 0 && block.host === undefined) this.#forget(block);
    }
  }

  /** Copies one block down. False if there is no room: all is in use, or the block was the oldest. */
  #copyOut(block: Block, slot: number, moves: Move[]): boolean {
    let handle = this.#freeHandles.pop();
    while (handle === undefined) {
      const oldest = this.#tree.oldest();
      if (oldest === undefined) return false;
      this.#forget(oldest);
      if (oldest === block) return false;
      handle = this.#freeHandles.pop();
    }
    block.host = handle;
    this.#changes.push({ kind: 'stored', block, tier: 'host' });
    const last = moves[moves.length - 1];
    if (last?.kind === 'copyOut' && last.slot === slot) {
      last.indexes.push(block.index);
      last.handles.push(handle);
    } else {
      moves.push({ kind: 'copyOut', slot, indexes: [block.index], handles: [handle] });
    }
    return true;
  }

  #place(block: Block, slot: Slot): void {
    assert(slot.blocks.length === block.index, 'a slot grows at its end');
    slot.blocks.push(block);
    block.slots.push(slot.index);
    if (block.slots.length === 1) this.#changes.push({ kind: 'stored', block, tier: 'device' });
  }

  #leave(block: Block, slot: number): void {
    block.slots.splice(block.slots.indexOf(slot), 1);
    if (block.slots.length === 0)
      this.#changes.push({ kind: 'removed', hash: block.hash, tier: 'device' });
  }

  #trim(): void {
    while (this.#tree.size > this.#sizes.blocksMax) {
      const block = this.#tree.oldest();
      if (block === undefined) return;
      this.#forget(block);
    }
  }

  #forget(block: Block): void {
    for (const index of [...block.slots]) {
      const slot = this.#pool.slots[index];
      assert(slot.blocks.pop() === block, 'a leaf is the last block of its slots');
      this.#leave(block, index);
    }
    if (block.host !== undefined) {
      this.#freeHandles.push(block.host);
      this.#changes.push({ kind: 'removed', hash: block.hash, tier: 'host' });
    }
    this.#tree.remove(block);
  }
}

type Change =
  | { kind: 'stored'; block: Block; tier: Tier }
  | { kind: 'removed'; hash: BlockHash; tier: Tier }
  | { kind: 'cleared' };

function isLastCopy(block: Block): boolean {
  return block.host === undefined && block.slots.length === 1;
}

function commonBlocks(a: readonly Block[], b: readonly Block[]): number {
  let i = 0;
  while (i < a.length && i < b.length && a[i] === b[i]) i++;
  return i;
}

/** Neighbouring changes become one event: a run of a chain, or several removals of one tier. */
function eventsOf(changes: readonly Change[], blockTokens: number): KvEvent[] {
  const events: KvEvent[] = [];
  for (let i = 0; i < changes.length; ) {
    const change = changes[i];
    if (change.kind === 'cleared') {
      events.push({ kind: 'cleared' });
      i++;
    } else if (change.kind === 'removed') {
      const hashes: BlockHash[] = [];
      for (let next: Change = change; next?.kind === 'removed' && next.tier === change.tier; ) {
        hashes.push(next.hash);
        next = changes[++i];
      }
      events.push({ kind: 'removed', hashes, tier: change.tier });
    } else {
      const run: Block[] = [];
      for (let next: Change = change; next?.kind === 'stored' && continues(run, next, change); ) {
        run.push(next.block);
        next = changes[++i];
      }
      events.push(storedEvent(run, change.tier, blockTokens));
    }
  }
  return events;
}

function continues(
  run: Block[],
  next: { block: Block; tier: Tier },
  first: { tier: Tier },
): boolean {
  return (
    run.length === 0 || (next.tier === first.tier && next.block.parent === run[run.length - 1])
  );
}

function storedEvent(run: readonly Block[], tier: Tier, blockTokens: number): KvEvent {
  const tokens = new Uint32Array(run.length * blockTokens);
  run.forEach((block, i) => {
    tokens.set(block.tokens, i * blockTokens);
  });
  return {
    kind: 'stored',
    hashes: run.map((block) => block.hash),
    parent: run[0].parent?.hash,
    tokens,
    blockTokens,
    tier,
    extraKeys: run[0].salt === '' ? [] : [run[0].salt],
  };
}
