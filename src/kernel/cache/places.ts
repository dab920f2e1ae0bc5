/**
 * What lies where: the tree of blocks, and the three tiers they lie in. Its methods move blocks
 * between tiers and keep the books true; what to serve whom is decided above (tiers.ts).
 *
 *   slots ──copyOut──► host store ──save──► files
 *         ◄─copyIn──              ◄─load──
 *
 * A block that lies nowhere is forgotten. A tier that is full gives up what is worth least per byte
 * (worth.ts), or nothing, where what comes is worth less.
 */
import { assert, must } from '../../base/assert.ts';
import type { FileId, Move } from '../../model/step.ts';
import type { Change } from './changes.ts';
import { type CacheFile, type DiskSizes, DiskTier, idleOf } from './disk.ts';
import { HostTier } from './host.ts';
import { Keeps } from './keeps.ts';
import { Loads } from './loads.ts';
import { type Slot, SlotPool } from './pool.ts';
import { Saver } from './saver.ts';
import { ThreadEnds } from './thread-ends.ts';
import { Transfers } from './transfers.ts';
import { type Block, BlockTree } from './tree.ts';
import { type ComputeUs, Worth } from './worth.ts';

export interface TierSizes {
  slots: number;
  blockTokens: number;
  /** Distinct blocks kept over all tiers. */
  blocksMax: number;
  /** Blocks the host store holds; 0 switches copying off: only in-place reuse is left. */
  hostBlocks: number;
  /** A match is cut to a multiple of so many blocks: 1, or an exact engine's chunk. */
  matchBlocks: number;
  /** Undefined: no disk. It needs a host store, through which all comes and goes. */
  disk: DiskSizes | undefined;
}

export class Places {
  readonly #sizes: TierSizes;
  readonly tree = new BlockTree();
  readonly pool: SlotPool;
  readonly host: HostTier;
  readonly loads = new Loads();
  readonly keeps: Keeps;
  readonly threads = new ThreadEnds();
  readonly transfers = new Transfers();
  readonly worth: Worth;
  /** Where the prompts end that will be admitted next: all before an end stays with it. */
  readonly awaited = new Set<Block>();
  disk: DiskTier | undefined;
  saver: Saver | undefined;
  /** Since somebody took them. */
  changes: Change[] = [];
  /** What was decided between plans: the next one begins with it. */
  pending: Move[] = [];
  /** Files to delete with the next plan. */
  drops: Move[] = [];

  constructor(sizes: TierSizes, computeUs: ComputeUs) {
    this.#sizes = sizes;
    this.pool = new SlotPool(sizes.slots);
    this.host = new HostTier(sizes.hostBlocks);
    this.worth = new Worth(computeUs);
    this.keeps = new Keeps(this.tree);
    if (sizes.disk === undefined) return;
    assert(sizes.hostBlocks > 0, 'the disk is reached through the host store');
    const disk = new DiskTier(sizes.disk);
    this.disk = disk;
    this.saver = new Saver({
      disk,
      makeRoom: (blocks, bytes) => this.#makeRoomOnDisk(disk, blocks, bytes),
    });
  }

