/** What the kernel hears (facts, past tense) and says (orders, imperative). Plain data, journalled as is. */
import type { BlockHash, BlockHashes, Tier } from './block.ts';
import type { ErrorCode } from './error.ts';
import type { RequestId, SessionId, TenantId, ThreadId, WorkerId } from './ids.ts';
import type { KvAnswer } from './kv-control.ts';
import type { PurposeKind, Relation, ToolRun } from './session.ts';
import type { Worker, WorkerMode } from './worker.ts';

export type Fact =
  | { kind: 'workerJoined'; worker: Worker }
  | { kind: 'workerLeft'; worker: WorkerId }
  | { kind: 'healthChanged'; worker: WorkerId; healthy: boolean }
  /** `moves`: what runs there goes elsewhere; undefined: it ends there. */
  | { kind: 'drainChanged'; worker: WorkerId; draining: boolean; moves?: boolean | undefined }
  | { kind: 'probed'; worker: WorkerId; ok: boolean }
  | { kind: 'arrived'; request: Arrival }
  | { kind: 'firstTokenSent'; request: RequestId }
  /** The first of two stages ended: its prompt is computed, and its KV can be had there. */
  | { kind: 'prefilled'; request: RequestId; cachedTokens: number | undefined }
  | { kind: 'progressed'; request: RequestId; outputTokens: number }
  | {
      kind: 'finished';
      request: RequestId;
      outputTokens: number;
      cachedTokens: number | undefined;
      /** Who goes on from the answer; undefined: nobody knows. */
      turn?: TurnEnd | undefined;
    }
  | {
      kind: 'failed';
      request: RequestId;
      worker: WorkerId;
      retry: boolean;
      /**
       * `engine`: its worker's own fault; `unreached`: there was nobody; `denied`: it turned the gateway
       * away, as it will the next time; `moved`: it was asked to go elsewhere; undefined: none of these.
       */
      why?: 'engine' | 'unreached' | 'denied' | 'moved' | undefined;
      /** Tokens of the answer that its client has: the next worker gets them as prompt. */
      saidTokens?: number | undefined;
    }
  | { kind: 'cancelled'; request: RequestId }
  /**
   * What is known of a thread's next prompt, now that its turn is over. `heldBlocks`: leading ones that
   * its worker computed with that turn.
   */
  | { kind: 'foreseen'; request: Arrival; thread: ThreadId; heldBlocks: number }
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
  | {
      kind: 'kept';
      /** The order's. */
      move: number;
      /** Undefined: its worker could not be asked. */
      answer: KvAnswer | undefined;
      /** Leading tokens of the chain of which it is so. */
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
      /** Its thread goes with it: whoever gave it need not keep it. */
      leaves?: true | undefined;
    }
  /** How long KV is to stay, or where; told only to workers that take wishes (`Worker.takesWishes`). */
  | KeepOrder
  /** What was foreseen is not to be computed, or no further; dispatched or not, it is over. */
  | { kind: 'forgo'; request: RequestId; why: Forgone }
  /** It leaves its worker and goes on elsewhere, told as `failed`; where that cannot be, nothing happens. */
  | { kind: 'move'; request: RequestId }
  /** Ask the worker for something small, to see whether it serves again; told as `probed`. */
  | { kind: 'probe'; worker: WorkerId }
  /** Something that a person should read. */
  | { kind: 'warn'; worker: WorkerId; sentence: string };

export type Forgone =
  /** All of it is there, or computing it costs more than it spares. */
  | 'ready'
  /** Nobody knows what its worker holds, or the policy is not told. */
  | 'unknown'
  /** Its thread's next request came, or never will. */
  | 'back'
  /** Its worker was given something that somebody waits for. */
  | 'wanted'
  /** Others that were foreseen later took its place. */
  | 'full'
  /** Its thread has no worker that may compute it. */
  | 'homeless';

/**
 * A wish about the KV of a thread's last prompt, to whoever holds it; answered by `kept` with its
 * `move`. Nothing waits for the answer. The thread's cache salt is the gateway's to know.
 */
export interface KeepOrder {
  kind: 'keep';
  move: number;
  worker: WorkerId;
  /**
   * `retain`: nothing of it leaves for `ttlUs`, as far as that is possible; `demote`: out of the device
   * to `tier`; `prefetch`: up to `tier`; `release`: kept no longer, and what nobody shares leaves first.
   */
  wish: 'retain' | 'demote' | 'prefetch' | 'release';
  tier?: Tier | undefined;
  ttlUs?: number | undefined;
  tenant: TenantId;
  thread: ThreadId;
  /** Of the thread's last prompt, from the first block on; empty where its tokens are unknown. */
  hashes: BlockHashes;
}

/** How an answer ended: who goes on from it, and so how soon. */
export type TurnEnd =
  /** Tools that the client runs now, each as often as it was called. */
  | { kind: 'tools'; tools: readonly ToolCalled[] }
  /** Without any: whoever reads it, a person as a rule. */
  | { kind: 'answered' };

export interface ToolCalled {
  tool: string;
  /** A coarse class of its arguments, where somebody gives one (`npm test`, say): like ones take as long. */
  argument?: string | undefined;
}

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
  /** How long the tools ran since the thread's last answer, as far as its client says so. */
  toolsRan?: readonly ToolRun[] | undefined;
  /** What it is for; undefined: a turn. */
  purpose?: PurposeKind | undefined;
  /** How its prompt stands to the thread's last one; undefined: nobody knows. */
  relation?: Relation | undefined;
  /** Its client says that nobody goes on from its thread. */
  isFinal?: true | undefined;
  /** Its client wants its KV kept for so long after the answer: no longer, and no less where that is possible. */
  retainUs?: number | undefined;
  /** What it asks of its worker; undefined: nothing. */
  wants?: WorkerWants | undefined;
  /** Who turned it away; undefined: nobody did. */
  deniedBy?: readonly WorkerId[] | undefined;
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
  stage?: PrefillStage | DecodeStage;
  /** Of all who were eligible: the cheapest, those that hold most of the prompt, and the chosen. */
  candidates: Candidate[];
  /** How many were eligible. */
  eligible: number;
  /** Time the request waited in the kernel's own queue. */
  queuedUs: number;
  /** Placements tried before this one. */
  attempt: number;
}

export interface PrefillStage {
  kind: 'prefill';
  /**
   * Who would answer it best as things stand, and how much of the prompt it holds: KV may go there while
   * it is computed. Who does is decided when it is.
   */
  next: { worker: WorkerId; heldTokens: number };
}

export interface DecodeStage {
  kind: 'decode';
  from: WorkerId;
  /** Whoever brings it gives up after so long: computing it there is quicker. */
  usMax: number;
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
  /** Who would give it KV of its prompt before it begins there: `fetch` holds what that takes. */
  brings?: WorkerId | undefined;
  /** The move whose end it waits for before it begins there: `fetch` holds what is left of it. */
  awaits?: number | undefined;
}

/** Named prices; see kernel/route/cost.ts for what each is. */
export type Terms = Record<
  'waiting' | 'prefill' | 'fetch' | 'decode' | 'delay' | 'crowding' | 'explore',
  number
>;
