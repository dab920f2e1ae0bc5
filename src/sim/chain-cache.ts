/**
 * What KV lies where in one simulated engine: blocks on the device, and below it in host memory, as
 * typed arrays over the blocks of a `BlockSpace`.
 *
 *   nowhere ──computed──► device, pinned ──release──► device, idle ──room is needed──► host ──► nowhere
 *                              ▲                          │                              │
 *                              └────────── admit ─────────┴────────── admit (fetch) ─────┘
 *
 * Each tier lets go of the block unused for longest, and of blocks used together of the deepest, so a
 * block is never kept without what comes before it: the first block of a path that is missing ends what
 * can be reused. With a time to live, what nobody used for so long is lost from either tier.
 */
import { assert } from '../base/assert.ts';
import type { BlockSpace } from './block-space.ts';

export interface CacheSizes {
  deviceBlocks: number;
  hostBlocks: number;
  /** An idle block is kept so long after its last use; undefined: as long as there is room. */
  ttlUs?: number | undefined;
}

/** Leading blocks of a path that lie here: on the device, then in host memory. */
export interface Match {
  blocks: number;
  /** Of them, those to be fetched from host memory. */
  hostBlocks: number;
}

/** What changed, in order: blocks that came to or left a tier. */
export type CacheNews =
  /** Consecutive blocks of one path; `before` precedes the first of them. */
  | { kind: 'stored'; tier: 'device' | 'host'; blocks: number[]; before: number | undefined }
  | { kind: 'removed'; tier: 'device' | 'host'; blocks: number[] };

const NO_BLOCK = -1;

const NOWHERE = 0;
const DEVICE = 1;
const HOST = 2;

export class ChainCache {
  readonly #space: BlockSpace;
  readonly #sizes: CacheSizes;
  #place: Uint8Array;
  #pins: Uint16Array;
  /** What precedes a block on its path; set when it is computed. */
  #before: Int32Array;
  /** Idle blocks of a tier are a ring through its head: head.newer is the unused for longest. */
  #newer: Int32Array;
  #older: Int32Array;
  /** When an idle block was used last. */
  #usedUs: Float64Array;
  #deviceCount = 0;
  #pinnedCount = 0;
  #hostCount = 0;
  /** Device blocks promised to running sequences and not computed yet. */
  #reserved = 0;
  #news: CacheNews[] = [];

  constructor(space: BlockSpace, sizes: CacheSizes) {
    this.#space = space;
    this.#sizes = sizes;
    const { capacity } = space;
    this.#place = new Uint8Array(capacity);
    this.#pins = new Uint16Array(capacity);
    this.#before = new Int32Array(capacity);
    this.#newer = new Int32Array(capacity + HEADS);
    this.#older = new Int32Array(capacity + HEADS);
    this.#usedUs = new Float64Array(capacity);
    for (const head of [DEVICE_HEAD, HOST_HEAD]) this.#newer[head] = this.#older[head] = head;
  }

  /** Touches nothing. `usable`: no more than so many blocks. */
  match(path: Int32Array, usable: number): Match {
    this.#grow();
    const place = this.#place;
    let blocks = 0;
    let hostBlocks = 0;
    for (; blocks < usable; blocks++) {
      const where = place[path[blocks]];
      if (where === NOWHERE) break;
      if (where === HOST) hostBlocks++;
    }
    return { blocks, hostBlocks };
  }

