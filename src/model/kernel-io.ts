/** What the kernel hears (facts, past tense) and says (orders, imperative). Plain data, journalled as is. */
import type { BlockHashes, Tier } from './block.ts';
import type { ErrorCode } from './error.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from './ids.ts';
import type { Worker, WorkerMode } from './worker.ts';

export type Fact =
  | { kind: 'workerJoined'; worker: Worker }
  | { kind: 'workerLeft'; worker: WorkerId }
  | { kind: 'healthChanged'; worker: WorkerId; healthy: boolean }
  | { kind: 'arrived'; request: Arrival }
  | { kind: 'firstTokenSent'; request: RequestId }
  | { kind: 'progressed'; request: RequestId; outputTokens: number }
  | { kind: 'finished'; request: RequestId; outputTokens: number; cachedTokens: number | undefined }
  | { kind: 'failed'; request: RequestId; worker: WorkerId; retry: boolean }
  | { kind: 'cancelled'; request: RequestId }
  | { kind: 'blocksStored'; worker: WorkerId; hashes: BlockHashes; tier: Tier }
  | { kind: 'blocksRemoved'; worker: WorkerId; hashes: BlockHashes; tier: Tier }
  | { kind: 'blocksCleared'; worker: WorkerId }
  | { kind: 'feedLost'; worker: WorkerId }
  | { kind: 'policyChanged'; policy: string }
  | { kind: 'ticked' };

export type Order =
  | { kind: 'dispatch'; request: RequestId; worker: WorkerId; decision: Decision }
  | { kind: 'reject'; request: RequestId; code: ErrorCode; sentence: string; retryAfterUs?: number }
  | { kind: 'wake'; atUs: number };

/** A request, as far as a decision needs it. */
export interface Arrival {
  id: RequestId;
  tenant: TenantId;
  model: string;
  thread: ThreadId | undefined;
  promptTokens: number;
  /** Chained hashes of the prompt's full blocks; empty where tokens are unknown. */
  hashes: BlockHashes;
  blockTokens: number;
  outputTokensMax: number;
  priority: number;
}

/** Why a request went where it went: the same object feeds log, receipt, page and golden test. */
export interface Decision {
  policy: string;
  chosen: WorkerId;
  candidates: Candidate[];
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
  /** Tokens of other threads there that will be needed again. */
  liveTokens: number;
  /** Named prices in microseconds; they add up to `totalUs`. */
  terms: Record<string, number>;
  totalUs: number;
}
