/** What reports of simulated and of live runs sum up alike: spreads of values, means over seeds. */
import type { PolicyFigures, Spread } from '../model/comparison.ts';

export function spreadOf(values: readonly number[]): Spread {
  const sorted = Float64Array.from(values).sort();
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
  const mean = sorted.reduce((a, b) => a + b, 0) / Math.max(1, sorted.length);
  return { mean, p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99) };
}

/** At 0, 0.01 … 1; empty where there is no value. */
export function quantiles(values: readonly number[]): number[] {
  const sorted = Float64Array.from(values).sort();
  if (sorted.length === 0) return [];
  return Array.from({ length: 101 }, (_, i) => sorted[Math.round((i / 100) * (sorted.length - 1))]);
}

/** Of each figure; null where it is null for one of them. */
export function meanOf(all: readonly PolicyFigures[]): PolicyFigures {
  const mean = (pick: (one: PolicyFigures) => number) =>
    all.reduce((sum, one) => sum + pick(one), 0) / Math.max(1, all.length);
  const meanSpread = (pick: (one: PolicyFigures) => Spread): Spread => ({
    mean: mean((one) => pick(one).mean),
    p50: mean((one) => pick(one).p50),
    p90: mean((one) => pick(one).p90),
    p95: mean((one) => pick(one).p95),
    p99: mean((one) => pick(one).p99),
  });
  const has = (field: 'cpuS' | 'slowdown' | 'queuedMs') => all.every((one) => one[field] !== null);
  const nothing = spreadOf([]);
  return {
    requests: mean((one) => one.requests),
    failed: mean((one) => one.failed),
    rejected: mean((one) => one.rejected),
    wallS: mean((one) => one.wallS),
    cpuS: has('cpuS') ? mean((one) => one.cpuS ?? 0) : null,
    requestsPerS: mean((one) => one.requestsPerS),
    goodputPerS: mean((one) => one.goodputPerS),
    sessionsPerHour: mean((one) => one.sessionsPerHour),
    promptTokens: mean((one) => one.promptTokens),
    cachedTokens: mean((one) => one.cachedTokens),
    prefillTokens: mean((one) => one.prefillTokens),
    ...(all.every((one) => one.recomputedTokens !== undefined) && {
      recomputedTokens: mean((one) => one.recomputedTokens ?? 0),
    }),
    outputTokens: mean((one) => one.outputTokens),
    hitRatio: mean((one) => one.hitRatio),
    ttftMs: meanSpread((one) => one.ttftMs),
    itlMs: meanSpread((one) => one.itlMs),
    e2eMs: meanSpread((one) => one.e2eMs),
    slowdown: has('slowdown')
      ? { p50: mean((one) => one.slowdown?.p50 ?? 0), p99: mean((one) => one.slowdown?.p99 ?? 0) }
      : null,
    queuedMs: has('queuedMs') ? meanSpread((one) => one.queuedMs ?? nothing) : null,
  };
}
