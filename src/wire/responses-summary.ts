/**
 * What stands for a conversation once it was compacted. Its item is opaque to clients and comes back as
 * they got it; like reasoning it is packed, not encrypted, and only what was packed here can be read.
 */
import { type Json, string, wrong } from './fields.ts';
import { type Item, outputItemId } from './responses-items.ts';
import { packReasoning, unpackReasoning } from './responses-reasoning.ts';

const HEADING = 'Summary of the conversation up to here:';

export function summaryItem(text: string, responseId: string, index: number): Item {
  const id = outputItemId('compaction', responseId, index);
  return { type: 'compaction', id, encrypted_content: packReasoning(text) };
}

/** What a model reads in its place. */
export function readSummary(item: Json, where: string): string {
  const at = `${where}.encrypted_content`;
  const text = unpackReasoning(string(item.encrypted_content, at));
  if (text === undefined) throw wrong(at, 'holds a conversation that only its vendor can read');
  return `${HEADING}\n\n${text}`;
}
