/** A comparison as text: a table of means, one of single seeds, and what it says in sentences. */
import { table, thousands } from '../base/text.ts';
import type { Comparison, PolicyFigures, PolicyReport } from '../model/comparison.ts';
import { beforeAfter, beforeAfterClaim } from './before-after.ts';

/**
 * Not a policy but a stack that computes every prompt in full: each call has a cache salt of its own,
 * and goes to whoever has the fewest requests, the best that such a stack can do.
 */
export const NO_REUSE = 'no-reuse';

export function reportText(report: Comparison): string {
  const { policies, mild } = report;
  const changed = beforeAfter(report);
  const means = policies.map((one) => [one.policy, ...cells(one)]);
  const seeds = policies.flatMap((one) =>
    one.perSeed.map((run) => [
      one.policy,
      run.seed,
      ...cells({ ...run, cachedNotReported: one.cachedNotReported }),
    ]),
  );
  const parts = [
    ...(changed === undefined ? [] : [table(changed), '']),
    table([['policy', ...HEAD], ...means]),
    report.seeds.length > 1 ? `\n${table([['policy', 'seed', ...HEAD], ...seeds])}` : '',
    '',
    ...ratiosOf(policies, report.seeds),
    '',
    ...(mild === undefined ? [] : [mildTitle(mild.live), mildTable(mild.policies), '']),
    ...claimsOf(report),
    `${report.trace}; ${report.workers} workers, ${report.engine}${report.profile === null ? '' : `, profile ${report.profile}`}; SLO: TTFT ${report.slo.ttftMs} ms, ITL ${report.slo.itlMs} ms.`,
    ...Object.entries(report.definitions).map(([name, text]) => `  ${name}: ${text}`),
    ...report.notes,
  ];
  return parts.filter((part, i) => part !== '' || parts[i - 1] !== '').join('\n');
}

export function mildTitle(live: number): string {
  return `Mild load: ${live} ${live === 1 ? 'session' : 'sessions'} at once, where nothing is short.`;
}

function mildTable(policies: readonly PolicyReport[]): string {
  return table([['policy', ...HEAD], ...policies.map((one) => [one.policy, ...cells(one)])]);
}

/** What a reader wants to know first; empty where nothing stands beside `stator`. */
export function claimsOf(report: Comparison): string[] {
  const { policies, workers } = report;
  const changed = beforeAfterClaim(report);
  if (changed !== undefined) return [changed];
  const ours = policies.find(({ policy }) => policy === 'stator');
  if (ours === undefined) return [];
  const claims: string[] = [];
  const others: [string, string][] = [
    ['random', 'of random routing'],
    [NO_REUSE, 'of a stack that computes every prompt in full'],
  ];
  for (const [name, words] of others) {
    const other = policies.find(({ policy }) => policy === name);
    if (other === undefined || other.sessionsPerHour === 0) continue;
    const work = (ours.sessionsPerHour / other.sessionsPerHour).toFixed(2);
    const wait = (ours.ttftMs.p50 / other.ttftMs.p50).toFixed(2);
    claims.push(
      `The same ${workers} workers do ${work} × the sessions per hour ${words}; the median wait for a first token is ${wait} × as long.`,
    );
  }
  return claims;
}

const HEAD = [
  'sessions/h',
  'req/s',
  'goodput/s',
  'wall s',
  'CPU s',
  'prompt tok',
  'computed tok',
  'hit %',
  'TTFT ms mean',
  'p50',
  'p90',
  'p99',
  'ITL ms p50',
  'E2E ms p50',
  'failed',
  'refused',
];

function cells(one: PolicyFigures & { cachedNotReported?: true }): (string | number)[] {
  const cached = (text: string) => (one.cachedNotReported ? 'not reported' : text);
  return [
    one.sessionsPerHour.toFixed(0),
    one.requestsPerS.toFixed(2),
    one.goodputPerS.toFixed(2),
    one.wallS.toFixed(1),
    one.cpuS === null ? '-' : one.cpuS.toFixed(1),
    thousands(one.promptTokens),
    cached(thousands(one.prefillTokens)),
    cached((one.hitRatio * 100).toFixed(1)),
    one.ttftMs.mean.toFixed(0),
    one.ttftMs.p50.toFixed(0),
    one.ttftMs.p90.toFixed(0),
    one.ttftMs.p99.toFixed(0),
    one.itlMs.p50.toFixed(1),
    one.e2eMs.p50.toFixed(0),
    thousands(one.failed),
    thousands(one.rejected),
  ];
}

/** Stator against each other policy, seed by seed: pairs of one run, so that a slow hour cancels out. */
function ratiosOf(policies: readonly PolicyReport[], seeds: readonly number[]): string[] {
  const ours = policies.find(({ policy }) => policy === 'stator');
  if (ours === undefined || policies.length < 2) return [];
  const picks: ((one: PolicyFigures) => number)[] = [
    (one) => one.sessionsPerHour,
    (one) => one.goodputPerS,
    (one) => one.prefillTokens,
    (one) => one.wallS,
    (one) => one.ttftMs.p50,
    (one) => one.ttftMs.mean,
  ];
  const head = ['stator ÷', 'sessions/h', 'goodput/s', 'computed', 'wall', 'TTFT p50', 'TTFT mean'];
  const rows = policies
    .filter((one) => one !== ours)
    .map((other) => [
      other.policy,
      ...picks.map((pick) =>
        seeds
          .map((seed) => {
            const [a, b] = [ours, other].map((one) => one.perSeed.find((run) => run.seed === seed));
            return a && b && pick(b) !== 0 ? (pick(a) / pick(b)).toFixed(3) : '-';
          })
          .join(' '),
      ),
    ]);
  return [table([head, ...rows])];
}
