/**
 * What a chain's file is made of: one record a line, each behind its checksum, only ever added to. What
 * is torn or damaged is left out by itself, and the lines around it hold.
 *
 *   8 hexadecimal digits of CRC-32 ␠ JSON ⏎
 */
import { crc32 } from 'node:zlib';
import type { Item, ResponseObject } from '../../wire/responses-items.ts';

export type ChainRecord = ResponseRecord | ConversationRecord | ItemsRecord | GoneRecord;

/**
 * A response with what it answered. A later one of the same id stands in its place, unless it is in the
 * conversation: what was said is said.
 */
export interface ResponseRecord {
  kind: 'response';
  response: ResponseObject;
  /** What its request brought, without what came before. */
  input: Item[];
  /** The response it continues. */
  previous?: string | undefined;
  /** Whether its input and output belong to the conversation that the chain is. */
  inConversation: boolean;
  /** Whose it is, as far as the request let us know; what continues it is the same thread's. */
  thread?: string | undefined;
}

/** The chain is a conversation; a later one changes its metadata. */
export interface ConversationRecord {
  kind: 'conversation';
  createdS: number;
  metadata: Record<string, unknown>;
}

/** Items that a client added to the conversation. */
export interface ItemsRecord {
  kind: 'items';
  items: Item[];
}

/** A response or an item of the conversation was deleted. */
export interface GoneRecord {
  kind: 'gone';
  id: string;
}

/** Begins with a line break: what lies before it may have been torn off in mid-line. */
export function linesOf(records: readonly ChainRecord[]): Uint8Array {
  let lines = '\n';
  for (const record of records) {
    const json = JSON.stringify(record);
    lines += `${sumOf(json)} ${json}\n`;
  }
  return Buffer.from(lines);
}

/** The records that are whole, and how many lines are not. */
export function recordsOf(bytes: Uint8Array): { records: ChainRecord[]; damaged: number } {
  const records: ChainRecord[] = [];
  let damaged = 0;
  for (const line of Buffer.from(bytes).toString('utf8').split('\n')) {
    if (line === '') continue;
    const json = line.slice(SUM_DIGITS + 1);
    if (line.slice(0, SUM_DIGITS) === sumOf(json)) records.push(JSON.parse(json) as ChainRecord);
    else damaged++;
  }
  return { records, damaged };
}

const SUM_DIGITS = 8;

function sumOf(json: string): string {
  return crc32(json).toString(16).padStart(SUM_DIGITS, '0');
}
