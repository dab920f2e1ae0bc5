/** What a trace is like: lengths, times, how far reuse lies, what caches of any size would find. */
import { cutAt } from './cut.ts';
import { interleave } from './interleave.ts';
import { capacityFor, type Reuse, reuseOf, reuseQuantile, sharingOf } from './reuse.ts';
import { type Spread, spreadOf } from './spread.ts';
import { RELATIONS, type Trace, type TraceAbout, thinkMs } from './trace.ts';

export interface SummaryOptions {
  /** Sessions at once, where the trace has no clock of its own; see `interleave`. */
  live: number;
  thinkMsMax: number;
  /** Threads end where they would exceed it, as `cutAt` does; undefined: nowhere. */
  contextTokensMax: number | undefined;
}

export interface TraceSummary {
  about: TraceAbout & { blockTokens: number; models: readonly string[] };
  sessions: number;
  threads: number;
  /** Threads that another one spawned. */
  subAgents: number;
  turns: number;
  /** Turns left out for their context, and those that wait for each other in a circle. */
  leftOut: { longTurns: number; circularTurns: number };
  /** Whose turns come when, for all that follows; undefined: as the trace's clock says. */
  closedLoop: { live: number; thinkCapS: number } | undefined;
  /** From the first sending to the last; undefined without a clock. */
  spanS: number | undefined;
  spreads: Spreads;
  /** Share of later turns that keep less than 80 % of the prompt before: compacted, edited, branched. */
  resets: number;
  /** Of all prompt tokens (blocks), those that an earlier prompt had: what an infinite cache finds. */
  hit: { tokens: number; blocks: number; ownTokens: number };
  blocks: { distinct: number; tokens: number; sharedShare: number; onceShare: number };
  /** Distinct tokens used between two uses of a block. */
  reuseTokens: Record<'p10' | 'p25' | 'p50' | 'p75' | 'p90' | 'p99', number> | undefined;
  /** Tokens of cache that find 95 % of what an infinite one finds. */
  cacheTokensFor95: number | undefined;
  /** One LRU cache for all: its size in tokens, and the share of prompt tokens that it finds. */
  lru: { cacheTokens: number; hit: number }[];
  /** Prompt length by turn of its thread, the first is 1. */
  growth: { turn: number; p10: number; p50: number; p90: number; threads: number }[];
}

const SPREAD_NAMES = [
  'turnsPerThread',
  'promptTokens',
  'uncachedTokens',
  'laterUncachedTokens',
  'growthTokens',
  'outputTokens',
  'thinkS',
  'serviceS',
  'firstPromptTokens',
  'lastPromptTokens',
] as const;
export type SpreadName = (typeof SPREAD_NAMES)[number];
export type Spreads = Record<SpreadName, Spread | undefined>;
/** All values behind each spread, for plots. */
export type Values = Record<SpreadName, number[]>;

/** A turn that keeps less of the prompt before it starts over. */
const KEPT_SHARE = 0.8;
const SHARE_OF_INFINITE = 0.95;
const LRU_POINTS = 24;
/** Of the largest size; below, any cache finds next to nothing. */
const LRU_LEAST_SHARE = 1 / 1024;

export function summarize(
  whole: Trace,
  options: SummaryOptions,
): { summary: TraceSummary; values: Values } {
  const { contextTokensMax } = options;
  const trace = contextTokensMax === undefined ? whole : cutAt(whole, contextTokensMax);
  const sessions = trace.sessionIds.map((_, session) => session);
  const isClosed = trace.about.clock !== 'trace';
  const closedLoop = { live: options.live, thinkCapS: options.thinkMsMax / 1000 };
  const order = interleave(trace, {
    live: isClosed ? options.live : undefined,
    thinkMsMax: isClosed ? options.thinkMsMax : undefined,
    sessions,
  });
  const reuse = reuseOf(trace, order);
  const { values, resets } = valuesOf(trace, order, reuse);
  const sharing = sharingOf(trace, sessions);
  const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
  const cache95 = capacityFor(reuse, SHARE_OF_INFINITE * (foundTokens(reuse) / reuse.promptTokens));
  return {
    values,
    summary: {
      about: { ...trace.about, blockTokens: trace.blockTokens, models: trace.models },
      sessions: trace.sessionCount,
      threads: trace.threadCount,
      subAgents: spawnedIn(trace, order),
      turns: order.length,
      leftOut: {
        longTurns: whole.turnCount - trace.turnCount,
        circularTurns: trace.turnCount - order.length,
      },
      closedLoop: isClosed ? closedLoop : undefined,
      spanS: isClosed ? undefined : spanMs(trace, order) / 1000,
      spreads: Object.fromEntries(
        SPREAD_NAMES.map((name) => [name, spreadOf(values[name])]),
      ) as Spreads,
      resets,
      hit: {
        tokens: share(foundTokens(reuse), reuse.promptTokens),
        blocks: share(reuse.blocks - reuse.coldBlocks, reuse.blocks),
        ownTokens: share(sharing.ownTokens, reuse.promptTokens),
      },
      blocks: {
        distinct: sharing.distinctBlocks,
        tokens: sharing.distinctBlocks * trace.blockTokens,
        sharedShare: share(sharing.sharedBlocks, sharing.distinctBlocks),
        onceShare: share(sharing.onceBlocks, sharing.distinctBlocks),
      },
      reuseTokens: reuseTokensOf(reuse, trace.blockTokens),
      cacheTokensFor95: cache95 === undefined ? undefined : cache95 * trace.blockTokens,
      lru: lruCurve(reuse, { blockTokens: trace.blockTokens, distinct: sharing.distinctBlocks }),
      growth: growthOf(trace, order),
    },
  };
}