  /** Drops what the slot holds from block `keep` on, copying down what lies nowhere else. */
  vacate(slot: Slot, keep: number, moves: Move[]): void {
    for (let i = keep; this.#sizes.hostBlocks > 0 && i < slot.blocks.length; i++) {
      if (isLastCopy(slot.blocks[i]) && !this.#copyOut(slot.blocks[i], slot.index, moves)) break;
    }
    let torn = false;
    while (slot.blocks.length > keep) {
      const block = must(slot.blocks.pop(), 'a slot has the blocks it counts');
      this.#leaveSlot(block, slot.index);
      torn = !this.#settle(block) || torn;
    }
    if (torn) this.#sweep();
  }

  /** Makes each block of the chain lie in the host store; returns how many leading ones do. */
  bringToHost(chain: readonly Block[], moves: Move[]): number {
    for (let i = 0; i < chain.length; i++) {
      const block = chain[i];
      if (block.arriving) return i;
      if (block.host !== undefined) continue;
      if (!this.#copyOut(block, block.slots[0], moves)) return i;
    }
    return chain.length;
  }

  /** Copies one block down; false where there is no room, or what would have to go is worth more. */
  #copyOut(block: Block, slot: number, moves: Move[]): boolean {
    const precious = block.locks > 0 || block.hostChildren > 0;
    const worth = precious ? Number.POSITIVE_INFINITY : this.#worthOf(block);
    if (!this.roomInHost(worth, slot)) return false;
    const handle = this.host.place(block);
    this.changes.push({ kind: 'stored', block, tier: 'host' });
    const last = moves[moves.length - 1];
    if (last?.kind === 'copyOut' && last.slot === slot) {
      last.indexes.push(block.index);
      last.handles.push(handle);
    } else {
      moves.push({ kind: 'copyOut', slot, indexes: [block.index], handles: [handle] });
    }
    return true;
  }

  /** Frees a place for something of that worth. What lies in slot `sparing` keeps its copy. */
  roomInHost(worth = Number.POSITIVE_INFINITY, sparing?: number): boolean {
    while (this.host.isFull) {
      const worthHere = (block: Block) =>
        sparing !== undefined && block.slots.includes(sparing)
          ? Number.POSITIVE_INFINITY
          : this.#worthOf(block);
      const least = this.host.choose(worthHere);
      if (least === undefined) return false;
      const given = worthHere(least);
      if (given === Number.POSITIVE_INFINITY || given >= worth) return false;
      this.#leaveHost(least);
      if (!this.#settle(least)) this.#sweep();
    }
    return true;
  }

  place(block: Block, slot: Slot): void {
    assert(slot.blocks.length === block.index, 'a slot grows at its end');
    slot.blocks.push(block);
    block.slots.push(slot.index);
    if (block.slots.length === 1) this.changes.push({ kind: 'stored', block, tier: 'device' });
  }

  unlock(chain: readonly Block[]): void {
    this.rested(this.tree.unlock(chain));
  }

  /** To be called with blocks that nobody uses any more, or whose place in the order changed. */
  rested(blocks: readonly Block[]): void {
    let last: CacheFile | undefined;
    for (const block of blocks) {
      this.host.offer(block);
      if (block.file !== last) this.disk?.offer(block.file);
      last = block.file;
    }
  }

  /** Takes the chain that ends here out of the host store, as far as files have it and nobody uses it. */
  sink(end: Block): void {
    for (let block: Block | undefined = end; block?.sinking; block = block.parent) {
      if (block.host !== undefined) {
        if (block.file?.state !== 'saved' || !this.host.lets(block)) return;
        this.#leaveHost(block);
      }
      block.sinking = false;
    }
  }

  trim(): void {
    while (this.tree.size > this.#sizes.blocksMax) {
      const block = this.tree.choose((leaf) => this.#worthOf(leaf));
      if (block === undefined) return;
      this.worth.leftFor(this.tree.turn - block.usedTurn);
      this.forget(block);
    }
  }

  forget(block: Block): void {
    for (const index of [...block.slots]) {
      const slot = this.pool.slots[index];
      assert(slot.blocks.pop() === block, 'a leaf is the last block of its slots');
      this.#leaveSlot(block, index);
    }
    if (block.host !== undefined) this.#leaveHost(block);
    const { file } = block;
    if (file !== undefined) {
      if (file.state === 'saved')
        this.changes.push({ kind: 'removed', hash: block.hash, tier: 'disk' });
      if (this.disk?.detach(block)) this.#removeFile(this.disk, file);
    }
    this.saver?.forget(block);
    this.threads.forget(block);
    this.tree.remove(block);
    this.disk?.offer(block.parent?.file);
  }

  saved(id: FileId): void {
    const file = this.disk?.get(id);
    if (file === undefined || this.disk === undefined) return; // Its blocks were forgotten meanwhile.
    this.disk.saved(file);
    for (const block of file.blocks) {
      this.changes.push({ kind: 'stored', block, tier: 'disk' });
      this.host.offer(block);
    }
    const end = file.blocks.at(-1);
    if (end !== undefined) this.sink(end);
  }

  loaded(id: FileId, elapsedUs: number): void {
    const { arrivals, freed } = this.loads.came(id);
    const { blockBytes } = must(this.#sizes.disk, 'who reads a file has a disk');
    this.worth.loaded(arrivals.length * blockBytes, elapsedUs);
    for (const { block, handle } of arrivals) {
      if (block.host !== handle) {
        this.host.free(handle); // It was forgotten on its way.
        continue;
      }
      block.arriving = false;
      this.changes.push({ kind: 'stored', block, tier: 'host' });
      this.host.offer(block);
    }
    const file = this.disk?.get(id);
    if (file !== undefined) file.reading = false;
    for (const { chain } of freed) this.unlock(chain);
    this.disk?.offer(file);
  }

  /** Files that hold nothing of use: what lay only there is forgotten, and what lies behind it. */
  lost(ids: readonly FileId[]): void {
    for (const id of ids) {
      const { arrivals, freed } = this.loads.failed(id);
      for (const { block, handle } of arrivals) {
        if (block.host === handle) {
          this.host.take(block);
          block.arriving = false;
        }
        this.host.free(handle);
      }
      const file = this.disk?.get(id);
      if (file !== undefined && this.disk !== undefined) this.#removeFile(this.disk, file);
      for (const { chain } of freed) this.unlock(chain);
    }
    this.#sweep();
  }

  switchOff(): void {
    const ids = this.disk?.files().map(({ id }) => id) ?? [];
    this.lost([...new Set([...ids, ...this.loads.files()])]);
    this.disk = undefined;
    this.saver = undefined;
    this.drops = [];
  }

  #makeRoomOnDisk(disk: DiskTier, blocks: readonly Block[], bytes: number): boolean {
    const [{ parent, salt }] = blocks;
    if (UTF8_PER_UNIT_MAX * salt.length > disk.sizes.saltBytesMax) return false;
    const worthOf = (file: CacheFile) =>
      file === parent?.file
        ? Number.POSITIVE_INFINITY
        : this.#worthTogether(file.blocks, file.bytes);
    const worth = this.#worthTogether(blocks, bytes);
    while (disk.lacks(bytes)) {
      const least = disk.choose(worthOf);
      if (least === undefined || worthOf(least) >= worth) return false;
      for (const block of this.#removeFile(disk, least)) {
        if (!this.#settle(block)) this.#sweep();
      }
    }
    return true;
  }

  /** Forgets the block if it lies nowhere. False where it should, but others depend on it. */
  #settle(block: Block): boolean {
    if (!isNowhere(block) || block.forgotten) return true;
    if (block.locks > 0 || block.children > 0) return false;
    this.worth.leftFor(this.tree.turn - block.usedTurn);
    this.forget(block);
    return true;
  }

  /**
   * The rare way out where a block lies nowhere but others depend on it, as after a file was lost:
   * all of them go, and files without a file before them.
   */
  #sweep(): void {
    const disk = this.disk;
    for (let torn: CacheFile[] = [], doomed = this.#doomed(); ; doomed = this.#doomed()) {
      torn = disk === undefined ? [] : disk.torn(doomed);
      if (disk !== undefined) for (const file of torn) this.#removeFile(disk, file);
      if (torn.length > 0) continue;
      for (const { chain } of this.loads.letGo(doomed)) this.unlock(chain);
      for (const chain of this.transfers.letGo(doomed)) this.unlock(chain);
      this.rested(this.keeps.letGo(doomed));
      for (const block of [...doomed].reverse()) this.forget(block);
      return;
    }
  }

  /** Blocks that lie nowhere and all behind them, parents first. */
  #doomed(): Set<Block> {
    const doomed = new Set<Block>();
    for (const block of [...this.tree.blocks()].sort((a, b) => a.index - b.index)) {
      if (isNowhere(block) || (block.parent !== undefined && doomed.has(block.parent)))
        doomed.add(block);
    }
    return doomed;
  }

  #leaveSlot(block: Block, slot: number): void {
    block.slots.splice(block.slots.indexOf(slot), 1);
    if (block.slots.length === 0)
      this.changes.push({ kind: 'removed', hash: block.hash, tier: 'device' });
  }

