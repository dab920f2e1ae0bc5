/**
 * One engine's KV memory: slots (device), host store, files (disk), and the tree that knows what lies
 * where. It decides; a runner carries its moves out.
 *
 *   admit    longest match anywhere; the slot that has to copy least; the moves that make it so.
 *            What lies on disk only is read into the host store first, while others compute
 *   extend   one more block was computed in a slot
 *   release  the sequence ended: its blocks stay, unlocked, until others need the room
 *   saves    what goes to disk now; files are written while the engine computes, and `note` hears
 *            what became of them
 *
 * At most `blocksMax` distinct blocks stay, copies not counted; while a longer prompt runs, its own
 * blocks may pass that bound and are trimmed when it ends. A block whose last slot is needed goes
 * down to the host store, so a slot is never a reason to forget.
 */
import { assert, must } from '../../base/assert.ts';
import type { BlockHash, BlockHashes, KvEvent } from '../../model/block.ts';
import type { FileNews, FoundFile, Move, SequenceId } from '../../model/step.ts';
import { eventsOf } from './changes.ts';
import { type CacheFile, contentOf, idleOf } from './disk.ts';
import type { Arrival } from './loads.ts';
import { isLastCopy, isNear, isNowhere, Places, type TierSizes } from './places.ts';
import type { Slot } from './pool.ts';
import { restoreFiles } from './restore.ts';
import type { Block } from './tree.ts';
import type { ComputeUs } from './worth.ts';

export type { TierSizes } from './places.ts';

export type Admission =
  | {
      kind: 'admitted';
      slot: number;
      /** Leading tokens of the prompt that need no computing. */
      cachedTokens: number;
      moves: Move[];
    }
  /** Blocks come from disk: to be asked again when `isLoading` says no more. */
  | { kind: 'loading'; moves: Move[] }
  /** No slot is free. */
  | { kind: 'busy' };

interface Holding {
  slot: Slot;
  chain: Block[];
}

/**
 * llama.cpp computes neighbouring slots together and any other by itself (measured: four answers in
 * neighbouring slots take two thirds of the time). So many blocks are rather copied than that.
 */
const APART_BLOCKS = 64;
/** A sequence waits for the disk so often; then it takes what is near. */
const LOADS_MAX = 3;

export class TieredCache {
  readonly #sizes: TierSizes;
  readonly #places: Places;
  readonly #holdings = new Map<SequenceId, Holding>();

  constructor(sizes: TierSizes, computeUs: ComputeUs) {
    this.#sizes = sizes;
    this.#places = new Places(sizes, computeUs);
  }

  get blockCount(): number {
    return this.#places.tree.size;
  }

  get hostBlockCount(): number {
    return this.#places.host.usedCount;
  }

  get diskBlockCount(): number {
    return this.#places.disk?.blockCount ?? 0;
  }

  get diskBytes(): number {
    return this.#places.disk?.bytes ?? 0;
  }

  get busySlotCount(): number {
    return this.#places.pool.busyCount;
  }