function spawnedIn({ waits, turnThread }: Trace, order: Uint32Array): number {
  const threads = new Set<number>();
  for (const turn of order) {
    for (let i = waits.begin[turn]; i < waits.begin[turn + 1]; i++) {
      if (RELATIONS[waits.relation[i]] === 'spawn') threads.add(turnThread[turn]);
    }
  }
  return threads.size;
}

function spanMs({ startMs }: Trace, order: Uint32Array): number {
  const [first, last] = [order.at(0), order.at(-1)];
  return first === undefined || last === undefined ? 0 : startMs[last] - startMs[first];
}

function foundTokens({ tokensWithin }: Reuse): number {
  return tokensWithin[tokensWithin.length - 1];
}

function valuesOf(
  trace: Trace,
  order: Uint32Array,
  reuse: Reuse,
): { values: Values; resets: number } {
  const values = Object.fromEntries(SPREAD_NAMES.map((name) => [name, []])) as unknown as Values;
  const threads = new Set<number>();
  const later = { turns: 0, resets: 0 };
  for (const [place, turn] of order.entries()) {
    const thread = trace.turnThread[turn];
    const prompt = trace.promptTokens[turn];
    const uncached = prompt - reuse.matchedTokens[place];
    threads.add(thread);
    values.promptTokens.push(prompt);
    values.uncachedTokens.push(uncached);
    values.outputTokens.push(trace.outputTokens[turn]);
    if (trace.serviceMs[turn] > 0) values.serviceS.push(trace.serviceMs[turn] / 1000);
    if (turn === trace.threadTurns[thread]) continue;
    values.laterUncachedTokens.push(uncached);
    const think = thinkMs(trace, turn);
    if (think !== undefined) values.thinkS.push(think / 1000);
    later.turns++;
    if (keptTokens(trace, turn) < KEPT_SHARE * trace.promptTokens[turn - 1]) later.resets++;
    else values.growthTokens.push(prompt - trace.promptTokens[turn - 1]);
  }
  for (const thread of threads) {
    const [first, end] = [trace.threadTurns[thread], trace.threadTurns[thread + 1]];
    values.turnsPerThread.push(end - first);
    values.firstPromptTokens.push(trace.promptTokens[first]);
    values.lastPromptTokens.push(trace.promptTokens[end - 1]);
  }
  return { values, resets: later.turns === 0 ? 0 : later.resets / later.turns };
}

/** Tokens that a turn has in common with the one before it in its thread. */
function keptTokens({ tree, leaf, blockTokens, promptTokens }: Trace, turn: number): number {
  let [a, b] = [leaf[turn], leaf[turn - 1]];
  while (a !== b) {
    if (tree.depth[a] >= tree.depth[b]) a = tree.parent[a];
    else b = tree.parent[b];
  }
  // A last block that is not full is kept with the rest where nothing else came in its place.
  const isWhole = a === leaf[turn - 1];
  return isWhole ? promptTokens[turn - 1] : tree.depth[a] * blockTokens;
}

function reuseTokensOf(reuse: Reuse, blockTokens: number): TraceSummary['reuseTokens'] {
  const at = (q: number) => reuseQuantile(reuse, q);
  if (at(0.5) === undefined) return undefined;
  const tokens = (q: number) => (at(q) ?? 0) * blockTokens;
  return {
    p10: tokens(0.1),
    p25: tokens(0.25),
    p50: tokens(0.5),
    p75: tokens(0.75),
    p90: tokens(0.9),
    p99: tokens(0.99),
  };
}

/** Sizes grow by a constant factor up to all distinct blocks. */
function lruCurve(
  { tokensWithin, promptTokens }: Reuse,
  { blockTokens, distinct }: { blockTokens: number; distinct: number },
): TraceSummary['lru'] {
  const curve: TraceSummary['lru'] = [];
  let before = 0;
  for (let point = 0; point <= LRU_POINTS; point++) {
    const blocks = Math.ceil(distinct * LRU_LEAST_SHARE ** (1 - point / LRU_POINTS));
    if (blocks === before || promptTokens === 0) continue;
    before = blocks;
    const hit = tokensWithin[Math.min(blocks, tokensWithin.length - 1)] / promptTokens;
    curve.push({ cacheTokens: blocks * blockTokens, hit });
  }
  return curve;
}

/** Turns 1, 2, 3, 5, 7, 10, … as long as at least three threads get there. */
function growthOf({ turnThread, threadTurns, promptTokens }: Trace, order: Uint32Array) {
  const byTurn = new Map<number, number[]>();
  for (const turn of order) {
    const number = turn - threadTurns[turnThread[turn]] + 1;
    const lengths = byTurn.get(number) ?? [];
    lengths.push(promptTokens[turn]);
    byTurn.set(number, lengths);
  }
  const growth: TraceSummary['growth'] = [];
  for (let turn = 1; ; turn = Math.max(turn + 1, Math.round(turn * 1.3))) {
    const lengths = byTurn.get(turn)?.sort((a, b) => a - b);
    if (lengths === undefined || lengths.length < 3) return growth;
    const at = (q: number) => lengths[Math.max(0, Math.ceil(q * lengths.length) - 1)];
    growth.push({ turn, p10: at(0.1), p50: at(0.5), p90: at(0.9), threads: lengths.length });
  }
}
