/**
 * Reads KV events of vLLM, SGLang and TensorRT-LLM out of their bytes, without making objects of what
 * there is much of. A batch is `[timestamp, [event…], rank]` or a map of the same (`ts`, `events`,
 * `data_parallel_rank`); an event is an array whose first item is its tag, or a map with `type`.
 *
 *   BlockStored       block_hashes, parent_block_hash, token_ids, block_size, lora_id, medium,
 *                     lora_name, extra_keys, [block_mm_infos,] group_idx, kv_cache_spec_kind, …
 *   BlockRemoved      block_hashes, medium, group_idx
 *   AllBlocksCleared
 *
 * Sources: vllm/distributed/kv_events.py (arrays at first, maps later), the same file of SGLang,
 * NVIDIA Dynamo's zmq_wire. Lenient: an event we cannot use is skipped and told as such; a batch that
 * is none throws a `RangeError`.
 */
import type { Tier } from '../model/block.ts';
import { MsgpackReader, type Packed } from './msgpack.ts';
import { Words } from './words.ts';

/** Why an event is not used. */
export type Skip = 'unknownEvent' | 'unknownMedium' | 'elsewhere' | 'malformed';

/** Blocks that were stored; what it holds is good until the next event is read. */
export interface StoredBlocks {
  count: number;
  /** The engine's own hashes, low half first: `2 * count` words. */
  names: Uint32Array;
  /** The parent's, two words; undefined at the start of a chain. */
  parent: Uint32Array | undefined;
  /** Of all blocks: `count * blockTokens` ids. */
  tokens: Uint32Array;
  blockTokens: number;
  tier: Tier;
  /** Name of the adapter; empty: none. */
  lora: string;
  /** What was mixed into each block's identity besides tokens and adapter; empty: nothing. */
  keys: readonly string[] | undefined;
  group: number | undefined;
  specKind: string | undefined;
}

export interface RemovedBlocks {
  count: number;
  names: Uint32Array;
  tier: Tier;
  group: number | undefined;
}

/** Hears the events of a batch, in order. */
export interface EventListener {
  stored(event: StoredBlocks): void;
  removed(event: RemovedBlocks): void;
  cleared(): void;
  skipped(why: Skip): void;
}

export interface BatchHead {
  /** When it was published, seconds since 1970; undefined where it does not say. */
  atS: number | undefined;
  /** Data-parallel rank; undefined where the engine has none. */
  rank: number | undefined;
}

/** What a medium is to us; `elsewhere` is memory that is not this worker's. */
const MEDIUMS: Record<string, Tier | 'elsewhere'> = {
  GPU: 'device',
  DEVICE: 'device',
  CPU: 'host',
  CPU_PINNED: 'host',
  CPU_TIER1: 'host',
  CPU_TIER2: 'disk',
  DISK: 'disk',
  NVME: 'disk',
  STORAGE: 'disk',
  EXTERNAL: 'elsewhere',
  NETWORK: 'elsewhere',
  REMOTE: 'elsewhere',
  SHARED: 'elsewhere',
};

const FIELD_NAMES = [
  'type',
  'block_hashes',
  'parent_block_hash',
  'token_ids',
  'block_size',
  'lora_id',
  'medium',
  'lora_name',
  'extra_keys',
  'block_mm_infos',
  'group_idx',
  'kv_cache_spec_kind',
  'cache_salt',
  'is_eagle',
  'locality',
] as const;
const FIELDS = new Words(FIELD_NAMES);
type FieldName = (typeof FIELD_NAMES)[number];

/** The bulk, which is read into arrays of our own; the rest are values. */
type BulkName = 'type' | 'block_hashes' | 'parent_block_hash' | 'token_ids';
type ValueName = Exclude<FieldName, BulkName>;

const STORED_ORDER = FIELD_NAMES.slice(1, 9);
const TAGS = new Words(['BlockStored', 'BlockRemoved', 'AllBlocksCleared']);
const STORED = 0;
const REMOVED = 1;
const CLEARED = 2;
const BATCH = new Words(['ts', 'events', 'data_parallel_rank']);
const TIMESTAMP = 0;
const EVENTS = 1;

