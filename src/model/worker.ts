/** A worker as the kernel knows it: what it can serve, and how much of it. */
import type { TenantId, WorkerId } from './ids.ts';

export interface Worker {
  id: WorkerId;
  /** Model names it answers to. */
  models: readonly string[];
  /** Tokens of one KV block. */
  blockTokens: number;
  /** Longest prompt plus answer. */
  contextTokens: number;
  /** Sequences it computes at once; more wait inside it. */
  slots: number;
  /** Requests it takes at once, running and waiting; the kernel queues the rest. */
  requestsMax: number;
  /** Distinct tokens whose KV it can keep, over all tiers. */
  cacheTokens: number;
  /** Of them, those that all running requests can take together, where that is fewer; undefined: all. */
  deviceTokens?: number | undefined;
  /** Whether it publishes KV events, so that the exact index can be believed. */
  hasEvents: boolean;
  /** Workers of one class are equally fast: model, engine and device. Without one it is its own. */
  class?: string | undefined;
  /** KV moves between workers of which this is equal; undefined: it takes and gives none. */
  kvLayout?: string | undefined;
  /**
   * Where it is equal, one of them can answer a prompt that the other computed, by a way of their own;
   * undefined: only where KV moves.
   */
  handoff?: string | undefined;
  /** Whether it carries out wishes about its KV (`KeepOrder`); undefined: nobody tells it any. */
  takesWishes?: true | undefined;
  /** Undefined: it serves whole requests of anybody. */
  rules?: WorkerRules | undefined;
  prefill: PrefillCurve;
  decode: DecodeCurve;
}

/** Whom a worker serves. */
export interface WorkerRules {
  /** Names of the LoRA adapters it has. */
  adapters: readonly string[];
  role: 'prefill' | 'decode' | 'both';
  /** Whom it is kept for; empty: anybody. */
  tenants: readonly TenantId[];
  /** What keeps requests away that do not tolerate it. */
  taints: readonly string[];
  /** Where it stands and what it is: zone, rack, device. */
  labels: Readonly<Record<string, string>>;
}

/** Microseconds to prefill `u` tokens that end at context `c`: perToken·u + perTokenContext·u·(c − u/2). */
export interface PrefillCurve {
  perTokenUs: number;
  perTokenContextUs: number;
}

/** Microseconds of one decode step with `b` sequences: step + perSequence·b. */
export interface DecodeCurve {
  stepUs: number;
  perSequenceUs: number;
}

/** How far the kernel believes its index of a worker. */
export type WorkerMode = 'exact' | 'predicted' | 'loadOnly';

/** Proves to a worker that whoever changes its cache was told so at its start. */
export const KV_SECRET_HEADER = 'x-stator-kv-secret';

/** Something about a worker that was looked at, and how it is. */
export interface Finding {
  /** What was looked at, in a word or two. */
  check: string;
  well: boolean;
  /** How it is; where that is not well, what it costs, and what mends it. */
  says: string;
}

/** What the page and `workers` show of a worker beyond what the kernel needs. */
export interface WorkerAbout {
  engine: string;
  url: string;
  model: string;
  fingerprint: string;
  demo: boolean;
  tokensMode: 'exact' | 'passThrough';
  card: unknown;
  /** What was looked at when it was met; `doctor` tells of all, the log of what is not well. */
  findings?: readonly Finding[];
}
