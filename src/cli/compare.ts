/** `stator compare`: recorded sessions through the running gateway, under one policy after the other. */
import { table, thousands } from '../base/text.ts';
import { type CompareReport, type CompareRun, compareLive } from '../bench/compare.ts';
import { forcedAnswer, readSessions } from '../bench/sessions.ts';
import type { Snapshot } from '../gateway/state.ts';
import { POLICY_NAMES } from '../kernel/route/policies.ts';
import { Complaint } from './complaint.ts';
import { ProgressLine } from './progress.ts';
import { type Stack, startStack } from './stack.ts';
import { type StackFlags, stackOptions } from './stack-flags.ts';

interface CompareFlags extends StackFlags {
  sessions: string;
  policies: string[];
  live: number;
  seeds: number;
  seed: number;
  json?: boolean;
}

export async function compare(flags: CompareFlags): Promise<void> {
  const unknown = flags.policies.find((name) => !POLICY_NAMES.includes(name));
  if (unknown !== undefined) {
    const all = POLICY_NAMES.join(', ');
    throw new Complaint(`There is no policy '${unknown}'; choose among ${all}.`, 2);
  }
  const sessions = sessionsIn(flags.sessions);
  const line = new ProgressLine();
  line.show(`starting ${flags.workers} workers`);
  const options = stackOptions({ ...flags, port: 0, allowForcedOutput: true });
  // What an earlier policy left on disk would be found by the next one.
  const stack = await startStack({ ...options, diskBytes: 0, log: () => {} });
  try {
    const report = await compareLive({
      url: stack.url,
      model: stack.model.name,
      sessions: sessions.map((session) => ({
        session,
        answers: session.calls.map((call) => forcedAnswer(session, call, stack.tokens)),
      })),
      policies: flags.policies,
      seeds: Array.from({ length: flags.seeds }, (_, i) => flags.seed + i),
      live: flags.live,
      setPolicy: (policy) => post(stack, '/stator/v1/policies', { policy }),
      resetCaches: () => post(stack, '/reset_prefix_cache', {}),
      cpuS: () => workersCpuS(stack),
      onProgress: (text) => line.show(text),
    });
    line.end();
    const text = flags.json ? JSON.stringify(report, null, 2) : reportText(report, stack);
    process.stdout.write(`${text}\n`);
  } finally {
    line.end();
    await stack.close();
  }
}

function sessionsIn(folder: string) {
  try {
    return readSessions(folder);
  } catch (error) {
    throw new Complaint((error as Error).message, 2);
  }
}

async function post(stack: Stack, path: string, body: unknown): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(stack.url + path, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
}

async function workersCpuS(stack: Stack): Promise<number> {
  const response = await fetch(`${stack.url}/stator/v1/snapshot`);
  const { workers } = (await response.json()) as Snapshot;
  let seconds = 0;
  for (const { about } of workers) {
    const text = await (await fetch(`${about.url}/metrics`)).text();
    seconds += Number(/^process_cpu_seconds_total\S* (\S+)$/m.exec(text)?.[1] ?? 0);
  }
  return seconds;
}

function reportText(report: CompareReport, stack: Stack): string {
  const head = [
    'policy',
    'seed',
    'wall s',
    'CPU s',
    'prompt tok',
    'cached tok',
    'computed tok',
    'hit %',
    'TTFT ms mean',
    'p50',
    'p95',
    'failed',
  ];
  const rows = report.runs.map((run) => [run.policy, run.seed, ...cells(run), run.failed]);
  const policies = [...new Set(report.runs.map((run) => run.policy))].sort();
  const means = policies.map((policy) => {
    const runs = report.runs.filter((run) => run.policy === policy);
    return [policy, 'mean', ...cells(meanOf(runs)), runs.reduce((sum, run) => sum + run.failed, 0)];
  });
  const notes = [
    `${report.sessions} recorded sessions, ${report.calls} calls, ${report.live} live at once, ${stack.engine} engine, model ${report.model}.`,
    'TTFT: first content part - sending. Computed: prompt - cached tokens, as the engine reported; a stack without reuse computes all prompt tokens.',
    ...Object.entries(report.failures).map(([error, count]) => `FAILED ${count} ×: ${error}`),
  ];
  return [
    table([head, ...rows]),
    '',
    table([head, ...means]),
    '',
    ...ratios(report, policies),
    '',
    ...notes,
  ].join('\n');
}

function cells(run: Omit<CompareRun, 'seed' | 'policy' | 'failed'>): (string | number)[] {
  return [
    run.wallS.toFixed(1),
    run.cpuS.toFixed(1),
    thousands(run.promptTokens),
    thousands(run.cachedTokens),
    thousands(run.prefillTokens),
    (run.hitRatio * 100).toFixed(1),
    run.ttftMs.mean.toFixed(0),
    run.ttftMs.p50.toFixed(0),
    run.ttftMs.p95.toFixed(0),
  ];
}

/** Each figure is the mean over seeds. */
function meanOf(runs: readonly CompareRun[]): CompareRun {
  const mean = (pick: (run: CompareRun) => number) =>
    runs.reduce((sum, run) => sum + pick(run), 0) / runs.length;
  return {
    ...runs[0],
    wallS: mean((run) => run.wallS),
    cpuS: mean((run) => run.cpuS),
    promptTokens: mean((run) => run.promptTokens),
    cachedTokens: mean((run) => run.cachedTokens),
    prefillTokens: mean((run) => run.prefillTokens),
    hitRatio: mean((run) => run.hitRatio),
    ttftMs: {
      ...runs[0].ttftMs,
      mean: mean((run) => run.ttftMs.mean),
      p50: mean((run) => run.ttftMs.p50),
      p95: mean((run) => run.ttftMs.p95),
    },
  };
}

/** Stator against each other policy, seed by seed: pairs of one run, so that a slow hour cancels out. */
function ratios(report: CompareReport, policies: readonly string[]): string[] {
  const lines: string[] = [];
  const of = (policy: string, seed: number) =>
    report.runs.find((run) => run.policy === policy && run.seed === seed);
  const list = (pick: (run: CompareRun) => number, other: string) =>
    report.seeds
      .map((seed) => {
        const [ours, theirs] = [of('stator', seed), of(other, seed)];
        return ours && theirs ? (pick(ours) / pick(theirs)).toFixed(3) : '-';
      })
      .join(' ');
  if (!policies.includes('stator')) return lines;
  for (const other of policies.filter((policy) => policy !== 'stator')) {
    lines.push(
      `stator / ${other}: computed ${list((run) => run.prefillTokens, other)}, wall ${list((run) => run.wallS, other)}, TTFT mean ${list((run) => run.ttftMs.mean, other)}`,
    );
  }
  const share = report.seeds
    .map((seed) => of('stator', seed))
    .map((run) => (run ? (run.prefillTokens / run.promptTokens).toFixed(3) : '-'));
  lines.push(`stator / a stack without reuse: computed ${share.join(' ')}`);
  return lines;
}
