/** Calls → the figures of a report. Definitions are CONTRACT's, and travel with every report. */
import type { CallResult } from './drive.ts';

export const DEFINITIONS = {
  ttftMs: 'first content part - sending of the request',
  itlMs: '(end - first) / (output tokens - 1), one per request',
  e2eMs: 'end - sending',
  hitRatio: 'cached / prompt tokens, as the engine reported',
  prefillTokens: 'prompt tokens - cached tokens: what was computed',
  wallS: 'first sending to last end',
  cpuS: 'CPU time of all workers in between',
} as const;

export interface Spread {
  mean: number;
  p50: number;
  p90: number;
  p95: number;
  p99: number;
}

export interface Figures {
  requests: number;
  failed: number;
  wallS: number;
  cpuS: number;
  requestsPerS: number;
  sessionsPerHour: number;
  promptTokens: number;
  cachedTokens: number;
  prefillTokens: number;
  outputTokens: number;
  hitRatio: number;
  ttftMs: Spread;
  itlMs: Spread;
  e2eMs: Spread;
}

export function figuresOf(results: readonly CallResult[], cpuS: number): Figures {
  const good = results.filter((one) => one.error === undefined);
  const startMs = Math.min(...results.map((one) => one.sentMs));
  const endMs = Math.max(...results.map((one) => one.endMs));
  const wallS = (endMs - startMs) / 1000;
  const sum = (pick: (one: CallResult) => number) =>
    good.reduce((total, one) => total + pick(one), 0);
  const promptTokens = sum((one) => one.promptTokens);
  const cachedTokens = sum((one) => one.cachedTokens);
  const sessions = new Set(good.map((one) => one.session)).size;
  const first = good.filter((one) => one.firstMs !== undefined) as (CallResult & {
    firstMs: number;
  })[];
  const streamed = first.filter((one) => one.outputTokens > 1);
  return {
    requests: results.length,
    failed: results.length - good.length,
    wallS,
    cpuS,
    requestsPerS: good.length / wallS,
    sessionsPerHour: (sessions / wallS) * 3600,
    promptTokens,
    cachedTokens,
    prefillTokens: promptTokens - cachedTokens,
    outputTokens: sum((one) => one.outputTokens),
    hitRatio: promptTokens === 0 ? 0 : cachedTokens / promptTokens,
    ttftMs: spread(first.map((one) => one.firstMs - one.sentMs)),
    itlMs: spread(streamed.map((one) => (one.endMs - one.firstMs) / (one.outputTokens - 1))),
    e2eMs: spread(good.map((one) => one.endMs - one.sentMs)),
  };
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
  const mean = sorted.length === 0 ? 0 : sorted.reduce((a, b) => a + b, 0) / sorted.length;
  return { mean, p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99) };
}