export class KvEventReader {
  #names = new Uint32Array(512);
  readonly #parent = new Uint32Array(2);
  #tokens = new Uint32Array(4096);
  /** Of the event that is being read; undefined where it has none, or what we cannot read. */
  #nameCount: number | undefined;
  #tokenCount: number | undefined;
  #hasParent = false;
  #values: Partial<Record<ValueName, Packed>> = {};

  /** Tells `on` of each event, after `begin` heard whose they are. */
  read(payload: Uint8Array, begin: (head: BatchHead) => void, on: EventListener): void {
    const reader = new MsgpackReader(payload);
    const pairs = reader.openMap();
    const count = pairs ?? reader.openArray() ?? 0;
    const rank = rankOf(payload, count);
    let atS: number | undefined;
    let hasEvents = false;
    for (let i = 0; i < count; i++) {
      const field = pairs === undefined ? i : reader.word(BATCH);
      if (field === EVENTS && !hasEvents) {
        begin({ atS, rank });
        this.#events(reader, on);
        hasEvents = true;
        continue;
      }
      const value = reader.read();
      if (field === TIMESTAMP && typeof value === 'number') atS = value;
    }
    if (!hasEvents) throw notABatch();
  }

  #events(reader: MsgpackReader, on: EventListener): void {
    const count = reader.openArray();
    if (count === undefined) throw notABatch();
    for (let i = 0; i < count; i++) this.#event(reader, on);
  }

  #event(reader: MsgpackReader, on: EventListener): void {
    this.#nameCount = undefined;
    this.#tokenCount = undefined;
    this.#hasParent = false;
    this.#values = {};
    const items = reader.openArray();
    if (items !== undefined) return this.#tell(this.#positional(reader, items), on);
    const pairs = reader.openMap();
    if (pairs === undefined) {
      reader.read();
      return on.skipped('unknownEvent');
    }
    let tag: number | undefined;
    for (let i = 0; i < pairs; i++) {
      const field = reader.word(FIELDS);
      if (field === 0) tag = reader.word(TAGS);
      else if (field === undefined) reader.read();
      else this.#field(reader, FIELD_NAMES[field]);
    }
    this.#tell(tag, on);
  }

  #positional(reader: MsgpackReader, items: number): number | undefined {
    if (items === 0) return undefined;
    const tag = reader.word(TAGS);
    const order = tag === STORED ? STORED_ORDER : tag === REMOVED ? REMOVED_ORDER : [];
    const known = Math.min(items - 1, order.length);
    for (let i = 0; i < known; i++) this.#field(reader, order[i]);
    const tail: Packed[] = [];
    for (let i = known; i < items - 1; i++) tail.push(reader.read());
    if (tag !== STORED) return tag;
    // Some engines tell of images before the group; others have no such field.
    const [first, second, third] = tail;
    const hasImages = Array.isArray(first) || typeof second === 'number' || isText(third);
    if (hasImages) this.#values.block_mm_infos = tail.shift();
    this.#values.group_idx = tail[0];
    this.#values.kv_cache_spec_kind = tail[1];
    return tag;
  }

  #field(reader: MsgpackReader, name: FieldName): void {
    if (name === 'block_hashes') {
      this.#nameCount = this.#hashes(reader);
    } else if (name === 'token_ids') {
      this.#tokenCount = this.#ids(reader);
    } else if (name === 'parent_block_hash') {
      this.#hasParent = !reader.nil();
      if (this.#hasParent) reader.hash(this.#parent, 0);
    } else {
      const value = reader.read();
      if (name !== 'type') this.#values[name] = value;
    }
  }

  #hashes(reader: MsgpackReader): number | undefined {
    const count = reader.openArray();
    if (count === undefined) {
      reader.read();
      return undefined;
    }
    if (2 * count > this.#names.length) this.#names = new Uint32Array(4 * count);
    for (let i = 0; i < count; i++) reader.hash(this.#names, 2 * i);
    return count;
  }

  #ids(reader: MsgpackReader): number | undefined {
    const count = reader.openArray();
    if (count === undefined) {
      reader.read();
      return undefined;
    }
    if (count > this.#tokens.length) this.#tokens = new Uint32Array(2 * count);
    return reader.ids(count, this.#tokens) ? count : undefined;
  }

  #tell(tag: number | undefined, on: EventListener): void {
    if (tag === undefined) return on.skipped('unknownEvent');
    if (tag === CLEARED) return on.cleared();
    const values = this.#values;
    const tier = tierOf(values.medium ?? null);
    if (tier === undefined) return on.skipped('unknownMedium');
    if (tier === 'elsewhere' || values.locality === 'REMOTE') return on.skipped('elsewhere');
    const count = this.#nameCount;
    if (count === undefined) return on.skipped('malformed');
    const names = this.#names.subarray(0, 2 * count);
    const group = typeof values.group_idx === 'number' ? values.group_idx : undefined;
    if (tag === REMOVED) return on.removed({ count, names, tier, group });
    const { block_size: blockTokens, kv_cache_spec_kind: kind } = values;
    const tokenCount = this.#tokenCount;
    // With a draft model's windows blocks overlap: those are not ours.
    const isWhole = values.is_eagle !== true && typeof blockTokens === 'number' && blockTokens > 0;
    if (!isWhole || tokenCount !== count * blockTokens) return on.skipped('malformed');
    const lora = textOf(values.lora_name) || textOf(values.lora_id);
    on.stored({
      count,
      names,
      parent: this.#hasParent ? this.#parent : undefined,
      tokens: this.#tokens.subarray(0, tokenCount),
      blockTokens,
      tier,
      lora,
      keys: this.#keys(count, lora),
      group,
      specKind: isText(kind) ? kind : undefined,
    });
  }

  /** A text for each block; undefined where none has any. */
  #keys(count: number, lora: string): string[] | undefined {
    const { extra_keys: extra = null, block_mm_infos: images = null, cache_salt } = this.#values;
    // A salt stands for the whole chain, so only the first block has it.
    const salt = this.#hasParent ? '' : textOf(cache_salt);
    if (extra === null && images === null && salt === '') return undefined;
    const keys = new Array<string>(count);
    for (let i = 0; i < count; i++) {
      const found = new Set<string>();
      if (i === 0) found.add(salt);
      const mixed = ofBlock(extra, i);
      // The adapter comes first; a salt that reads the same comes after it and stays.
      const isLora = lora !== '' && Array.isArray(mixed) && mixed[0] === lora;
      collect(isLora ? mixed.slice(1) : mixed, found);
      collect(ofBlock(images, i), found);
      found.delete('');
      // A single key is the salt itself; several are written so that no two sets read the same.
      keys[i] = found.size > 1 ? JSON.stringify([...found]) : ([...found][0] ?? '');
    }
    return keys.some((key) => key !== '') ? keys : undefined;
  }
}

