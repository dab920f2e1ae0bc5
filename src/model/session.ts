/** Who is asking, for which conversation, and what for, as far as the client let us know. */
import type { SessionId, TenantId, ThreadId } from './ids.ts';

export interface Identity {
  tenant: TenantId;
  session: SessionId | undefined;
  thread: ThreadId | undefined;
  /** The thread that spawned this one, or that it was forked from. */
  parent: ThreadId | undefined;
  /** Which signal told: a header or body field by name, `lineage`; 'nothing' where none did. */
  knownBy: string;
  /** The client said this session ends with this request. */
  isFinal: boolean;
  purpose: Purpose;
  relation: Relation;
  /** How long the tools ran between the thread's last answer and this request, where a client says so. */
  toolsRan: readonly ToolRun[];
  /** Contradictions in what it said of itself, and what counts; a sentence each. */
  notes: readonly string[];
}

export interface Purpose {
  kind: PurposeKind;
  /** Which signal told: a header by name, or what the request looks like. */
  by: string;
}

export type PurposeKind =
  /** An agent or a sub-agent goes on. */
  | 'turn'
  /** A title, a topic, a summary for somebody else: nobody will go on from it. */
  | 'side'
  /** It asks for the summary that its thread begins anew with: what it has so far is not read again. */
  | 'compaction'
  /** A prompt that is sent ahead of its turn. */
  | 'prewarm';

/** How a prompt stands to those of before. */
export type Relation =
  /** Its thread's first, or nobody knows. */
  | 'begins'
  /** It has all of its thread's last prompt, and more. */
  | 'extends'
  /** It is its thread's last prompt again. */
  | 'repeats'
  /** Its thread goes on from elsewhere: it was compacted, cleared, edited or rewound. */
  | 'diverges'
  /** The first of a thread that shares an answer with another one, and goes on apart from it. */
  | 'forks';

export interface ToolRun {
  tool: string;
  us: number;
}

/** What a thread does: its client runs tools (`acting`), or its sub-agents run (`waiting`). */
export type ThreadActivity = 'thinking' | 'acting' | 'waiting' | 'idle' | 'parked';

/** What is known of a thread after its last turn: `nvext.session`, and `/stator/v1/sessions/{id}`. */
export interface ThreadState {
  session: string;
  thread: string;
  /** The thread that spawned it, or that it was forked from. */
  parent: string | null;
  knownBy: string;
  model: string;
  turns: number;
  running: number;
  state: ThreadActivity;
  /** When its last request came or ended, ISO 8601. */
  lastAt: string;
  /** Its last prompt and answer. */
  contextTokens: number;
  /** Of its last prompt; null where the engine did not report it. */
  cachedTokens: number | null;
  computedTokens: number | null;
  /** Leading tokens of its last prompt, by worker, beyond what lies in a nearer tier. */
  kv: { worker: string; tier: string; tokens: number }[];
  /** A worker keeps its KV until then; null: as long as there is room. */
  retainUntil: string | null;
  /** Its KV was put away then, ISO 8601; null: it was not, or is used again. */
  parkedAt: string | null;
  /** Prompt tokens over all turns that were not computed, and the prefill time they would have taken. */
  savedTokens: number;
  savedMs: number;
}
