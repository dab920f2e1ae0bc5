/**
 * What changed from one server to another on the same sessions: the first thing that somebody wants to know who
 * runs the one and thinks about the other.
 */
import { thousands } from '../base/text.ts';
import type { Comparison, PolicyFigures, PolicyReport } from '../model/comparison.ts';

export const BEFORE = 'before';
export const AFTER = 'after';

const NOT_REPORTED = 'not reported';

/** Rows of figure, before, after and the change; undefined where nothing is compared so. */
export function beforeAfter({ policies, workers }: Comparison): string[][] | undefined {
  const before = policies.find(({ policy }) => policy === BEFORE);
  const after = policies.find(({ policy }) => policy === AFTER);
  if (before === undefined || after === undefined) return undefined;
  const both = [before, after];
  const row = (
    name: string,
    pick: (one: PolicyReport) => number | undefined,
    format: (value: number) => string,
  ): string[] => {
    const [a, b] = both.map(pick);
    const text = (value: number | undefined) =>
      value === undefined ? NOT_REPORTED : format(value);
    return [name, text(a), text(b), changeOf(a, b)];
  };
  const computed = (one: PolicyReport) => (one.cachedNotReported ? undefined : one.prefillTokens);
  const workerS = (one: PolicyReport) => one.wallS * (one.workers ?? workers);
  const perSession =
    (pick: (one: PolicyReport) => number | undefined) =>
    (one: PolicyReport): number | undefined => {
      const value = pick(one);
      const sessions = sessionsOf(one);
      return value === undefined || sessions === 0 ? undefined : value / sessions;
    };
  const seconds = (value: number) => value.toFixed(1);
  const ms = (value: number) => value.toFixed(0);
  return [
    ['', BEFORE, AFTER, 'change'],
    row('prompt tokens computed', computed, thousands),
    row('… per session', perSession(computed), thousands),
    row('time to first token, median, ms', (one) => one.ttftMs.p50, ms),
    row('… p90, ms', (one) => one.ttftMs.p90, ms),
    row('end to end, median, ms', (one) => one.e2eMs.p50, ms),
    row('… p90, ms', (one) => one.e2eMs.p90, ms),
    row('worker-seconds', workerS, seconds),
    row('… per session', perSession(workerS), (value) => value.toFixed(2)),
    row('prompt tokens asked', (one) => one.promptTokens, thousands),
    row('failed or refused', (one) => one.failed + one.rejected, thousands),
  ];
}

/** One sentence of it. */
export function beforeAfterClaim(report: Comparison): string | undefined {
  const rows = beforeAfter(report);
  if (rows === undefined) return undefined;
  const [, computed, , ttft] = rows;
  const change = computed.includes(NOT_REPORTED) ? '' : ` (${computed[3]})`;
  const tokens = `Prompt tokens computed: ${computed[1]} before, ${computed[2]} after${change}`;
  return `${tokens}; median wait for a first token: ${ttft[1]} ms before, ${ttft[2]} ms after (${ttft[3]}).`;
}

function sessionsOf({ sessionsPerHour, wallS }: PolicyFigures): number {
  return (sessionsPerHour * wallS) / 3600;
}

function changeOf(a: number | undefined, b: number | undefined): string {
  if (a === undefined || b === undefined || a === 0) return '–';
  const percent = (b / a - 1) * 100;
  return `${percent > 0 ? '+' : percent < 0 ? '−' : '±'}${Math.abs(percent).toFixed(1)} %`;
}