  /**
   * Pins the first `matched` blocks of the path on the device, and promises room for `fresh` more.
   * False, and nothing happened, where running sequences leave no room for that.
   */
  admit(path: Int32Array, matched: number, fresh: number): boolean {
    if (this.missing(path, matched, fresh) > 0) return false;
    this.#reserved += fresh;
    const fetched: number[] = [];
    for (let i = 0; i < matched; i++) if (this.#pin(path[i])) fetched.push(path[i]);
    if (fetched.length > 0) {
      this.#tellStored('device', fetched.toReversed());
      this.#news.push({ kind: 'removed', tier: 'host', blocks: fetched });
    }
    this.#makeRoom();
    return true;
  }

  /** Whether there is somewhere to put what leaves the device. */
  get hasHost(): boolean {
    return this.#sizes.hostBlocks > 0;
  }

  /** Device blocks that running sequences would have to free first for `admit`; none where 0 or less. */
  missing(path: Int32Array, matched: number, fresh: number): number {
    this.#grow();
    let unpinned = 0;
    for (let i = 0; i < matched; i++) if (this.#pins[path[i]] === 0) unpinned++;
    const wanted = this.#pinnedCount + unpinned + this.#reserved + fresh;
    return wanted - this.#sizes.deviceBlocks;
  }

  /** Blocks `from` to `to` of the path were computed, in room that was promised: they can be matched. */
  computed(path: Int32Array, from: number, to: number): void {
    const stored: number[] = [];
    for (let i = from; i < to; i++) {
      const block = path[i];
      this.#reserved--;
      if (this.#place[block] === NOWHERE) {
        this.#place[block] = DEVICE;
        this.#pins[block] = 1;
        this.#before[block] = i === 0 ? NO_BLOCK : path[i - 1];
        this.#deviceCount++;
        this.#pinnedCount++;
        this.#space.resident(block, 1);
        stored.push(block);
      } else if (this.#pin(block)) {
        // It was dropped to host memory while this sequence computed it again.
        this.#tellStored('device', [block]);
        this.#news.push({ kind: 'removed', tier: 'host', blocks: [block] });
      }
    }
    this.#tellStored('device', stored.reverse());
    assert(this.#reserved >= 0, 'nothing is computed without room');
  }

  /** The sequence ended: its `kept` first blocks are idle unless others use them, and promised room is free. */
  release(
    nowUs: number,
    path: Int32Array,
    { kept, unused }: { kept: number; unused: number },
  ): void {
    this.#reserved -= unused;
    // The deepest first: it goes first.
    for (let i = kept - 1; i >= 0; i--) {
      const block = path[i];
      if (--this.#pins[block] > 0) continue;
      this.#pinnedCount--;
      this.#usedUs[block] = nowUs;
      this.#link(block, DEVICE_HEAD);
    }
  }

  /** When `expire` is due, if nothing more is used until then; undefined: never. */
  get expiryUs(): number | undefined {
    const { ttlUs } = this.#sizes;
    if (ttlUs === undefined) return undefined;
    let usedUs = Number.POSITIVE_INFINITY;
    for (const head of [DEVICE_HEAD, HOST_HEAD]) {
      const block = this.#newer[head] - HEADS;
      if (block >= 0) usedUs = Math.min(usedUs, this.#usedUs[block]);
    }
    return usedUs < Number.POSITIVE_INFINITY ? usedUs + ttlUs : undefined;
  }

  /** Loses what was unused for the time to live. */
  expire(nowUs: number): void {
    const { ttlUs } = this.#sizes;
    if (ttlUs === undefined) return;
    for (const head of [DEVICE_HEAD, HOST_HEAD]) {
      const lost: number[] = [];
      for (;;) {
        // Each ring is in the order of last use: what goes down to host memory is what was used first.
        const block = this.#newer[head] - HEADS;
        if (block < 0 || this.#usedUs[block] + ttlUs > nowUs) break;
        this.#unlink(block);
        this.#forget(block);
        lost.push(block);
      }
      if (head === DEVICE_HEAD) this.#deviceCount -= lost.length;
      else this.#hostCount -= lost.length;
      const tier = head === DEVICE_HEAD ? 'device' : 'host';
      if (lost.length > 0) this.#news.push({ kind: 'removed', tier, blocks: lost });
    }
  }

  takeNews(): CacheNews[] {
    const news = this.#news;
    this.#news = [];
    return news;
  }

  /** For tests: recounts everything. */
  check(): void {
    let [device, pinned, host] = [0, 0, 0];
    for (let block = 0; block < this.#place.length; block++) {
      if (this.#place[block] === DEVICE) device++;
      if (this.#place[block] === HOST) host++;
      if (this.#pins[block] > 0) pinned++;
      assert(this.#pins[block] === 0 || this.#place[block] === DEVICE, 'pinned is on the device');
    }
    assert(device === this.#deviceCount && host === this.#hostCount, 'tiers are counted');
    assert(pinned === this.#pinnedCount, 'pins are counted');
    assert(device + this.#reserved <= this.#sizes.deviceBlocks, 'the device holds no more');
    assert(host <= this.#sizes.hostBlocks, 'host memory holds no more');
    assert(this.#ringLength(DEVICE_HEAD) === device - pinned, 'idle device blocks are in the ring');
    assert(this.#ringLength(HOST_HEAD) === host, 'host blocks are in the ring');
  }

  /** Whether it had to come from host memory. */
  #pin(block: number): boolean {
    if (this.#pins[block]++ > 0) return false;
    this.#unlink(block);
    this.#pinnedCount++;
    if (this.#place[block] === DEVICE) return false;
    this.#place[block] = DEVICE;
    this.#hostCount--;
    this.#deviceCount++;
    return true;
  }

  #makeRoom(): void {
    const demoted: number[] = [];
    const lost: number[] = [];
    while (this.#deviceCount + this.#reserved > this.#sizes.deviceBlocks) {
      const block = this.#newer[DEVICE_HEAD] - HEADS;
      assert(block >= 0, 'what is not pinned is idle');
      this.#unlink(block);
      this.#deviceCount--;
      demoted.push(block);
      if (this.#sizes.hostBlocks === 0) {
        this.#forget(block);
        continue;
      }
      this.#place[block] = HOST;
      this.#hostCount++;
      this.#link(block, HOST_HEAD);
    }
    while (this.#hostCount > this.#sizes.hostBlocks) {
      const block = this.#newer[HOST_HEAD] - HEADS;
      this.#unlink(block);
      this.#hostCount--;
      this.#forget(block);
      lost.push(block);
    }
    if (this.#sizes.hostBlocks > 0) this.#tellStored('host', demoted);
    if (demoted.length > 0) this.#news.push({ kind: 'removed', tier: 'device', blocks: demoted });
    if (lost.length > 0) this.#news.push({ kind: 'removed', tier: 'host', blocks: lost });
  }

  #forget(block: number): void {
    this.#place[block] = NOWHERE;
    this.#space.resident(block, -1);
  }

  /** Of blocks in the order in which they go, each path's deepest first. */
  #tellStored(tier: 'device' | 'host', blocks: readonly number[]): void {
    for (let from = 0; from < blocks.length; ) {
      let to = from + 1;
      while (to < blocks.length && this.#before[blocks[to - 1]] === blocks[to]) to++;
      const before = this.#before[blocks[to - 1]];
      this.#news.push({
        kind: 'stored',
        tier,
        blocks: blocks.slice(from, to).reverse(),
        before: before === NO_BLOCK ? undefined : before,
      });
      from = to;
    }
  }

  /** As the most recently used of its tier. */
  #link(block: number, head: number): void {
    const node = block + HEADS;
    const last = this.#older[head];
    this.#newer[last] = node;
    this.#older[node] = last;
    this.#newer[node] = head;
    this.#older[head] = node;
  }

  #unlink(block: number): void {
    const node = block + HEADS;
    this.#newer[this.#older[node]] = this.#newer[node];
    this.#older[this.#newer[node]] = this.#older[node];
  }

  #ringLength(head: number): number {
    let length = 0;
    for (let node = this.#newer[head]; node !== head; node = this.#newer[node]) length++;
    return length;
  }

  #grow(): void {
    const { capacity } = this.#space;
    if (this.#place.length >= capacity) return;
    const place = new Uint8Array(capacity);
    place.set(this.#place);
    this.#place = place;
    const pins = new Uint16Array(capacity);
    pins.set(this.#pins);
    this.#pins = pins;
    const before = new Int32Array(capacity);
    before.set(this.#before);
    this.#before = before;
    const newer = new Int32Array(capacity + HEADS);
    newer.set(this.#newer);
    this.#newer = newer;
    const older = new Int32Array(capacity + HEADS);
    older.set(this.#older);
    this.#older = older;
    const usedUs = new Float64Array(capacity);
    usedUs.set(this.#usedUs);
    this.#usedUs = usedUs;
  }
}

/** The rings' heads come before the nodes of blocks. */
const DEVICE_HEAD = 0;
const HOST_HEAD = 1;
const HEADS = 2;
