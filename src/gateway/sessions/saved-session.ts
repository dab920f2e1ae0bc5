/** A session as bytes that outlive the gateway: one JSON object, hashes of KV blocks packed. No text. */
import type { BlockHashes } from '../../model/block.ts';
import type { SessionId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import {
  type Json,
  list,
  object,
  optionalNumber,
  optionalObject,
  optionalString,
  string,
} from '../../wire/fields.ts';
import { blankRecord, type ThreadRecord } from './thread-record.ts';

export interface SavedSession {
  tenant: TenantId;
  session: SessionId;
  /** Microseconds since 1970. */
  begunUs: number;
  /** Prompt tokens that were computed for it, and output tokens. */
  spentTokens: number;
  threads: readonly ThreadRecord[];
}

const VERSION = 1;
const HASH_BYTES = BigUint64Array.BYTES_PER_ELEMENT;

export function encodeSession({ threads, ...session }: SavedSession): Uint8Array {
  const saved = { version: VERSION, ...session, threads: threads.map(encodeThread) };
  return Buffer.from(`${JSON.stringify(saved)}\n`);
}

/** Undefined where it is none, or another version's. */
export function decodeSession(bytes: Uint8Array): SavedSession | undefined {
  try {
    const saved = object(JSON.parse(Buffer.from(bytes).toString('utf8')), 'session');
    if (saved.version !== VERSION) return undefined;
    const of = {
      tenant: string(saved.tenant, 'tenant') as TenantId,
      session: string(saved.session, 'session') as SessionId,
    };
    const threads = list(saved.threads, 'threads').map((thread) => decodeThread(of, thread));
    const begunUs = count(saved.begunUs, 'begunUs');
    return { ...of, begunUs, spentTokens: count(saved.spentTokens, 'spentTokens'), threads };
  } catch {
    return undefined; // Cut off, or not ours: as good as not there.
  }
}

/** What runs is over by the time it is read. */
function encodeThread({ hashes, ...record }: ThreadRecord): Json {
  const { tenant, session, receipt, running, isEnding, ...rest } = record;
  const bytes = Buffer.from(hashes.buffer, hashes.byteOffset, hashes.byteLength);
  return { ...rest, hashes: bytes.toString('base64') };
}

function decodeThread(of: { tenant: TenantId; session: SessionId }, input: unknown): ThreadRecord {
  const saved = object(input, 'thread');
  const parked = optionalObject(saved.parked, 'parked');
  const text = (name: string) => optionalString(saved[name], name);
  const number = (name: string) => optionalNumber(saved[name], name, ANY);
  const names = {
    thread: string(saved.thread, 'thread') as ThreadId,
    parent: text('parent') as ThreadId | undefined,
  };
  return {
    ...blankRecord({ ...of, ...names }),
    knownBy: text('knownBy') ?? '',
    model: string(saved.model, 'model'),
    salt: string(saved.salt, 'salt'),
    hashes: hashesOf(string(saved.hashes, 'hashes')),
    blockTokens: count(saved.blockTokens, 'blockTokens'),
    worker: text('worker') as WorkerId | undefined,
    turns: count(saved.turns, 'turns'),
    calledTools: saved.calledTools === true,
    lastMs: count(saved.lastMs, 'lastMs'),
    contextTokens: count(saved.contextTokens, 'contextTokens'),
    cachedTokens: number('cachedTokens'),
    computedTokens: number('computedTokens'),
    savedTokens: count(saved.savedTokens, 'savedTokens'),
    savedUs: count(saved.savedUs, 'savedUs'),
    retainedUntilMs: number('retainedUntilMs'),
    heldUntilMs: number('heldUntilMs'),
    parked: parked && {
      atMs: count(parked.atMs, 'parked.atMs'),
      tokens: count(parked.tokens, 'parked.tokens'),
    },
  };
}

const ANY = { min: 0, max: Number.MAX_SAFE_INTEGER };

function count(value: unknown, name: string): number {
  return optionalNumber(value, name, ANY) ?? 0;
}

function hashesOf(text: string): BlockHashes {
  const bytes = Buffer.from(text, 'base64');
  const hashes = new BigUint64Array(Math.floor(bytes.length / HASH_BYTES));
  new Uint8Array(hashes.buffer).set(bytes.subarray(0, hashes.byteLength));
  return hashes;
}