const REMOVED_ORDER: readonly FieldName[] = ['block_hashes', 'medium', 'group_idx'];

function notABatch(): RangeError {
  return new RangeError('a batch of KV events is a timestamp, events and a rank');
}

/** It comes last, but what is told before depends on it: small ranks are their own last byte. */
function rankOf(payload: Uint8Array, count: number): number | undefined {
  if (count < 3) return undefined;
  const end = payload.length;
  const last = payload[end - 1];
  // Or the last byte of a number of one, two or four.
  const isNumber =
    payload[end - 2] === 0xcc || payload[end - 3] === 0xcd || payload[end - 5] === 0xce;
  if (last < 0x80 && !isNumber) return last;
  if (last === 0xc0 && !isNumber) return undefined;
  const batch = new MsgpackReader(payload).read();
  const rank = batch instanceof Map ? batch.get('data_parallel_rank') : (batch as Packed[])[2];
  return typeof rank === 'number' ? rank : undefined;
}

function tierOf(medium: Packed): Tier | 'elsewhere' | undefined {
  if (medium === null) return 'device';
  if (!isText(medium) || !Object.hasOwn(MEDIUMS, medium.toUpperCase())) return undefined;
  return MEDIUMS[medium.toUpperCase()];
}

function isText(value: Packed | undefined): value is string {
  return typeof value === 'string';
}

function textOf(value: Packed | undefined): string {
  return value === null || value === undefined ? '' : String(value);
}

function ofBlock(packed: Packed, i: number): Packed {
  return Array.isArray(packed) ? (packed[i] ?? null) : packed;
}

function collect(value: Packed, into: Set<string>): void {
  if (Array.isArray(value)) for (const inner of value) collect(inner, into);
  else if (value instanceof Map) for (const pair of value) collect(pair, into);
  else if (value !== null) into.add(String(value));
}
