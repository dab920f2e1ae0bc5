/**
 * What KV lies where in one simulated engine: blocks on the device, and below it in host memory, as
 * typed arrays over the blocks of a `BlockSpace`.
 *
 *   nowhere ──computed──► device, pinned ──release──► device, idle ──room is needed──► host ──► nowhere
 *                              ▲                          │                              │
 *                              └────────── admit ─────────┴────────── admit (fetch) ─────┘
 *
 * Each tier lets go of what somebody said is not needed first, then of the block unused for longest, then
 * of what is to be kept; and of blocks used together of the deepest, so a block is never kept without
 * what comes before it: the first block of a path that is missing ends what can be reused. With a time to
 * live, what nobody used for so long is lost from either tier.
 */
import { assert, must } from '../base/assert.ts';
import { BlockRings, type Standing } from './block-rings.ts';
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
  /** Idle blocks. */
  readonly #rings: BlockRings;
  /** When an idle block was used last. */
  #usedUs: Float64Array;
  /** Blocks of any tier that it precedes. */
  #followers: Uint16Array;
  #deviceCount = 0;
  #pinnedCount = 0;
  #hostCount = 0;
  /** Device blocks promised to running sequences and not computed yet. */
  #reserved = 0;
  #news: CacheNews[] = [];
  /** Somebody else's order of leaving, asked for when so many blocks have to. */
  orderer: ((missing: number) => void) | undefined;

  constructor(space: BlockSpace, sizes: CacheSizes) {
    this.#space = space;
    this.#sizes = sizes;
    const { capacity } = space;
    this.#place = new Uint8Array(capacity);
    this.#pins = new Uint16Array(capacity);
    this.#before = new Int32Array(capacity);
    this.#rings = new BlockRings(capacity);
    this.#usedUs = new Float64Array(capacity);
    this.#followers = new Uint16Array(capacity);
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
        if (i > 0) this.#followers[path[i - 1]]++;
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
  release(nowUs: number, path: Int32Array, ended: { kept: number; unused: number }): void {
    const { kept, unused } = ended;
    this.#reserved -= unused;
    // The deepest first: it goes first.
    for (let i = kept - 1; i >= 0; i--) {
      const block = path[i];
      if (--this.#pins[block] > 0) continue;
      this.#pinnedCount--;
      this.#usedUs[block] = nowUs;
      this.#link(block);
    }
  }

  /**
   * When a path's idle blocks leave: `first` is of those that no other path goes through; `last` of all
   * of them, and `common` of what nobody else wants last. How many they are. Whoever uses them again
   * makes them like all others.
   */
  stand(path: Int32Array, standing: Standing): number {
    const blocks = standing === 'last' ? this.#idle(path) : this.#own(path);
    for (const block of blocks) {
      this.#rings.unlink(block);
      this.#rings.stands(block, standing);
      this.#link(block);
    }
    return blocks.length;
  }

  /** Takes a path's own idle blocks down to host memory; how many they are. */
  demote(path: Int32Array): number {
    if (this.#sizes.hostBlocks === 0) return 0;
    const own = this.#own(path).filter((block) => this.#place[block] === DEVICE);
    for (const block of own) {
      this.#rings.unlink(block);
      this.#sink(block);
    }
    this.#tellStored('host', own);
    if (own.length > 0) this.#news.push({ kind: 'removed', tier: 'device', blocks: own });
    this.#trimHost();
    return own.length;
  }

  /** Blocks of the path in host memory that can come up without anybody having to leave. */
  fetchable(path: Int32Array): number {
    const { blocks, hostBlocks } = this.match(path, path.length);
    const room = this.#sizes.deviceBlocks - this.#deviceCount - this.#reserved;
    return blocks === 0 ? 0 : Math.max(0, Math.min(hostBlocks, room));
  }

  /** Brings those up: what is still there, and still has room. */
  fetch(nowUs: number, path: Int32Array): number {
    let left = this.fetchable(path);
    const fetched: number[] = [];
    for (let i = 0; i < path.length && left > 0; i++) {
      const block = path[i];
      if (this.#place[block] !== HOST) continue;
      left--;
      this.#rings.unlink(block);
      this.#place[block] = DEVICE;
      this.#hostCount--;
      this.#deviceCount++;
      this.#usedUs[block] = nowUs;
      fetched.push(block);
    }
    fetched.reverse();
    // The deepest first: it goes first.
    for (const block of fetched) this.#link(block);
    this.#tellStored('device', fetched);
    if (fetched.length > 0) this.#news.push({ kind: 'removed', tier: 'host', blocks: fetched });
    return fetched.length;
  }

  /** When `expire` is due, if nothing more is used until then; undefined: never. */
  get expiryUs(): number | undefined {
    const { ttlUs } = this.#sizes;
    if (ttlUs === undefined) return undefined;
    let usedUs = Number.POSITIVE_INFINITY;
    for (const tier of ['device', 'host'] as const) {
      for (const block of this.#rings.heads(tier)) usedUs = Math.min(usedUs, this.#usedUs[block]);
    }
    return usedUs < Number.POSITIVE_INFINITY ? usedUs + ttlUs : undefined;
  }

  /** Loses what was unused for the time to live. */
  expire(nowUs: number): void {
    const { ttlUs } = this.#sizes;
    if (ttlUs === undefined) return;
    for (const tier of ['device', 'host'] as const) {
      const lost: number[] = [];
      // Each ring is in the order of last use, but for what somebody moved.
      for (;;) {
        const block = this.#rings.heads(tier).find((head) => this.#usedUs[head] + ttlUs <= nowUs);
        if (block === undefined) break;
        this.#rings.unlink(block);
        this.#forget(block);
        lost.push(block);
      }
      if (tier === 'device') this.#deviceCount -= lost.length;
      else this.#hostCount -= lost.length;
      if (lost.length > 0) this.#news.push({ kind: 'removed', tier, blocks: lost });
    }
  }

  takeNews(): CacheNews[] {
    const news = this.#news;
    this.#news = [];
    return news;
  }

  check(): void {
    let [device, pinned, host] = [0, 0, 0];
    this.#grow();
    for (let block = 0; block < this.#space.size; block++) {
      if (this.#place[block] === DEVICE) device++;
      if (this.#place[block] === HOST) host++;
      if (this.#pins[block] > 0) pinned++;
      assert(this.#pins[block] === 0 || this.#place[block] === DEVICE, 'pinned is on the device');
    }
    assert(device === this.#deviceCount && host === this.#hostCount, 'tiers are counted');
    assert(pinned === this.#pinnedCount, 'pins are counted');
    assert(device + this.#reserved <= this.#sizes.deviceBlocks, 'the device holds no more');
    assert(host <= this.#sizes.hostBlocks, 'host memory holds no more');
    assert(this.#rings.length('device') === device - pinned, 'idle device blocks are in a ring');
    assert(this.#rings.length('host') === host, 'host blocks are in a ring');
  }

  /** Whether it had to come from host memory. */
  #pin(block: number): boolean {
    if (this.#pins[block]++ > 0) return false;
    this.#rings.unlink(block);
    this.#rings.stands(block, 'common');
    this.#pinnedCount++;
    if (this.#place[block] === DEVICE) return false;
    this.#place[block] = DEVICE;
    this.#hostCount--;
    this.#deviceCount++;
    return true;
  }

  #idle(path: Int32Array): number[] {
    this.#grow();
    const isIdle = (block: number) => this.#place[block] !== NOWHERE && this.#pins[block] === 0;
    return Array.from(path.filter(isIdle)).reverse();
  }

  /** Idle blocks of the path that precede nothing but each other, the deepest first. */
  #own(path: Int32Array): number[] {
    this.#grow();
    const own: number[] = [];
    for (let i = path.length - 1; i >= 0; i--) {
      const block = path[i];
      if (this.#place[block] === NOWHERE) continue;
      const deeper = own.at(-1);
      const ownFollowers = deeper !== undefined && this.#before[deeper] === block ? 1 : 0;
      if (this.#followers[block] > ownFollowers || this.#pins[block] > 0) break;
      own.push(block);
    }
    return own;
  }

  #makeRoom(): void {
    const demoted: number[] = [];
    const missing = this.#deviceCount + this.#reserved - this.#sizes.deviceBlocks;
    if (missing > 0) this.orderer?.(missing);
    while (this.#deviceCount + this.#reserved > this.#sizes.deviceBlocks) {
      const block = must(this.#rings.next('device'), 'what is not pinned is idle');
      this.#rings.unlink(block);
      demoted.push(block);
      if (this.#sizes.hostBlocks > 0) this.#sink(block);
      else {
        this.#deviceCount--;
        this.#forget(block);
      }
    }
    if (this.#sizes.hostBlocks > 0) this.#tellStored('host', demoted);
    if (demoted.length > 0) this.#news.push({ kind: 'removed', tier: 'device', blocks: demoted });
    this.#trimHost();
  }

  #trimHost(): void {
    const { hostBlocks } = this.#sizes;
    const lost: number[] = [];
    if (this.#hostCount > hostBlocks && hostBlocks > 0)
      this.orderer?.(this.#hostCount - hostBlocks);
    while (this.#hostCount > hostBlocks) {
      const block = must(this.#rings.next('host'), 'what lies there is idle');
      this.#rings.unlink(block);
      this.#hostCount--;
      this.#forget(block);
      lost.push(block);
    }
    if (lost.length > 0) this.#news.push({ kind: 'removed', tier: 'host', blocks: lost });
  }

  /** From the device, where it is linked no more, to host memory. */
  #sink(block: number): void {
    this.#place[block] = HOST;
    this.#deviceCount--;
    this.#hostCount++;
    this.#link(block);
  }

  #forget(block: number): void {
    this.#place[block] = NOWHERE;
    this.#rings.stands(block, 'common');
    const before = this.#before[block];
    if (before !== NO_BLOCK) this.#followers[before]--;
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

  #link(block: number): void {
    this.#rings.link(block, this.#place[block] === DEVICE ? 'device' : 'host');
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
    this.#rings.grow(capacity);
    const usedUs = new Float64Array(capacity);
    usedUs.set(this.#usedUs);
    this.#usedUs = usedUs;
    const followers = new Uint16Array(capacity);
    followers.set(this.#followers);
    this.#followers = followers;
  }
}
