/**
 * KV events as our workers publish them, in the array form of vLLM (vllm/distributed/kv_events.py):
 * a batch is `[timestamp, [event…], data_parallel_rank]`, an event an array whose first item is its
 * tag. kv-event-reader.ts reads this and what other engines send.
 */
import type { KvEvent, Tier } from '../model/block.ts';
import { MsgpackWriter } from './msgpack.ts';

const MEDIUMS: Record<Tier, string> = { device: 'GPU', host: 'CPU', disk: 'STORAGE' };

/** One batch, `atS` in seconds since 1970. */
export function packEvents(events: readonly KvEvent[], atS: number): Uint8Array {
  const writer = new MsgpackWriter().array(3).float(atS).array(events.length);
  for (const event of events) pack(writer, event);
  return writer.uint(0).done();
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
  packExtraKeys(writer, event);
}

/** One entry a block. As in vLLM, only the first block of a chain names the salt; the rest inherit it. */
function packExtraKeys(
  writer: MsgpackWriter,
  { extraKeys, parent, hashes }: Extract<KvEvent, { kind: 'stored' }>,
): void {
  if (extraKeys.length === 0 || parent !== undefined) {
    writer.nil();
    return;
  }
  writer.array(hashes.length).array(extraKeys.length);
  for (const key of extraKeys) writer.string(key);
  for (let i = 1; i < hashes.length; i++) writer.nil();
}
