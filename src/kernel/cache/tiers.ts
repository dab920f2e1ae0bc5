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
import { eventsOf, heldEvents } from './changes.ts';
import { contentOf } from './disk.ts';
import { Exchange } from './exchange.ts';
import { Fetcher, LOADS_MAX, readable } from './fetcher.ts';
import { Lifetimes } from './lifetimes.ts';
import { isNowhere, Places, type TierSizes } from './places.ts';
import type { Slot } from './pool.ts';
import { restoreFiles } from './restore.ts';
import { Seating } from './seating.ts';
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
  thread: string | undefined;
}

export class TieredCache {
  readonly #sizes: TierSizes;
  readonly #places: Places;
  readonly #fetcher: Fetcher;
  readonly #seating: Seating;
  readonly #holdings = new Map<SequenceId, Holding>();
  /** What others decide about its KV. */
  readonly lifetimes: Lifetimes;
  /** KV that goes to other engines and comes from them. */
  readonly exchange: Exchange;

  constructor(sizes: TierSizes, computeUs: ComputeUs) {
    this.#sizes = sizes;
    const places = new Places(sizes, computeUs);
    this.#places = places;
    const fetcher = new Fetcher(sizes, places);
    this.#fetcher = fetcher;
    const seating = new Seating(sizes, places, fetcher);
    this.#seating = seating;
    this.lifetimes = new Lifetimes(sizes, places, { fetcher, seating });
    this.exchange = new Exchange(sizes, places, fetcher);
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
    const known = this.#fetcher.whole(readable(this.#places.tree.match(hashes, usable)));
    const tries = fetchesMore ? (held?.tries ?? 0) : LOADS_MAX;
    const wanted = this.#fetcher.fetch(sequence, known, { tries, ahead: false }, moves);
    if (wanted === 'waits') {
      if (held !== undefined) this.#places.unlock(held.chain);
      return { kind: 'loading', moves };
    }
    if (isBusy) return { kind: 'busy' };
    const { tree, worth } = this.#places;
    for (const block of wanted) worth.cameBack(tree.turn - block.usedTurn);
    const { slot, chain } = this.#seating.seat(wanted, moves, held?.chain);
    this.#places.pool.take(slot, sequence);
    this.#holdings.set(sequence, { slot, chain, thread: undefined });
    const cachedTokens = chain.length * this.#sizes.blockTokens;
    return { kind: 'admitted', slot: slot.index, cachedTokens, moves };
  }

  /** Who waits for a slot next will use what is there of these prompts: it leaves last of all. */
  expect(prompts: readonly BlockHashes[]): void {
    const { tree, worth, awaited } = this.#places;
    awaited.clear();
    for (const hashes of prompts) {
      const chain = tree.match(hashes, hashes.length);
      for (const block of chain) worth.cameBack(tree.turn - block.usedTurn);
      tree.lock(chain);
      this.#places.unlock(chain);
      const end = chain.at(-1);
      if (end !== undefined) awaited.add(end);
    }
  }

  /** The sequence, which was admitted, is the thread's last request from now on. */
  attribute(sequence: SequenceId, thread: string | undefined): void {
    const holding = must(this.#holdings.get(sequence), 'who was admitted holds something');
    holding.thread = thread;
    const end = holding.chain.at(-1);
    if (thread !== undefined && end !== undefined) this.#places.threads.set(thread, end);
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
    const holding = must(this.#holdings.get(sequence), 'a sequence that runs has a slot');
    const { slot, chain, thread } = holding;
    const parent = chain[chain.length - 1];
    let block = this.#places.tree.get(given.hash);
    if (block === undefined) {
      block = this.#places.tree.add({ ...given, parent });
    } else {
      this.#places.tree.lock([block]);
    }
    chain.push(block);
    this.#places.place(block, slot);
    if (thread !== undefined) this.#places.threads.set(thread, block);
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

  /** Whether something was decided that the next plan will carry out. */
  get hasMoves(): boolean {
    return this.#places.pending.length > 0;
  }

  /** What was decided since the last plan: the next one begins with it. */
  takeMoves(): Move[] {
    const moves = this.#places.pending;
    this.#places.pending = [];
    return moves;
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
    this.lifetimes.bound();
  }

  /** Forgets every block that no running sequence uses, also what is kept. */
  reset(): void {
    const earlier = [...this.#places.changes];
    this.#places.saver?.clear();
    this.lifetimes.clear();
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

  /** All that is held, piece by piece, as stored events; to be drawn at leisure. */
  held(): Iterable<KvEvent[]> {
    return heldEvents(this.#places.tree.blocks(), this.#sizes.blockTokens);
  }

  check(): void {
    this.#places.tree.check();
    this.#places.pool.check();
    this.#places.keeps.check();
    this.#places.threads.check();
    const blocks = [...this.#places.tree.blocks()];
    const { loads, transfers } = this.#places;
    this.#places.host.check(blocks, [...loads.orphanedPlaces(), ...transfers.orphanedPlaces()]);
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
}
