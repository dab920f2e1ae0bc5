/** `stator compare`: the same sessions through policies of a gateway of its own, or through servers that run. */
import { type Contender, compareLive } from '../bench/compare.ts';
import type { Target } from '../bench/replayed.ts';
import { plainVocabulary } from '../bench/replayed.ts';
import { NO_REUSE } from '../bench/report-text.ts';
import type { Snapshot } from '../gateway/state.ts';
import { makePolicy, POLICY_NAMES } from '../kernel/route/policies.ts';
import type { Comparison, Slo } from '../model/comparison.ts';
import { type BeforeAfterFlags, compareServers } from './before-after.ts';
import { Complaint } from './complaint.ts';
import { printReport, type ReportFlags } from './live-report.ts';
import { ProgressLine } from './progress.ts';
import { type Stack, startStack } from './stack.ts';
import { measuredStack, type StackFlags } from './stack-flags.ts';
import { manner, type Workload, type WorkloadFlags, workloadOf } from './workload.ts';

export interface CompareFlags extends StackFlags, WorkloadFlags, ReportFlags, BeforeAfterFlags {
  policies: string[];
  live: number;
  /** Undefined: a quarter of `live`. */
  mildLive?: number;
  slo: Slo;
}

/** What `--generate` takes where nothing else is said: more live context than a worker keeps. */
export const LIVE_AGENTS = { workers: 4, live: 8, kvTokens: 24_000 } as const;

const MILD_SHARE = 0.25;
const NO_REUSE_ROUTING = 'least-requests';

export async function compare(flags: CompareFlags): Promise<void> {
  const { before, after } = flags;
  if ((before === undefined) !== (after === undefined)) {
    throw new Complaint('Give --before and --after, or neither.', 2);
  }
  const policies = flags.policies.map(policyNamed);
  const workload = await workloadOf(flags);
  const line = new ProgressLine();
  const given = { workload, ...loadOf(flags), onProgress: (text: string) => line.show(text) };
  try {
    const report =
      before === undefined || after === undefined
        ? await comparePolicies(flags, policies, given)
        : await compareServers({ ...flags, before, after }, given);
    line.end();
    printReport(flags, report);
  } finally {
    line.end();
  }
}

/** What is the same for policies and for servers. */
export type Given = ReturnType<typeof loadOf> & {
  workload: Workload;
  onProgress: (text: string) => void;
};

function loadOf(flags: CompareFlags) {
  const { live, slo } = flags;
  return {
    seeds: Array.from({ length: flags.seeds }, (_, i) => flags.seed + i),
    load: { kind: 'closed' as const, live },
    mildLive: flags.mildLive ?? Math.max(1, Math.floor(live * MILD_SHARE)),
    slo,
  };
}

async function comparePolicies(
  flags: CompareFlags,
  policies: readonly { name: string; view: string }[],
  { workload, ...given }: Given,
): Promise<Comparison> {
  given.onProgress(`starting ${flags.workers} workers`);
  const options = measuredStack({ ...flags, port: 0, allowForcedOutput: true });
  // What an earlier policy left on disk would be found by the next one.
  const stack = await startStack({ ...options, diskBytes: 0, log: () => {} });
  try {
    const target = targetOf(stack);
    const contenders = policies.map((policy) => contenderOf(policy, stack));
    const sessions = workload.scripts(target);
    const measured = await compareLive({ ...given, sessions, contenders });
    return {
      ...measured,
      trace: workload.name,
      workers: flags.workers,
      engine: stack.engine,
      profile: null,
      settings: settingsOf(flags, target.model),
      notes: [...manner(workload, target), ...measured.notes],
    };
  } finally {
    await stack.close();
  }
}

function targetOf({ model, tokens }: Stack): Target {
  const ids = plainVocabulary(tokens);
  return { model: model.name, tokens, ids, forced: true, ignoresEos: false };
}

function contenderOf({ name, view }: { name: string; view: string }, stack: Stack): Contender {
  const isNoReuse = name === NO_REUSE;
  return {
    name,
    view,
    url: stack.url,
    headers: {},
    prepare: async () => {
      const policy = isNoReuse ? NO_REUSE_ROUTING : name;
      await post(stack, '/stator/v1/policies', { policy });
      await post(stack, '/reset_prefix_cache', {});
    },
    cpuS: () => workersCpuS(stack),
    overlay: ({ seed, session, index }) =>
      isNoReuse ? { nvext: { cache_salt: `${seed}-${session}-${index}` } } : {},
  };
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

async function post(stack: Stack, path: string, body: unknown): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(stack.url + path, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
}

export async function workersCpuS(stack: Stack): Promise<number> {
  const response = await fetch(`${stack.url}/stator/v1/snapshot`);
  const { workers } = (await response.json()) as Snapshot;
  let seconds = 0;
  for (const { about } of workers) {
    const text = await (await fetch(`${about.url}/metrics`)).text();
    seconds += Number(/^process_cpu_seconds_total\S* (\S+)$/m.exec(text)?.[1] ?? 0);
  }
  return seconds;
}
