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
  blockTokens: number;
  /** Where it ran last. */
  worker: WorkerId | undefined;
  turns: number;
  running: number;
  /** Its last answer called tools: its client runs them now. */
  calledTools: boolean;
  lastMs: number;
  contextTokens: number;
  /** Of its last prompt; undefined where the engine did not report it. */
  cachedTokens: number | undefined;
  computedTokens: number | undefined;
  savedTokens: number;
  savedUs: number;
  /** Milliseconds since 1970. */
  retainedUntilMs: number | undefined;
  /** Its client wants it kept until then: the kernel does not let it go before. */
  heldUntilMs: number | undefined;
  /** Its KV was put away, so many leading tokens of it; undefined: it was not, or it is used again. */
  parked: { atMs: number; tokens: number } | undefined;
  /** Receipt of its last request; undefined where it had none since the gateway started. */
  receipt: string | undefined;
  /** It was ended while it ran: its KV goes when that is over. */
  isEnding: boolean;
}

const NO_HASHES: BlockHashes = new BigUint64Array(0);

/** Before its first request. */
export function blankRecord(
  given: Pick<ThreadRecord, 'tenant' | 'session' | 'thread' | 'parent'>,
): ThreadRecord {
  return {
    ...given,
    knownBy: '',
    model: '',
    salt: '',
    hashes: NO_HASHES,
    blockTokens: 1,
    worker: undefined,
    turns: 0,
    running: 0,
    calledTools: false,
    lastMs: 0,
    contextTokens: 0,
    cachedTokens: undefined,
    computedTokens: undefined,
    savedTokens: 0,
    savedUs: 0,
    retainedUntilMs: undefined,
    heldUntilMs: undefined,
    parked: undefined,
    receipt: undefined,
    isEnding: false,
  };
}

/** What a record takes besides its hashes; about. */
const RECORD_BYTES = 1000;

export function bytesOf({ hashes, session, thread, parent }: ThreadRecord): number {
  const names = 2 * (session.length + thread.length + (parent?.length ?? 0));
  return RECORD_BYTES + hashes.byteLength + names;
}