  #leaveHost(block: Block): void {
    const handle = this.host.take(block);
    if (block.arriving) return; // Its place is free when its bytes have come.
    this.host.free(handle);
    this.changes.push({ kind: 'removed', hash: block.hash, tier: 'host' });
  }

  /** The file goes; its blocks may lie nowhere now. */
  #removeFile(disk: DiskTier, file: CacheFile): Block[] {
    const wasSaved = file.state === 'saved';
    const blocks = disk.remove(file);
    this.drops.push({ kind: 'drop', file: file.id });
    for (const { hash } of blocks) {
      if (wasSaved) this.changes.push({ kind: 'removed', hash, tier: 'disk' });
    }
    return blocks;
  }

  #worthOf(block: Block): number {
    return this.#worthTogether([block], block.tokens.length);
  }

  /** What was released is worth less than anything, and what is awaited more. */
  #worthTogether(blocks: readonly Block[], bytes: number): number {
    if (blocks[0].released) return Number.NEGATIVE_INFINITY;
    // Not infinite: where all of it is awaited, something leaves nevertheless.
    if (this.awaited.size > 0 && blocks.some((block) => this.awaited.has(block))) {
      return Number.MAX_VALUE;
    }
    return this.worth.of(idleOf(blocks, bytes), this.tree.turn);
  }
}

/** UTF-8 bytes that a UTF-16 unit of text becomes, at most. */
const UTF8_PER_UNIT_MAX = 3;

export function isNear(block: Block): boolean {
  return block.slots.length > 0 || (block.host !== undefined && !block.arriving);
}

export function isNowhere(block: Block): boolean {
  return block.slots.length === 0 && block.host === undefined && block.file === undefined;
}

export function isLastCopy(block: Block): boolean {
  return block.host === undefined && block.slots.length === 1;
}
