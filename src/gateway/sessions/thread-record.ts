/** One thread as the gateway remembers it between its requests. */
import type { BlockHashes } from '../../model/block.ts';
import type { SessionId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';

export interface ThreadRecord {
  readonly tenant: TenantId;
  readonly session: SessionId;
  readonly thread: ThreadId;
  readonly parent: ThreadId | undefined;
  knownBy: string;
  model: string;
  /** As engines know it: they tell threads apart by it. */
  salt: string;
  /** Full blocks of its last prompt. */
  hashes: BlockHashes;
  /** Where it ran last. */
  worker: WorkerId | undefined;
  turns: number;
  running: number;
  lastMs: number;
  contextTokens: number;
  /** Of its last prompt; undefined where the engine did not report it. */
  cachedTokens: number | undefined;
  computedTokens: number | undefined;
  savedTokens: number;
  savedUs: number;
  /** Milliseconds since 1970. */
  retainedUntilMs: number | undefined;
  /** It was ended while it ran: its KV goes when that is over. */
  isEnding: boolean;
}

/** What a record takes besides its hashes; about. */
const RECORD_BYTES = 1000;

export function bytesOf({ hashes, session, thread, parent }: ThreadRecord): number {
  const names = 2 * (session.length + thread.length + (parent?.length ?? 0));
  return RECORD_BYTES + hashes.byteLength + names;
}
