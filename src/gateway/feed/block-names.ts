/**
 * One worker's names for blocks, and what they mean to us. Engines name blocks by hashes of their own;
 * identity is recomputed from the tokens of each event, and the engine's name is only an alias.
 */
import { assert, must } from '../../base/assert.ts';
import { HashTable } from '../../base/hash-table.ts';
import { Lru } from '../../base/lru.ts';
import { type BlockHash, type BlockHashes, TIERS, type Tier } from '../../model/block.ts';
import type { BlockHasher } from '../../ports.ts';
import type { RemovedBlocks, StoredBlocks } from '../../wire/kv-event-reader.ts';
import { Orphans } from './orphans.ts';

export interface NamedBlocks {
  hashes: BlockHashes;
  /** Our hash of the block they follow; undefined where they begin a chain. */
  before: BlockHash | undefined;
  tier: Tier;
}

export interface NamesLimits {
  /** Of the table of names; about 30 bytes a block. */
  bytesMax: number;
  /** Blocks that wait for their parent to be told of. */
  orphansMax: number;
}

/** `full`: there are more names than room. `orphans`: their parent is not known (yet). */
export type Naming =
  | { kind: 'named'; runs: NamedBlocks[] }
  | { kind: 'orphans' }
  | { kind: 'full' };

/** Words of a record: the name, our hash, and a bit for each tier. */
const HASH_LOW = 2;
const HASH_HIGH = 3;
const TIERS_WORD = 4;
const VALUE_WORDS = 3;
const ROOTS_MAX = 1024;
/** Names whose records are brought near together. */
const FETCHED = 32;
/** Hashes of several events lie in one array of so many: each array of its own would cost the collector. */
const HASHES_TOGETHER = 4096;

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
assert(LITTLE_ENDIAN, 'the low word of a 64-bit number comes first');

export class BlockNames {
  readonly #hasher: BlockHasher;
  readonly #limits: NamesLimits;
  readonly #orphans: Orphans;
  readonly #roots = new Lru<string, BlockHash>(ROOTS_MAX);
  #known: HashTable;
  /** Where the next hashes go; what was given out is not written again. */
  #hashes = new BigUint64Array(0);
  #hashesUsed = 0;
  /** The root that was asked for last: chains mostly have the same. */
  #last: { salt: string; lora: string; root: BlockHash } | undefined;
  /** One hash, as two words and as a number. */
  readonly #words = new Int32Array(2);
  readonly #number = new BigUint64Array(this.#words.buffer);

  constructor(hasher: BlockHasher, limits: NamesLimits) {
    this.#hasher = hasher;
    this.#limits = limits;
    this.#orphans = new Orphans(limits.orphansMax);
    this.#known = this.#table();
  }

  get size(): number {
    return this.#known.size;
  }

