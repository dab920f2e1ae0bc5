/**
 * A trace as sessions that can be played again and again: which turns, what each waits for, and which of
 * the trace's blocks are a session's own. A session that is played twice has own blocks twice, or it would
 * find the KV of its earlier self; blocks that several sessions use are the same for all.
 */
import type { TurnEnd } from '../model/kernel-io.ts';
import { pathOf, RELATIONS, type Trace, TURN_ENDS } from '../traces/trace.ts';

export interface SessionScript {
  /** Turns of all threads, those of the first thread first, each thread's in order. */
  turns: TurnScript[];
  /** Turns of the first thread. */
  mainTurns: number;
  /** Blocks that no other session uses. */
  ownBlocks: number;
  /** Its first turn, as the trace numbers it. */
  firstTurn: number;
}

export interface TurnScript {
  /** Number of the thread within the session. */
  thread: number;
  promptTokens: number;
  outputTokens: number;
  /** Undefined: not recorded. */
  end: TurnEnd | undefined;
  /** The block tree's node. */
  leaf: number;
  /** Prompt tokens not in any earlier turn of the session, nor in other sessions. */
  newTokens: number;
  /** What must have happened before. Without any, it is sent at `startUs` of the session. */
  waits: WaitScript[];
  startUs: number;
}

export interface WaitScript {
  /** Index into the session's turns. */
  on: number;
  /** After the other's end, or after its sending. */
  onDispatch: boolean;
  delayUs: number;
}

export interface PlaybookLimits {
  /** A thread is cut before the first turn whose prompt and answer exceed this. */
  contextTokensMax: number;
  /** Sessions with fewer turns in their first thread are left out. */
  turnsMin: number;
}

/** Traces name no tools. */
const ENDS: Record<(typeof TURN_ENDS)[number], TurnEnd | undefined> = {
  unknown: undefined,
  tools: { kind: 'tools', tools: [] },
  answered: { kind: 'answered' },
};

/** Marks a node of no session, and one of several. */
const NOBODY = -1;
const SHARED = -2;

export class Playbook {
  readonly trace: Trace;
  readonly sessions: SessionScript[] = [];
  /** Of each node: its number among its session's own blocks, or among the shared ones. */
  readonly #numberOf: Int32Array;
  readonly #isShared: Uint8Array;
  #ownCounts = new Int32Array(0);
  #sharedBlocks = 0;

  constructor(trace: Trace, limits: PlaybookLimits) {
    this.trace = trace;
    const { nodeCount } = trace.tree;
    this.#numberOf = new Int32Array(nodeCount);
    this.#isShared = new Uint8Array(nodeCount);
    const kept: { turns: number[]; mainTurns: number }[] = [];
    for (let session = 0; session < trace.sessionCount; session++) {
      const found = keptTurns(trace, session, limits.contextTokensMax);
      if (found.mainTurns >= limits.turnsMin) kept.push(found);
    }
    this.#number(kept.map(({ turns }) => turns));
    const seenBy = new Int32Array(nodeCount).fill(NOBODY);
    for (const [index, { turns, mainTurns }] of kept.entries()) {
      this.sessions.push(this.#script(turns, mainTurns, { index, seenBy }));
    }
  }

  /** Blocks that more than one session uses. */
  get sharedBlocks(): number {
    return this.#sharedBlocks;
  }

  /** The blocks of a turn's prompt, for a session whose own blocks begin at `ownBase`. */
  path(turn: TurnScript, bases: { own: number; shared: number }): Int32Array {
    const { tree, blockTokens } = this.trace;
    // What is not full is not a block to an engine.
    const full = Math.min(tree.depth[turn.leaf], Math.floor(turn.promptTokens / blockTokens));
    const nodes = new Uint32Array(tree.depth[turn.leaf]);
    pathOf(tree, turn.leaf, nodes);
    const path = new Int32Array(full);
    for (let i = 0; i < full; i++) {
      const node = nodes[i];
      const base = this.#isShared[node] === 1 ? bases.shared : bases.own;
      path[i] = base + this.#numberOf[node];
    }
    return path;
  }

  /** Tells own blocks from shared ones, and numbers both. */
  #number(sessions: readonly number[][]): void {
    const { tree, leaf } = this.trace;
    const owner = new Int32Array(tree.nodeCount).fill(NOBODY);
    for (const [index, turns] of sessions.entries()) {
      for (const turn of turns) {
        // Whoever owns a node has been at all before it.
        for (let node = leaf[turn]; node !== 0 && owner[node] !== index; node = tree.parent[node]) {
          if (owner[node] === SHARED) break;
          owner[node] = owner[node] === NOBODY ? index : SHARED;
        }
      }
    }
    const own = new Int32Array(sessions.length);
    for (let node = 1; node < tree.nodeCount; node++) {
      if (owner[node] === SHARED) {
        this.#isShared[node] = 1;
        this.#numberOf[node] = this.#sharedBlocks++;
      } else if (owner[node] !== NOBODY) this.#numberOf[node] = own[owner[node]]++;
    }
    this.#ownCounts = own;
  }

