/**
 * What a trace says, in columns: sessions hold threads (an agent or a sub-agent each), threads hold turns
 * (one prompt and its answer each), and the prompts' blocks are one tree:
 *
 *     root ── system 0 ── system 1 ─┬─ a's files ── a's turn 1 ── a's turn 2     leaf of a's third turn
 *                                   └─ b's files ── b's turn 1                  leaf of b's second turn
 *
 * A block is its own tokens and all before them, so each has one parent and a prompt is the path from the root
 * to its leaf. That is small (a turn costs one number, a block two), and what two prompts share is where their
 * paths part. No text, no token ids: those are seeded from the tree where somebody needs them (`expand.ts`).
 */

/** Turn and thread numbers are indices: turns of a thread, and threads of a session, are neighbours. */
export interface Trace {
  readonly about: TraceAbout;
  /** Tokens of a block. */
  readonly blockTokens: number;
  readonly models: readonly string[];
  readonly sessionCount: number;
  readonly threadCount: number;
  readonly turnCount: number;
  readonly sessionIds: readonly string[];
  /** Of session s: threads `sessionThreads[s]` up to, not including, `sessionThreads[s + 1]`. */
  readonly sessionThreads: Uint32Array;
  readonly threadIds: readonly string[];
  readonly threadSession: Uint32Array;
  /** Of thread h: turns `threadTurns[h]` up to, not including, `threadTurns[h + 1]`. */
  readonly threadTurns: Uint32Array;
  readonly turnThread: Uint32Array;
  readonly promptTokens: Uint32Array;
  readonly outputTokens: Uint32Array;
  /** When the prompt was sent, on the clock that `about.clock` names; 0 without one. */
  readonly startMs: Float64Array;
  /** From sending to the answer's end, as recorded; 0 where that is not known. */
  readonly serviceMs: Float64Array;
  /** Index into `TURN_ENDS`: how each answer ended. */
  readonly turnEnd: Uint8Array;
  /** Index into `models`. */
  readonly turnModel: Uint16Array;
  /** The prompt's last block; 0, the root, for a prompt without a block. */
  readonly leaf: Uint32Array;
  readonly waits: Waits;
  readonly tree: BlockTree;
}

/** Of an answer: not recorded; with calls of tools, which its client runs; without any, for whoever reads it. */
export const TURN_ENDS = ['unknown', 'tools', 'answered'] as const;
export type TurnEnd = (typeof TURN_ENDS)[number];

export interface TraceAbout {
  /** Name of the format it was read from, or of what generated it. */
  format: string;
  /** Whether `startMs` counts from the trace's begin, from each session's own, or says nothing. */
  clock: 'trace' | 'session' | 'none';
  /** What a reader of figures should know: assumptions, losses, estimates. A sentence each. */
  notes: readonly string[];
  malformed: Malformed;
}

/** Rows that were left out, and why. */
export interface Malformed {
  count: number;
  /** The first few; a line number and a sentence each. */
  first: readonly { line: number; sentence: string }[];
}

/**
 * What must have happened before a turn is sent: of turn t, the waits `begin[t]` up to, not including,
 * `begin[t + 1]`. All must be met; each is met `delayMs` after the other turn's end, or after its
 * sending where `onDispatch` is 1. A turn that waits for nothing is sent at its `startMs`.
 */
export interface Waits {
  readonly begin: Uint32Array;
  /** A turn. */
  readonly on: Uint32Array;
  readonly delayMs: Float64Array;
  /** Index into `RELATIONS`. */
  readonly relation: Uint8Array;
  readonly onDispatch: Uint8Array;
}

/**
 * Why a turn waits: for the one before it in its thread (`delayMs` is then its think time, a tool's or a
 * human's), for the one that spawned its thread, for a sub-agent whose result it reads, or only because it was
 * recorded so.
 */
export const RELATIONS = ['sequence', 'spawn', 'join', 'barrier'] as const;
export type Relation = (typeof RELATIONS)[number];

export const SEQUENCE = 0;

/** Blocks by number; 0 is the root, which is no block and its own parent. */
export interface BlockTree {
  /** The root included. */
  readonly nodeCount: number;
  readonly parent: Uint32Array;
  /** Blocks from the first of the prompt to this one, both included. */
  readonly depth: Uint32Array;
}

/** Writes the blocks of a prompt, first to last, into `into`, and returns how many they are. */
export function pathOf(tree: BlockTree, leaf: number, into: Uint32Array): number {
  const length = tree.depth[leaf];
  let node = leaf;
  for (let i = length - 1; i >= 0; i--) {
    into[i] = node;
    node = tree.parent[node];
  }
  return length;
}

/** Blocks of the longest prompt: how long a path can get. */
export function depthMax({ tree, leaf }: Trace): number {
  let longest = 0;
  for (const node of leaf) longest = Math.max(longest, tree.depth[node]);
  return longest;
}

/** Think time before a turn: its wait for the one before it; undefined for the first of a thread. */
export function thinkMs({ waits }: Trace, turn: number): number | undefined {
  for (let i = waits.begin[turn]; i < waits.begin[turn + 1]; i++) {
    if (waits.relation[i] === SEQUENCE && waits.onDispatch[i] === 0) return waits.delayMs[i];
  }
  return undefined;
}
