/** `stator compare`: the same sessions through the running gateway, under one policy after the other. */
import { writeFileSync } from 'node:fs';
import { compareLive, NO_REUSE } from '../bench/compare.ts';
import { scriptOf } from '../bench/recorded.ts';
import { reportPage } from '../bench/report-page.ts';
import { reportText } from '../bench/report-text.ts';
import { readSessions } from '../bench/sessions.ts';
import type { Snapshot } from '../gateway/state.ts';
import { makePolicy, POLICY_NAMES } from '../kernel/route/policies.ts';
import type { Comparison, Slo } from '../model/comparison.ts';
import { Complaint } from './complaint.ts';
import { ProgressLine } from './progress.ts';
import { type Stack, startStack } from './stack.ts';
import { type StackFlags, stackOptions } from './stack-flags.ts';
import { VERSION } from './version.ts';

interface CompareFlags extends StackFlags {
  sessions: string;
  policies: string[];
  live: number;
  seeds: number;
  seed: number;
  slo: Slo;
  price?: number;
  page: string | false;
  json?: boolean;
}

export async function compare(flags: CompareFlags): Promise<void> {
  const policies = flags.policies.map(policyNamed);
  const sessions = sessionsIn(flags.sessions);
  const line = new ProgressLine();
  line.show(`starting ${flags.workers} workers`);
  const options = stackOptions({ ...flags, port: 0, allowForcedOutput: true });
  // What an earlier policy left on disk would be found by the next one.
  const stack = await startStack({ ...options, diskBytes: 0, log: () => {} });
  try {
    const { model, tokens, engine } = stack;
    const scripts = sessions.map((session) => scriptOf(session, { model: model.name, tokens }));
    const measured = await compareLive({
      url: stack.url,
      sessions: () => scripts,
      policies,
      seeds: Array.from({ length: flags.seeds }, (_, i) => flags.seed + i),
      live: flags.live,
      slo: flags.slo,
      setPolicy: (policy) => post(stack, '/stator/v1/policies', { policy }),
      resetCaches: () => post(stack, '/reset_prefix_cache', {}),
      cpuS: () => workersCpuS(stack),
      onProgress: (text) => line.show(text),
    });
    line.end();
    const calls = scripts.reduce((sum, one) => sum + one.calls.length, 0);
    print(flags, {
      ...measured,
      trace: `${scripts.length} recorded sessions, ${calls} calls, ${flags.live} live at once`,
      workers: flags.workers,
      engine,
      profile: null,
      settings: settingsOf(flags, model.name),
    });
  } finally {
    line.end();
    await stack.close();
  }
}

function print(flags: CompareFlags, report: Comparison): void {
  if (flags.page !== false) {
    const page = reportPage(report, {
      title: `Stator: ${report.trace}`,
      command: `stator ${process.argv.slice(2).join(' ')}`,
      version: VERSION,
      pricePerHour: flags.price,
    });
    writeFileSync(flags.page, page);
    process.stderr.write(`The page with plots: ${flags.page}\n`);
  }
  process.stdout.write(`${flags.json ? JSON.stringify(report, null, 2) : reportText(report)}\n`);
}

function policyNamed(name: string): { name: string; view: string } {
  if (name === NO_REUSE) return { name, view: 'load' };
  const policy = makePolicy(name, { threadsMax: 1 });
  if (policy !== undefined) return { name, view: policy.view };
  const all = [NO_REUSE, ...POLICY_NAMES].join(', ');
  throw new Complaint(`There is no policy '${name}'; choose among ${all}.`, 2);
}

function settingsOf(flags: CompareFlags, model: string): Comparison['settings'] {
  return {
    model,
    'sessions live at once': flags.live,
    ...(flags.kvTokens === undefined ? {} : { 'KV tokens a worker': flags.kvTokens }),
    ...(flags.slots === undefined ? {} : { 'slots a worker': flags.slots }),
  };
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