  #script(
    turns: readonly number[],
    mainTurns: number,
    given: { index: number; seenBy: Int32Array },
  ): SessionScript {
    const { trace } = this;
    const places = new Map(turns.map((turn, place) => [turn, place]));
    const firstThread = trace.turnThread[turns[0]];
    const beginMs = trace.startMs[turns[0]];
    const scripts = turns.map(
      (turn): TurnScript => ({
        thread: trace.turnThread[turn] - firstThread,
        promptTokens: trace.promptTokens[turn],
        outputTokens: Math.max(1, trace.outputTokens[turn]),
        end: ENDS[TURN_ENDS[trace.turnEnd[turn]]],
        leaf: trace.leaf[turn],
        newTokens: this.#newTokens(turn, given),
        waits: waitsOf(trace, turn, places),
        startUs: Math.max(0, Math.round((trace.startMs[turn] - beginMs) * 1000)),
      }),
    );
    const ownBlocks = this.#ownCounts[given.index];
    return { turns: scripts, mainTurns, ownBlocks, firstTurn: turns[0] };
  }

  #newTokens(turn: number, { index, seenBy }: { index: number; seenBy: Int32Array }): number {
    const { tree, leaf, blockTokens, promptTokens } = this.trace;
    let node = leaf[turn];
    while (node !== 0 && seenBy[node] !== index && this.#isShared[node] === 0) {
      seenBy[node] = index;
      node = tree.parent[node];
    }
    return Math.max(1, promptTokens[turn] - tree.depth[node] * blockTokens);
  }
}

function keptTurns(
  trace: Trace,
  session: number,
  contextTokensMax: number,
): { turns: number[]; mainTurns: number } {
  const turns: number[] = [];
  let mainTurns = 0;
  const firstThread = trace.sessionThreads[session];
  for (let thread = firstThread; thread < trace.sessionThreads[session + 1]; thread++) {
    for (let turn = trace.threadTurns[thread]; turn < trace.threadTurns[thread + 1]; turn++) {
      const context = trace.promptTokens[turn] + trace.outputTokens[turn];
      if (context > contextTokensMax || trace.promptTokens[turn] === 0) break;
      if (isSpawnedByOther(trace, turn, turns)) break;
      turns.push(turn);
      if (thread === firstThread) mainTurns++;
    }
  }
  return { turns, mainTurns };
}

/** Whether the turn was spawned by one that was cut off. */
function isSpawnedByOther(trace: Trace, turn: number, kept: readonly number[]): boolean {
  const { begin, on, relation } = trace.waits;
  for (let i = begin[turn]; i < begin[turn + 1]; i++) {
    if (RELATIONS[relation[i]] === 'spawn' && !kept.includes(on[i])) return true;
  }
  return false;
}

function waitsOf(trace: Trace, turn: number, places: Map<number, number>): WaitScript[] {
  const { begin, on, delayMs, onDispatch } = trace.waits;
  const waits: WaitScript[] = [];
  for (let i = begin[turn]; i < begin[turn + 1]; i++) {
    const place = places.get(on[i]);
    // Whoever was cut off is not waited for.
    if (place === undefined) continue;
    const delayUs = Math.max(0, Math.round(delayMs[i] * 1000));
    waits.push({ on: place, onDispatch: onDispatch[i] === 1, delayUs });
  }
  return waits;
}