  clear(): void {
    if (this.#known.size > 0) this.#known = this.#table();
    this.#orphans.clear();
  }

  /** Our hashes of the event's blocks, and then of orphans whose parent is among them. */
  stored(event: StoredBlocks): Naming {
    const { parent } = event;
    if (parent !== undefined && !this.#find(parent)) {
      this.#orphans.add({ ...event, parent });
      return { kind: 'orphans' };
    }
    const runs: NamedBlocks[] = [];
    if (!this.#name(event, runs)) return { kind: 'full' };
    const line = this.#orphans.blocks > 0 ? this.#orphans.of(event) : [];
    for (let child = line.pop(); child !== undefined; child = line.pop()) {
      this.#find(must(child.parent, 'an orphan names its parent'));
      if (!this.#name(child, runs)) return { kind: 'full' };
      line.push(...this.#orphans.of(child));
    }
    return { kind: 'named', runs };
  }

  /** Our hashes of those that are known. */
  removed({ names, count, tier }: RemovedBlocks): BlockHashes {
    const hashes = this.#room(count);
    const words = wordsOf(hashes);
    const bit = bitOf(tier);
    const named = wordsOf(names);
    let known = 0;
    for (let i = 0; i < count; i++) {
      if (i % FETCHED === 0) this.#known.fetch(named, 2 * i, 2 * Math.min(i + FETCHED, count));
      const address = this.#known.find(names[2 * i] | 0, names[2 * i + 1] | 0);
      if (address === 0) {
        if (this.#orphans.blocks > 0) this.#orphans.remove(names[2 * i], names[2 * i + 1], tier);
        continue;
      }
      const { memory, column } = this.#known;
      words[2 * known] = memory[address + HASH_LOW * column];
      words[2 * known + 1] = memory[address + HASH_HIGH * column];
      known++;
      memory[address + TIERS_WORD * column] &= ~bit;
      if (memory[address + TIERS_WORD * column] === 0) this.#known.delete(address);
    }
    return known === count ? hashes : hashes.subarray(0, known);
  }

  /** Leaves our hash of the name in `#number`; false where it is not known. */
  #find(name: Uint32Array): boolean {
    const address = this.#known.find(name[0] | 0, name[1] | 0);
    if (address === 0) return false;
    const { memory, column } = this.#known;
    this.#words[0] = memory[address + HASH_LOW * column];
    this.#words[1] = memory[address + HASH_HIGH * column];
    return true;
  }

  /** With the parent's hash in `#number`, where it has one. False: the table is full. */
  #name(event: StoredBlocks, runs: NamedBlocks[]): boolean {
    const { count, names, tier, keys, parent, lora } = event;
    const start = parent === undefined ? this.#root(keys?.[0] ?? '', lora) : this.#number[0];
    const hashes =
      keys === undefined
        ? this.#hasher.blocks(start, event.tokens, this.#room(count))
        : this.#mixed(event, start);
    const words = wordsOf(hashes);
    const bit = bitOf(tier);
    const named = wordsOf(names);
    for (let i = 0; i < count; i++) {
      if (i % FETCHED === 0) this.#known.fetch(named, 2 * i, 2 * Math.min(i + FETCHED, count));
      const low = names[2 * i] | 0;
      const high = names[2 * i + 1] | 0;
      let address = this.#known.find(low, high);
      if (address === 0) address = this.#known.insert(low, high);
      if (address === 0) return false;
      const { memory, column } = this.#known;
      memory[address + HASH_LOW * column] = words[2 * i];
      memory[address + HASH_HIGH * column] = words[2 * i + 1];
      memory[address + TIERS_WORD * column] |= bit;
    }
    runs.push({ hashes, before: parent === undefined ? undefined : start, tier });
    return true;
  }

  /** Where a block has keys of its own (an image), its chain is apart from all others from there on. */
  #mixed(event: StoredBlocks, start: BlockHash): BlockHashes {
    const { tokens, blockTokens, keys, count, parent } = event;
    const hashes = this.#room(count);
    let hash = start;
    for (let i = 0; i < count; i++) {
      const key = keys?.[i] ?? '';
      // The first block's key at the start of a chain is its salt, and in the root already.
      const isOwn = key !== '' && (i > 0 || parent !== undefined);
      if (isOwn) hash = this.#hasher.root(JSON.stringify([String(hash), key]));
      hash = this.#hasher.block(hash, tokens, i * blockTokens);
      hashes[i] = hash;
    }
    return hashes;
  }

  #room(count: number): BlockHashes {
    if (this.#hashesUsed + count > this.#hashes.length) {
      this.#hashes = new BigUint64Array(Math.max(HASHES_TOGETHER, count));
      this.#hashesUsed = 0;
    }
    this.#hashesUsed += count;
    return this.#hashes.subarray(this.#hashesUsed - count, this.#hashesUsed);
  }

  #root(salt: string, lora: string): BlockHash {
    if (this.#last?.salt === salt && this.#last.lora === lora) return this.#last.root;
    const root = this.#knownRoot(salt, lora);
    this.#last = { salt, lora, root };
    return root;
  }

  #knownRoot(salt: string, lora: string): BlockHash {
    const key = JSON.stringify([salt, lora]);
    const known = this.#roots.get(key);
    if (known !== undefined) return known;
    const root = this.#hasher.root(salt, lora === '' ? undefined : lora);
    this.#roots.set(key, root);
    return root;
  }

  #table(): HashTable {
    return new HashTable({ valueWords: VALUE_WORDS, bytesMax: this.#limits.bytesMax });
  }
}

function bitOf(tier: Tier): number {
  return 1 << TIERS.indexOf(tier);
}

/** The same memory, as words of the table. */
function wordsOf({ buffer, byteOffset, byteLength }: BlockHashes | Uint32Array): Int32Array {
  return new Int32Array(buffer, byteOffset, byteLength / 4);
}
