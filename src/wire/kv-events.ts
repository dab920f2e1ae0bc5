/**
 * KV events as vLLM publishes them (vllm/distributed/kv_events.py): a batch is
 * `[timestamp, [event…], data_parallel_rank]`, an event an array whose first item is its tag.
 *
 *   BlockStored       block_hashes, parent_block_hash, token_ids, block_size, lora_id, medium,
 *                     lora_name, extra_keys
 *   BlockRemoved      block_hashes, medium
 *   AllBlocksCleared
 */
import type { KvEvent, Tier } from '../model/block.ts';
import { MsgpackReader, MsgpackWriter, type Packed } from './msgpack.ts';

const MEDIUMS: Record<Tier, string> = { device: 'GPU', host: 'CPU', disk: 'STORAGE' };

const TIERS: Record<string, Tier> = {
  GPU: 'device',
  DEVICE: 'device',
  CPU: 'host',
  CPU_PINNED: 'host',
  CPU_TIER1: 'host',
  CPU_TIER2: 'disk',
  DISK: 'disk',
  NVME: 'disk',
  STORAGE: 'disk',
};

/** One batch, `atS` in seconds since 1970. */
export function packEvents(events: readonly KvEvent[], atS: number): Uint8Array {
  const writer = new MsgpackWriter().array(3).float(atS).array(events.length);
  for (const event of events) pack(writer, event);
  return writer.uint(0).done();
}

/**
 * The events of a batch that we understand. Lenient: an unknown tag or medium is skipped, a batch
 * that is no batch throws a `RangeError`.
 */
export function unpackEvents(payload: Uint8Array): KvEvent[] {
  const batch = new MsgpackReader(payload).read();
  if (!Array.isArray(batch) || !Array.isArray(batch[1])) {
    throw new RangeError('a batch of KV events is an array of timestamp and events');
  }
  return batch[1].flatMap(unpack);
}

function pack(writer: MsgpackWriter, event: KvEvent): void {
  if (event.kind === 'cleared') {
    writer.array(1).string('AllBlocksCleared');
    return;
  }
  if (event.kind === 'removed') {
    writer.array(3).string('BlockRemoved').array(event.hashes.length);
    for (const hash of event.hashes) writer.uint64(hash);
    writer.string(MEDIUMS[event.tier]);
    return;
  }
  writer.array(9).string('BlockStored').array(event.hashes.length);
  for (const hash of event.hashes) writer.uint64(hash);
  if (event.parent === undefined) writer.nil();
  else writer.uint64(event.parent);
  writer.array(event.tokens.length);
  for (const token of event.tokens) writer.uint(token);
  writer.uint(event.blockTokens).nil().string(MEDIUMS[event.tier]).nil();
  packExtraKeys(writer, event.extraKeys, event.hashes.length);
}

/** One entry a block, as vLLM has it; a salt belongs to the chain, so each block names it. */
function packExtraKeys(writer: MsgpackWriter, keys: readonly string[], blocks: number): void {
  if (keys.length === 0) {
    writer.nil();
    return;
  }
  writer.array(blocks);
  for (let i = 0; i < blocks; i++) {
    writer.array(keys.length);
    for (const key of keys) writer.string(key);
  }
}

function unpack(packed: Packed): KvEvent[] {
  if (!Array.isArray(packed)) return [];
  const [tag, ...fields] = packed;
  if (tag === 'AllBlocksCleared') return [{ kind: 'cleared' }];
  if (tag === 'BlockRemoved') {
    const tier = tierOf(fields[1]);
    return tier === undefined ? [] : [{ kind: 'removed', hashes: hashesOf(fields[0]), tier }];
  }
  if (tag !== 'BlockStored') return [];
  const [packedHashes, parent, packedTokens, blockTokens, loraId, medium, loraName, extra] = fields;
  const tier = tierOf(medium);
  const hashes = hashesOf(packedHashes);
  const tokens = tokensOf(packedTokens);
  if (tier === undefined || typeof blockTokens !== 'number') return [];
  if (tokens?.length !== hashes.length * blockTokens) return [];
  return [
    {
      kind: 'stored',
      hashes,
      parent: parent === null || parent === undefined ? undefined : hashOf(parent),
      tokens,
      blockTokens,
      tier,
      extraKeys: keysOf([loraId ?? null, loraName ?? null, extra ?? null]),
    },
  ];
}

function tierOf(medium: Packed | undefined): Tier | undefined {
  if (medium === null || medium === undefined) return 'device';
  return typeof medium === 'string' ? TIERS[medium.toUpperCase()] : undefined;
}

function hashesOf(packed: Packed | undefined): bigint[] {
  return Array.isArray(packed) ? packed.map(hashOf) : [];
}

/** Undefined where one of them is no token id. */
function tokensOf(packed: Packed | undefined): Uint32Array | undefined {
  if (!Array.isArray(packed)) return undefined;
  const tokens = new Uint32Array(packed.length);
  for (let i = 0; i < packed.length; i++) {
    const id = packed[i];
    if (typeof id !== 'number' || id >>> 0 !== id) return undefined;
    tokens[i] = id;
  }
  return tokens;
}

/** Engines send hashes as signed or unsigned integers, or as bytes; the last 8 bytes identify them. */
function hashOf(packed: Packed): bigint {
  if (packed instanceof Uint8Array) {
    let hash = 0n;
    for (const byte of packed.subarray(-8)) hash = (hash << 8n) | BigInt(byte);
    return hash;
  }
  if (typeof packed === 'bigint' || Number.isInteger(packed)) {
    return BigInt.asUintN(64, BigInt(packed as number | bigint));
  }
  throw new RangeError('a block hash is an integer or bytes');
}

/** The distinct keys, of adapters and of all blocks of the event. */
function keysOf(packed: Packed): string[] {
  const keys = new Set<string>();
  const collect = (value: Packed): void => {
    if (Array.isArray(value)) value.forEach(collect);
    else if (value !== null) keys.add(String(value));
  };
  collect(packed);
  return [...keys];
}
