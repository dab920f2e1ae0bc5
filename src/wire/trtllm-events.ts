/**
 * KV events of TensorRT-LLM's server, as `POST /kv_cache_events` answers them: a JSON list of
 * `{event_id, data}`, each told once.
 *
 *   created   the cache was made: nothing is held
 *   stored    {parent_hash, blocks: [{block_hash, tokens: [{token_id, …}], cache_level, lora_id?, …}]}
 *   removed   {block_hashes}, from wherever they lie
 *   updated   a block moved between GPU and host: no matter, since it is held still
 *
 * Source: tensorrt_llm/_utils.py (KVCacheEventSerializer) of TensorRT-LLM.
 */
import type { KvEvent, Tier } from '../model/block.ts';

export interface NumberedEvents {
  number: number;
  events: KvEvent[];
}

/** Blocks that are not full have no identity and are left out. Throws where the text is no such list. */
export function readTrtllmEvents(text: string, blockTokens: number): NumberedEvents[] {
  const list: unknown = JSON.parse(withWholeHashes(text));
  if (!Array.isArray(list)) throw new RangeError('KV events of TensorRT-LLM are a list');
  return list.flatMap((item) => {
    const { event_id: number, data } = fieldsOf(item);
    if (typeof number !== 'number') return [];
    return [{ number, events: eventsOf(fieldsOf(data), blockTokens) }];
  });
}

/** Hashes have 64 bits, more than a number of JSON.parse: they become strings. */
function withWholeHashes(text: string): string {
  return text.replace(/("(?:[^"\\]|\\.)*")|-?\d{16,}/g, (found, string) =>
    string === undefined ? `"${found}"` : found,
  );
}

function eventsOf(data: Record<string, unknown>, blockTokens: number): KvEvent[] {
  if (data.type === 'created') return [{ kind: 'cleared' }];
  if (data.type === 'removed') {
    const hashes = listOf(data.block_hashes).map(hashOf);
    return (['device', 'host'] as const).map((tier) => ({ kind: 'removed', hashes, tier }));
  }
  return data.type === 'stored' ? storedOf(data, blockTokens) : [];
}

function storedOf(data: Record<string, unknown>, blockTokens: number): KvEvent[] {
  const blocks = listOf(data.blocks).map(fieldsOf);
  const partial = blocks.findIndex(({ tokens }) => listOf(tokens).length !== blockTokens);
  const full = partial < 0 ? blocks : blocks.slice(0, partial);
  if (full.length === 0) return [];
  const ids = full.flatMap(({ tokens }) => listOf(tokens).map((token) => fieldsOf(token).token_id));
  if (!ids.every((id): id is number => typeof id === 'number' && id >>> 0 === id)) return [];
  const [first] = full;
  const tier: Tier = first.cache_level === undefined || first.cache_level === 0 ? 'device' : 'host';
  // What sets the chain apart besides its tokens; 0 and null are nothing.
  const extraKeys = [first.lora_id, first.cache_salt, first.cache_salt_id]
    .filter((key) => key !== undefined && key !== null && key !== 0)
    .map(String);
  return [
    {
      kind: 'stored',
      hashes: full.map(({ block_hash }) => hashOf(block_hash)),
      parent: data.parent_hash === null ? undefined : hashOf(data.parent_hash),
      tokens: Uint32Array.from(ids),
      blockTokens,
      tier,
      extraKeys,
    },
  ];
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function hashOf(value: unknown): bigint {
  const isWhole = typeof value === 'string' ? /^-?\d+$/.test(value) : Number.isInteger(value);
  if (!isWhole) throw new RangeError('a block hash is an integer');
  return BigInt.asUintN(64, BigInt(value as string | number));
}
