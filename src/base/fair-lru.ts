/**
 * A map of many owners within one bound of bytes. Where room is needed, the owner that holds most gives
 * up what it has not used for longest: whoever makes up keys pushes out nobody but itself.
 *
 *   owner a  ████████████░   gives first, down to what b holds
 *   owner b  █████           then both in turn
 *   owner c  █               never, while the others hold more
 */
import { assert } from './assert.ts';

interface Entry<V> {
  value: V;
  bytes: number;
}

interface Owned<K, V> {
  /** Unused for longest first. */
  entries: Map<K, Entry<V>>;
  bytes: number;
}

/** What an owner, and an entry's place, take besides their values; about. */
const OWNER_BYTES = 300;
const ENTRY_BYTES = 150;
/** Room is made for more than one entry: finding who holds most looks at every owner. */
const ROOM_SHARE = 1 / 32;

export class FairLru<O, K, V> {
  readonly #owners = new Map<O, Owned<K, V>>();
  readonly #bytesMax: number;
  readonly #onEvict: (owner: O, key: K, value: V) => void;
  #bytes = 0;

  constructor(given: { bytesMax: number; onEvict: (owner: O, key: K, value: V) => void }) {
    this.#bytesMax = given.bytesMax;
    this.#onEvict = given.onEvict;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Counts as use. */
  get(owner: O, key: K): V | undefined {
    const entries = this.#owners.get(owner)?.entries;
    const entry = entries?.get(key);
    if (entries === undefined || entry === undefined) return undefined;
    entries.delete(key);
    entries.set(key, entry);
    return entry.value;
  }

  /** Reads without counting as use. */
  peek(owner: O, key: K): V | undefined {
    return this.#owners.get(owner)?.entries.get(key)?.value;
  }

  /** `bytes`: what the value takes. The entry itself may be what has to leave. */
  set(owner: O, key: K, { value, bytes }: { value: V; bytes: number }): void {
    this.delete(owner, key);
    let owned = this.#owners.get(owner);
    if (owned === undefined) {
      this.#owners.set(owner, (owned = { entries: new Map(), bytes: OWNER_BYTES }));
      this.#bytes += OWNER_BYTES;
    }
    const entry = { value, bytes: bytes + ENTRY_BYTES };
    owned.entries.set(key, entry);
    owned.bytes += entry.bytes;
    this.#bytes += entry.bytes;
    if (this.#bytes > this.#bytesMax) this.#makeRoom();
  }

  /** Nobody is told: whoever deletes knows. */
  delete(owner: O, key: K): V | undefined {
    const owned = this.#owners.get(owner);
    const entry = owned?.entries.get(key);
    if (owned === undefined || entry === undefined) return undefined;
    owned.entries.delete(key);
    owned.bytes -= entry.bytes;
    this.#bytes -= entry.bytes;
    this.#forgetIfEmpty(owner, owned);
    return entry.value;
  }

  /** Those that hold something. */
  owners(): Iterable<O> {
    return this.#owners.keys();
  }

  /** Of one owner, unused for longest first. */
  *values(owner: O): Generator<V> {
    for (const { value } of this.#owners.get(owner)?.entries.values() ?? []) yield value;
  }

  check(): void {
    let total = 0;
    for (const { entries, bytes } of this.#owners.values()) {
      let sum = OWNER_BYTES;
      for (const entry of entries.values()) sum += entry.bytes;
      assert(entries.size > 0, 'an owner holds something');
      assert(sum === bytes, 'what an owner holds is what it sums to');
      total += sum;
    }
    assert(total === this.#bytes, 'all bytes are booked');
    assert(total <= this.#bytesMax, 'the bound holds');
  }

  #makeRoom(): void {
    const target = this.#bytesMax * (1 - ROOM_SHARE);
    while (this.#bytes > target) {
      const { most, next } = this.#richest();
      this.#shrink(most, { atLeast: next, target });
    }
  }

  /** The oldest go until another owner holds more, or there is room; one goes in any case. */
  #shrink(owner: O, { atLeast, target }: { atLeast: number; target: number }): void {
    const owned = this.#owners.get(owner);
    assert(owned !== undefined, 'whoever holds most holds something');
    for (const [key, entry] of owned.entries) {
      owned.entries.delete(key);
      owned.bytes -= entry.bytes;
      this.#bytes -= entry.bytes;
      this.#onEvict(owner, key, entry.value);
      if (owned.bytes < atLeast || this.#bytes <= target) break;
    }
    this.#forgetIfEmpty(owner, owned);
  }

  /** Who holds most, and what the one after it holds. */
  #richest(): { most: O; next: number } {
    let most: { owner: O; bytes: number } | undefined;
    let next = 0;
    for (const [owner, { bytes }] of this.#owners) {
      if (most === undefined || bytes > most.bytes) {
        next = most?.bytes ?? 0;
        most = { owner, bytes };
      } else if (bytes > next) {
        next = bytes;
      }
    }
    assert(most !== undefined, 'bytes are held by somebody');
    return { most: most.owner, next };
  }

  #forgetIfEmpty(owner: O, owned: Owned<K, V>): void {
    if (owned.entries.size > 0) return;
    this.#owners.delete(owner);
    this.#bytes -= owned.bytes;
  }
}
