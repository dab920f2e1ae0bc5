/**
 * What a workload did under several policies, simulated or live: the object that `sim` and `compare`
 * print with --json and draw as a page. Fields are CONTRACT's; definitions travel with each report.
 */

export const DEFINITIONS = {
  ttftMs: 'time to first token: first content part - arrival (live: sending of the request)',
  itlMs: 'inter-token latency: (end - first) / (output tokens - 1), one per request',
  e2eMs: 'end - arrival (live: sending)',
  hitRatio: 'cached / prompt tokens, as the engine reported',
  prefillTokens: 'prompt tokens - cached tokens: what was computed',
  recomputedTokens: 'of what was computed, what had been computed before; where that is known',
  goodputPerS: 'requests per second that meet every SLO listed',
  sessionsPerHour: 'sessions / time from first arrival to last completion',
  slowdown: "a session's makespan / its makespan alone; unfinished sessions count at their age",
  wallS: 'first arrival to last completion',
  cpuS: 'CPU time of all workers meanwhile',
} as const;

export interface Comparison {
  trace: string;
  workers: number;
  /** `sim`: time is modelled by `profile`. */
  engine: string;
  profile: string | null;
  slo: Slo;
  seeds: readonly number[];
  /** Of the whole comparison, as somebody who waits for it feels it. */
  wallS: number;
  settings: Record<string, string | number | boolean>;
  definitions: typeof DEFINITIONS;
  /** Each figure is the mean over seeds; what came of each seed is beside it. */
  policies: PolicyReport[];
  /** The same policies with fewer sessions at once, so many; undefined where that was not asked for. */
  mild?: { live: number; policies: PolicyReport[] };
  notes: string[];
}

export interface Slo {
  ttftMs: number;
  itlMs: number;
}

export interface PolicyReport extends PolicyFigures {
  policy: string;
  /** What the policy may see. */
  view: string;
  perSeed: (PolicyFigures & { seed: number })[];
  curves: Curves;
  /** Where it is not the comparison's. */
  workers?: number;
  /** The server told of no cached token: what was cached, computed and hit is not known. */
  cachedNotReported?: true;
}

export interface PolicyFigures {
  requests: number;
  /** Answered with an error, and answered with a refusal. */
  failed: number;
  rejected: number;
  wallS: number;
  /** Null where nothing was computed. */
  cpuS: number | null;
  requestsPerS: number;
  goodputPerS: number;
  sessionsPerHour: number;
  promptTokens: number;
  cachedTokens: number;
  prefillTokens: number;
  recomputedTokens?: number;
  outputTokens: number;
  hitRatio: number;
  ttftMs: Spread;
  itlMs: Spread;
  e2eMs: Spread;
  /** Null where it was not measured. */
  slowdown: { p50: number; p99: number } | null;
  queuedMs: Spread | null;
}

export interface Spread {
  mean: number;
  p50: number;
  p90: number;
  p95: number;
  p99: number;
}

/** For plots; of all seeds together. */
export interface Curves {
  /** Quantiles 0, 0.01 … 1 over all requests, milliseconds. */
  ttftMs: number[];
  e2eMs: number[];
  /** Of what was sent in each bucket; null where nothing was. */
  hitRatio: (number | null)[];
  /** By worker: requests it answered in each bucket. */
  load: Record<string, number[]>;
  bucketS: number;
}