  /** For the page: each slot's holder and tokens. */
  slots(): { holder: SequenceId | undefined; tokens: number }[] {
    return this.#places.pool.slots.map((slot) => ({
      holder: slot.holder,
      tokens: slot.blocks.length * this.#sizes.blockTokens,
    }));
  }

  /** Files that an earlier run left, the unused for longest first. */
  restore(found: readonly FoundFile[]): void {
    if (this.#places.disk === undefined) return;
    const { blockTokens } = this.#sizes;
    const restored = restoreFiles(found, {
      tree: this.#places.tree,
      disk: this.#places.disk,
      blockTokens,
    });
    for (const block of restored.blocks)
      this.#places.changes.push({ kind: 'stored', block, tier: 'disk' });
    for (const file of restored.useless) this.#places.drops.push({ kind: 'drop', file });
    for (const chain of restored.chains) {
      this.#places.tree.lock(chain);
      this.#places.unlock(chain);
    }
    this.#places.trim();
  }

  /** Gives the sequence a slot with as much of its prompt as is known, `usable` blocks at most. */
  admit(sequence: SequenceId, hashes: BlockHashes, usable: number): Admission {
    // What lies on disk is fetched before a slot is free, for as many sequences as there are slots.
    const isBusy = this.#places.pool.busyCount === this.#sizes.slots;
    const fetchesMore = this.#places.loads.count < this.#sizes.slots;
    if (isBusy && (!fetchesMore || this.#places.loads.holds(sequence))) return { kind: 'busy' };
    const moves: Move[] = [];
    const held = this.#places.loads.end(sequence);
    const known = this.#whole(readable(this.#places.tree.match(hashes, usable)));
    const tries = fetchesMore ? (held?.tries ?? 0) : LOADS_MAX;
    const wanted = this.#fetch(sequence, known, tries, moves);
    if (wanted === 'waits') {
      if (held !== undefined) this.#places.unlock(held.chain);
      return { kind: 'loading', moves };
    }
    if (isBusy) return { kind: 'busy' };
    const { slot, inPlace } = this.#chooseSlot(wanted);
    let chain = this.#copies ? wanted : this.#whole(wanted.slice(0, inPlace));
    for (const block of chain) this.#places.worth.cameBack(this.#places.tree.turn - block.usedTurn);
    this.#places.tree.lock(chain);
    if (held !== undefined) this.#places.unlock(held.chain);
    if (chain.length > inPlace) {
      // Where the store takes no more than lies in the slot already, what lies there is as good.
      const reach = Math.max(inPlace, this.#places.bringToHost(chain, moves));
      const reachable = this.#whole(chain.slice(0, reach));
      this.#places.unlock(chain.slice(reachable.length));
      chain = reachable;
    }
    const rebuilt = chain.length > inPlace;
    this.#places.vacate(slot, rebuilt ? 0 : chain.length, moves);
    if (rebuilt) {
      const handles = chain.map((block) =>
        must(block.host, 'a block to rebuild lies in the host store'),
      );
      moves.push({ kind: 'copyIn', slot: slot.index, handles });
      for (const block of chain) this.#places.place(block, slot);
    } else {
      moves.push({ kind: 'cut', slot: slot.index, tokens: chain.length * this.#sizes.blockTokens });
    }
    this.#places.pool.take(slot, sequence);
    this.#holdings.set(sequence, { slot, chain });
    const cachedTokens = chain.length * this.#sizes.blockTokens;
    return { kind: 'admitted', slot: slot.index, cachedTokens, moves };
  }

  /** Whether the sequence waits for blocks from disk. */
  isLoading(sequence: SequenceId): boolean {
    return this.#places.loads.isWaiting(sequence);
  }

  /** The sequence is not wanted any more, and was not admitted. */
  abandon(sequence: SequenceId): void {
    const held = this.#places.loads.abandon(sequence);
    if (held !== undefined) this.#places.unlock(held.chain);
  }

  /** The next block of the sequence was computed: it can be matched from now on. */
  extend(
    sequence: SequenceId,
    given: { hash: BlockHash; tokens: Uint32Array; salt: string },
  ): void {
    const { slot, chain } = must(this.#holdings.get(sequence), 'a sequence that runs has a slot');
    const parent = chain[chain.length - 1];
    let block = this.#places.tree.get(given.hash);
    if (block === undefined) {
      block = this.#places.tree.add({ ...given, parent });
    } else {
      this.#places.tree.lock([block]);
    }
    chain.push(block);
    this.#places.place(block, slot);
    this.#places.trim();
  }

  /** The sequence ended; its blocks stay until room is needed. */
  release(sequence: SequenceId): void {
    const { slot, chain } = must(this.#holdings.get(sequence), 'a sequence is released once');
    this.#holdings.delete(sequence);
    this.#places.unlock(chain);
    this.#places.pool.give(slot);
    const end = chain[chain.length - 1];
    if (end !== undefined) this.#places.saver?.ends(end);
    this.#places.trim();
  }

  /** What goes to disk with this plan, and what goes from there. `idle`: nothing is computed. */
  saves(given: { idle: boolean }): Move[] {
    const moves: Move[] = [];
    const disk = this.#places.disk;
    if (disk !== undefined) {
      this.#places.saver?.choose(given, ({ blocks, source }) => {
        const content = contentOf(blocks, this.#sizes.blockTokens);
        moves.push({ kind: 'save', file: disk.add(blocks).id, content, source });
      });
    }
    const drops = this.#places.drops;
    this.#places.drops = [];
    return [...drops, ...moves];
  }

  /** What became of files. */
  note(news: readonly FileNews[]): void {
    for (const one of news) {
      if (one.kind === 'saved') this.#places.saved(one.file);
      else if (one.kind === 'loaded') this.#places.loaded(one.file, one.elapsedUs);
      else if (one.kind === 'lost') this.#places.lost([one.file]);
      else this.#places.switchOff();
    }
  }

  /** Forgets every block that no running sequence uses. */
  reset(): void {
    const earlier = [...this.#places.changes];
    this.#places.saver?.clear();
    for (
      let block = this.#places.tree.oldest();
      block !== undefined;
      block = this.#places.tree.oldest()
    ) {
      this.#places.forget(block);
    }
    if (this.#places.tree.size === 0) this.#places.changes = [...earlier, { kind: 'cleared' }];
  }

  /** What changed since the last call, as KV events. */
  takeEvents(): KvEvent[] {
    const changes = this.#places.changes;
    this.#places.changes = [];
    return eventsOf(changes, this.#sizes.blockTokens);
  }

  check(): void {
    this.#places.tree.check();
    this.#places.pool.check();
    const blocks = [...this.#places.tree.blocks()];
    this.#places.host.check(blocks, this.#places.loads.orphanedPlaces());
    this.#places.disk?.check(blocks);
    for (const block of blocks) {
      assert(!isNowhere(block), 'a block lies somewhere');
      for (const slot of block.slots) {
        assert(
          this.#places.pool.slots[slot].blocks[block.index] === block,
          'a slot knows its blocks',
        );
      }
    }
    assert(
      this.#places.tree.size <= this.#sizes.blocksMax || this.#places.tree.idleCount === 0,
      'idle blocks stay within their bound',
    );
  }

  #whole(chain: readonly Block[]): Block[] {
    return chain.slice(0, chain.length - (chain.length % this.#sizes.matchBlocks));
  }

  get #copies(): boolean {
    return this.#sizes.hostBlocks > 0;
  }

  /**
   * What of the chain is near, in slots or host store. Where reading more of it from disk pays, and
   * there is room, that is begun instead, and the sequence waits.
   */
  #fetch(
    sequence: SequenceId,
    chain: readonly Block[],
    tries: number,
    moves: Move[],
  ): Block[] | 'waits' {
    const first = chain.findIndex((block) => !isNear(block));
    if (first < 0) return [...chain];
    if (tries >= LOADS_MAX || !this.#isWorthFetching(chain, first)) {
      return this.#whole(chain.slice(0, first));
    }
    this.#places.tree.lock(chain);
    const files = new Set<CacheFile>();
    const arrivals = new Map<CacheFile, Arrival[]>();
    let reach = first;
    for (; reach < chain.length; reach++) {
      const block = chain[reach];
      if (isNear(block)) continue;
      const file = must(block.file, 'what is not near lies on disk');
      if (!block.arriving) {
        if (file.reading && !arrivals.has(file)) {
          files.add(file); // It is being read for others, less of it: the rest comes then.
          break;
        }
        if (!this.#places.roomInHost()) break;
        const handle = this.#places.host.place(block);
        block.arriving = true;
        file.reading = true;
        arrivals.set(file, [...(arrivals.get(file) ?? []), { block, handle }]);
      }
      files.add(file);
    }
    this.#places.unlock(chain.slice(reach));
    const held = chain.slice(0, reach);
    if (files.size === 0) {
      this.#places.unlock(held);
      return this.#whole(held.slice(0, first));
    }
    for (const [file, of] of arrivals) {
      this.#places.loads.read(file.id, of);
      const start = file.blocks[0].index;
      const indexes = of.map(({ block }) => block.index - start);
      moves.push({ kind: 'load', file: file.id, indexes, handles: of.map(({ handle }) => handle) });
    }
    const ids = new Set(Array.from(files, ({ id }) => id));
    this.#places.loads.wait(sequence, { chain: held, tries: tries + 1 }, ids);
    return 'waits';
  }

  #isWorthFetching(chain: readonly Block[], first: number): boolean {
    const { disk } = this.#sizes;
    if (disk === undefined) return false;
    const far = chain.filter((block) => !isNear(block)).length;
    return this.#places.worth.isWorthLoading(idleOf(chain.slice(first), far * disk.blockBytes));
  }

  /** The idle slot that costs the least; among equals the one unused for longest. */
  #chooseSlot(wanted: readonly Block[]): { slot: Slot; inPlace: number } {
    let best: { slot: Slot; inPlace: number; cost: number } | undefined;
    for (const slot of this.#places.pool.slots) {
      if (slot.holder !== undefined) continue;
      const inPlace = commonBlocks(slot.blocks, wanted);
      const cost = this.#copies
        ? this.#blocksToCopy(slot, inPlace, wanted) + (this.#isApart(slot) ? APART_BLOCKS : 0)
        : wanted.length - inPlace;
      if (
        best === undefined ||
        cost < best.cost ||
        (cost === best.cost && slot.lastUse < best.slot.lastUse)
      ) {
        best = { slot, inPlace, cost };
      }
    }
    return must(best, 'who chooses a slot knows that one is free');
  }

  /** Whether others run, but none in a slot next to this one. */
  #isApart({ index }: Slot): boolean {
    const { slots, busyCount } = this.#places.pool;
    const beside = [slots[index - 1], slots[index + 1]];
    return busyCount > 0 && beside.every((slot) => slot?.holder === undefined);
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
}

/** The leading blocks that are near or can be read. */
function readable(chain: Block[]): Block[] {
  const end = chain.findIndex((block) => !isNear(block) && block.file?.state !== 'saved');
  return end < 0 ? chain : chain.slice(0, end);
}

function commonBlocks(a: readonly Block[], b: readonly Block[]): number {
  let i = 0;
  while (i < a.length && i < b.length && a[i] === b[i]) i++;
  return i;
}
