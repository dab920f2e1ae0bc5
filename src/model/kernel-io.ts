/** What the kernel hears (facts, past tense) and says (orders, imperative). Plain data, journalled as is. */
import type { BlockHash, BlockHashes, Tier } from './block.ts';
import type { ErrorCode } from './error.ts';
import type { RequestId, SessionId, TenantId, ThreadId, WorkerId } from './ids.ts';
import type { Worker, WorkerMode } from './worker.ts';

export type Fact =
  | { kind: 'workerJoined'; worker: Worker }
  | { kind: 'workerLeft'; worker: WorkerId }
  | { kind: 'healthChanged'; worker: WorkerId; healthy: boolean }
  | { kind: 'drainChanged'; worker: WorkerId; draining: boolean }
  | { kind: 'arrived'; request: Arrival }
  | { kind: 'firstTokenSent'; request: RequestId }
  /** The first of two stages ended: its prompt is computed, and its KV can be had there. */
  | { kind: 'prefilled'; request: RequestId; cachedTokens: number | undefined }
  | { kind: 'progressed'; request: RequestId; outputTokens: number }
  | { kind: 'finished'; request: RequestId; outputTokens: number; cachedTokens: number | undefined }
  | { kind: 'failed'; request: RequestId; worker: WorkerId; retry: boolean }
  | { kind: 'cancelled'; request: RequestId }
  /** Nobody will go on from it. */
  | { kind: 'threadEnded'; tenant: TenantId; thread: ThreadId }
  | {
      kind: 'blocksStored';
      worker: WorkerId;
      /** Consecutive blocks of one chain. */
      hashes: BlockHashes;
      tier: Tier;
      /** The block before the first of them; undefined: it begins the chain. */
      before?: BlockHash | undefined;
    }
  | { kind: 'blocksRemoved'; worker: WorkerId; hashes: BlockHashes; tier: Tier }
  | { kind: 'blocksCleared'; worker: WorkerId }
  | { kind: 'feedLost'; worker: WorkerId }
  | { kind: 'policyChanged'; policy: string }
  | {
      kind: 'replicated';
      /** The order's. */
      move: number;
      /** Whether anything of it is there now. */
      ok: boolean;
      /** Leading blocks that are, and their tokens. */
      blocks: number;
      tokens: number;
      tookUs: number;
    }
  | { kind: 'ticked' };

export type Order =
  | {
      kind: 'dispatch';
      request: RequestId;
      worker: WorkerId;
      decision: Decision;
      /** By when it should begin: what is overdue may set aside what is not due yet; undefined: now. */
      dueUs?: number | undefined;
    }
  | { kind: 'reject'; request: RequestId; code: ErrorCode; sentence: string; retryAfterUs?: number }
  | { kind: 'wake'; atUs: number }
  | {
      kind: 'replicate';
      move: number;
      from: WorkerId;
      to: WorkerId;
      /** Of the prefix, from the first block on. */
      hashes: BlockHashes;
      /** Whoever carries it out gives up after so long: it would save no more. */
      usMax: number;
    }
  /** Something that a person should read. */
  | { kind: 'warn'; worker: WorkerId; sentence: string };

/** A request, as far as a decision needs it. */
export interface Arrival {
  id: RequestId;
  tenant: TenantId;
  model: string;
  thread: ThreadId | undefined;
  /** The agent with its sub-agents that the thread belongs to; undefined: it is one by itself. */
  session?: SessionId | undefined;
  /** The thread that spawned it; undefined: none, or nobody knows. */
  parent?: ThreadId | undefined;
  promptTokens: number;
  /** Chained hashes of the prompt's full blocks; empty where tokens are unknown. */
  hashes: BlockHashes;
  blockTokens: number;
  outputTokensMax: number;
  priority: number;
  /** Whoever has more goes first, whatever else is said; undefined: 0. */
  strictPriority?: number | undefined;
  /** It runs only where nothing else does, and gives way to all that comes. */
  whenIdle?: true | undefined;
  /** Its client waits so long for a place, and no longer; undefined: as long as anybody may. */
  patienceUs?: number | undefined;
  /** What it asks of its worker; undefined: nothing. */
  wants?: WorkerWants | undefined;
}

/** What a request asks of the worker that serves it: each worker that cannot give it is left out. */
export interface WorkerWants {
  /** This one and no other. */
  worker?: WorkerId | undefined;
  /** Name of a LoRA adapter that must be served there. */
  adapter?: string | undefined;
  /** The phase it is sent for; undefined: all of it. */
  role?: 'prefill' | 'decode' | undefined;
  /** Taints it does not mind. */
  tolerations: readonly string[];
  /** Names and values the worker must bear. */
  labels: readonly (readonly [name: string, value: string])[];
}

/** Why a request went where it went: the same object feeds log, receipt, page and golden test. */
export interface Decision {
  policy: string;
  chosen: WorkerId;
  /**
   * Of a request in two stages, the one that is dispatched: its prompt alone, whose end is told as
   * `prefilled`, or its answer, for which what is missing of the prompt's KV is brought `from` there.
   * Undefined: all of it.
   */
  stage?: { kind: 'prefill' } | { kind: 'decode'; from: WorkerId };
  /** Of all who were eligible: the cheapest, those that hold most of the prompt, and the chosen. */
  candidates: Candidate[];
  /** How many were eligible. */
  eligible: number;
  /** Time the request waited in the kernel's own queue. */
  queuedUs: number;
  /** Placements tried before this one. */
  attempt: number;
}

export interface Candidate {
  worker: WorkerId;
  mode: WorkerMode;
  /** Leading prompt tokens whose KV the worker is believed to hold. */
  matchedTokens: number;
  /** Of them, those to be fetched from host memory and from disk. */
  hostTokens: number;
  diskTokens: number;
  /** Of them, those that are brought from whoever computed the prompt. */
  broughtTokens?: number | undefined;
  /** Tokens of other threads there that will be needed again. */
  liveTokens: number;
  /** Named prices in microseconds; they add up to `totalUs`. */
  terms: Terms;
  totalUs: number;
  /** The move whose end it waits for before it begins there: `fetch` holds what is left of it. */
  awaits?: number | undefined;
}

/** Named prices; see kernel/route/cost.ts for what each is. */
export type Terms = Record<
  'waiting' | 'prefill' | 'fetch' | 'decode' | 'delay' | 'crowding' | 'explore',
  number
>;
