/** Calls → the figures of a report. What they mean is in model/comparison.ts. */
import type { Curves, PolicyFigures, PolicyReport, Slo } from '../model/comparison.ts';
import { meanOf, quantiles, spreadOf } from '../sim/means.ts';
import type { CallResult } from './drive.ts';

/** What the calls of one policy and seed came to. */
export function figuresOf(
  results: readonly CallResult[],
  { cpuS, slo }: { cpuS: number | null; slo: Slo },
): PolicyFigures {
  const good = results.filter((one) => one.error === undefined);
  const startMs = least(results.map((one) => one.sentMs));
  const endMs = most(results.map((one) => one.endMs));
  const wallS = Math.max(0, endMs - startMs) / 1000;
  const sum = (pick: (one: CallResult) => number) =>
    good.reduce((total, one) => total + pick(one), 0);
  const promptTokens = sum((one) => one.promptTokens);
  const cachedTokens = sum((one) => one.cachedTokens ?? 0);
  const sessions = new Set(good.map((one) => one.session)).size;
  const timings = good.map(timingsOf);
  const met = timings.filter(({ ttftMs, itlMs }) => ttftMs <= slo.ttftMs && itlMs <= slo.itlMs);
  return {
    requests: results.length,
    failed: results.filter((one) => one.error !== undefined && !one.refused).length,
    rejected: results.filter((one) => one.refused).length,
    wallS,
    cpuS,
    requestsPerS: rate(good.length, wallS),
    goodputPerS: rate(met.length, wallS),
    sessionsPerHour: rate(sessions, wallS) * 3600,
    promptTokens,
    cachedTokens,
    prefillTokens: promptTokens - cachedTokens,
    outputTokens: sum((one) => one.outputTokens),
    hitRatio: promptTokens === 0 ? 0 : cachedTokens / promptTokens,
    ttftMs: spreadOf(timings.map(({ ttftMs }) => ttftMs)),
    itlMs: spreadOf(good.filter((one) => one.outputTokens > 1).map((one) => timingsOf(one).itlMs)),
    e2eMs: spreadOf(good.map((one) => one.endMs - one.sentMs)),
    slowdown: null,
    queuedMs: null,
  };
}

/** Means over seeds, and the curves of all seeds together. */
export function policyReport(
  named: { policy: string; view: string; workers?: number },
  runs: readonly { seed: number; figures: PolicyFigures; results: readonly CallResult[] }[],
): PolicyReport {
  const perSeed = runs.map(({ seed, figures }) => ({ seed, ...figures }));
  const good = runs.flatMap(({ results }) => results.filter((one) => one.error === undefined));
  // Servers leave the field out where nothing was cached: only if none ever had it, it is not told.
  const isTold = good.length === 0 || good.some((one) => one.cachedTokens !== undefined);
  return {
    ...named,
    ...(!isTold && { cachedNotReported: true as const }),
    ...meanOf(runs.map(({ figures }) => figures)),
    perSeed,
    curves: curvesOf(runs),
  };
}

/** An answer of one token has no time between tokens. */
function timingsOf(one: CallResult): { ttftMs: number; itlMs: number } {
  const firstMs = one.firstMs ?? one.endMs;
  const gaps = Math.max(1, one.outputTokens - 1);
  return { ttftMs: firstMs - one.sentMs, itlMs: (one.endMs - firstMs) / gaps };
}

const BUCKETS = 40;

function curvesOf(runs: readonly { results: readonly CallResult[] }[]): Curves {
  const good = runs.map(({ results }) => results.filter((one) => one.error === undefined));
  const all = good.flat();
  const spans = runs.map(({ results }) => {
    const startMs = least(results.map((one) => one.sentMs));
    return { startMs, spanMs: most(results.map((one) => one.endMs)) - startMs };
  });
  const bucketS = Math.max(0.001, most(spans.map(({ spanMs }) => spanMs)) / 1000 / BUCKETS);
  const prompt = new Array<number>(BUCKETS).fill(0);
  const cached = new Array<number>(BUCKETS).fill(0);
  const load: Record<string, number[]> = {};
  good.forEach((results, i) => {
    for (const one of results) {
      const at = Math.floor((one.sentMs - spans[i].startMs) / 1000 / bucketS);
      const bucket = Math.min(BUCKETS - 1, at);
      prompt[bucket] += one.promptTokens;
      cached[bucket] += one.cachedTokens ?? 0;
      load[one.worker] ??= new Array<number>(BUCKETS).fill(0);
      load[one.worker][bucket]++;
    }
  });
  return {
    ttftMs: quantiles(all.map((one) => timingsOf(one).ttftMs)),
    e2eMs: quantiles(all.map((one) => one.endMs - one.sentMs)),
    hitRatio: prompt.map((tokens, i) => (tokens === 0 ? null : cached[i] / tokens)),
    load,
    bucketS,
  };
}

function rate(count: number, seconds: number): number {
  return seconds > 0 ? count / seconds : 0;
}

function least(values: readonly number[]): number {
  return values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
}

function most(values: readonly number[]): number {
  return values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
}
