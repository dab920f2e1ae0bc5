/**
 * What a simulated run came to: figures of what ended within the measured window, and curves for plots.
 * What each figure means is in model/comparison.ts.
 */
import type { Curves, PolicyFigures, PolicyReport, Slo } from '../model/comparison.ts';
import type { Outcome } from './fleet.ts';
import { meanOf, quantiles, spreadOf } from './means.ts';

export interface Window {
  beginUs: number;
  endUs: number;
}

/** One seed under one policy. */
export interface Run {
  seed: number;
  window: Window;
  /** Whatever ended, or was refused, within the window. */
  outcomes: readonly Outcome[];
  /** Sessions that were over within the window. */
  sessionsOver: number;
  /** A session's makespan ÷ its makespan alone; of those not over at the end, at their age. */
  slowdowns: readonly number[];
  /** For a place, also of those that have none at the end. */
  longestWaitUs: number;
}

/** Figures are means over seeds; curves are of all seeds together. */
export function policyReport(
  named: { policy: string; view: string },
  runs: readonly Run[],
  slo: Slo,
): PolicyReport {
  const perSeed = runs.map((run) => ({ seed: run.seed, ...figuresOf(run, slo) }));
  return { ...named, ...meanOf(perSeed), perSeed, curves: curvesOf(runs) };
}

/** Standard deviation between seeds ÷ mean. */
export function noiseOf(report: PolicyReport, pick: (one: PolicyFigures) => number): number {
  const values = report.perSeed.map(pick);
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  if (values.length < 2 || mean === 0) return 0;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1)) / mean;
}

function figuresOf({ window, outcomes, sessionsOver, slowdowns }: Run, slo: Slo): PolicyFigures {
  const seconds = (window.endUs - window.beginUs) / 1e6;
  const good = outcomes.filter(({ rejected }) => !rejected);
  const sum = (pick: (one: Outcome) => number) => good.reduce((all, one) => all + pick(one), 0);
  const promptTokens = sum((one) => one.promptTokens);
  const cachedTokens = sum((one) => one.cachedTokens);
  const met = good.filter((one) => ttftMs(one) <= slo.ttftMs && itlMs(one) <= slo.itlMs);
  return {
    requests: outcomes.length,
    failed: 0,
    rejected: outcomes.length - good.length,
    wallS: seconds,
    cpuS: null,
    requestsPerS: good.length / seconds,
    goodputPerS: met.length / seconds,
    sessionsPerHour: (sessionsOver / seconds) * 3600,
    promptTokens,
    cachedTokens,
    prefillTokens: promptTokens - cachedTokens,
    recomputedTokens: sum(recomputedTokens),
    outputTokens: sum((one) => one.outputTokens),
    hitRatio: promptTokens === 0 ? 0 : cachedTokens / promptTokens,
    ttftMs: spreadOf(good.map(ttftMs)),
    itlMs: spreadOf(good.filter((one) => one.outputTokens > 1).map(itlMs)),
    e2eMs: spreadOf(good.map(e2eMs)),
    slowdown: slowdowns.length === 0 ? null : slowdownOf(slowdowns),
    queuedMs: spreadOf(good.map((one) => one.queuedUs / 1000)),
  };
}

/** Where nobody knows what was new, all of it was. */
const recomputedTokens = ({ promptTokens, cachedTokens, newTokens = promptTokens }: Outcome) =>
  Math.max(0, promptTokens - cachedTokens - newTokens);

const ttftMs = (one: Outcome) => (one.firstUs - one.arrivedUs) / 1000;
const e2eMs = (one: Outcome) => (one.endedUs - one.arrivedUs) / 1000;
/** An answer of one token has no time between tokens. */
const itlMs = (one: Outcome) =>
  (one.endedUs - one.firstUs) / 1000 / Math.max(1, one.outputTokens - 1);

function slowdownOf(values: readonly number[]): { p50: number; p99: number } {
  const { p50, p99 } = spreadOf(values);
  return { p50, p99 };
}

const BUCKETS = 40;

function curvesOf(runs: readonly Run[]): Curves {
  const all = runs.flatMap(({ outcomes }) => outcomes.filter(({ rejected }) => !rejected));
  const { beginUs, endUs } = runs[0].window;
  const bucketUs = (endUs - beginUs) / BUCKETS;
  const prompt = new Array<number>(BUCKETS).fill(0);
  const cached = new Array<number>(BUCKETS).fill(0);
  const load: Record<string, number[]> = {};
  for (const one of all) {
    const at = Math.floor((one.endedUs - beginUs) / bucketUs);
    const bucket = Math.min(BUCKETS - 1, at);
    prompt[bucket] += one.promptTokens;
    cached[bucket] += one.cachedTokens;
    const worker = `worker-${(one.worker ?? 0) + 1}`;
    load[worker] ??= new Array<number>(BUCKETS).fill(0);
    load[worker][bucket]++;
  }
  return {
    ttftMs: quantiles(all.map(ttftMs)),
    e2eMs: quantiles(all.map(e2eMs)),
    hitRatio: prompt.map((tokens, i) => (tokens === 0 ? null : cached[i] / tokens)),
    load: Object.fromEntries(
      Object.entries(load).sort(([a], [b]) => a.length - b.length || (a < b ? -1 : 1)),
    ),
    bucketS: bucketUs / 1e6,
  };
}
