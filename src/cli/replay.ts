/** `stator replay`: a trace or recorded conversations against a server that runs, with their timing. */
import { compareLive } from '../bench/compare.ts';
import type { Load } from '../bench/drive.ts';
import { workersBehind } from '../bench/endpoint.ts';
import type { Target } from '../bench/replayed.ts';
import type { Slo } from '../model/comparison.ts';
import { Complaint } from './complaint.ts';
import { printReport, type ReportFlags } from './live-report.ts';
import { ProgressLine } from './progress.ts';
import { inWords, met } from './server.ts';
import { manner, type Workload, type WorkloadFlags, workloadOf } from './workload.ts';

export interface ReplayFlags extends Omit<WorkloadFlags, 'seeds' | 'thinkCapS'>, ReportFlags {
  url: string;
  key?: string;
  model?: string;
  /** A closed loop of so many sessions at once. */
  live?: number;
  /** An open loop: sessions begin as recorded, so many times faster. */
  speedup?: number;
  thinkCapS?: number;
  slo: Slo;
}

const LIVE = 8;

/** Exits with 1 where a call failed. */
export async function replay(trace: string | undefined, flags: ReplayFlags): Promise<void> {
  const { url, key, model, seed, slo } = flags;
  const thinkCapS = flags.thinkCapS ?? Number.POSITIVE_INFINITY;
  const workload = await workloadOf({ ...flags, trace, thinkCapS, seeds: 1 });
  const load = loadOf(flags, workload);
  const line = new ProgressLine();
  try {
    line.show('asking the server what it takes');
    const endpoint = await met(url, { key, model });
    const target: Target = { ...endpoint, tokens: undefined };
    const workers = await workersBehind(endpoint);
    const contender = {
      name: 'replay',
      view: endpoint.url,
      url: endpoint.url,
      headers: endpoint.headers,
      prepare: async () => {},
      cpuS: async () => null,
      overlay: () => ({}),
    };
    const measured = await inWords(() =>
      compareLive({
        ...{ load, slo, seeds: [seed], mildLive: 0, contenders: [contender] },
        sessions: workload.scripts(target),
        onProgress: (text) => line.show(text),
      }),
    );
    line.end();
    printReport(flags, {
      ...measured,
      trace: workload.name,
      workers: workers ?? 1,
      engine: 'a server that ran already',
      profile: null,
      settings: { url: endpoint.url, model: endpoint.model, ...settingsOf(load, flags) },
      notes: [...manner(workload, target), ...measured.notes],
    });
    if (measured.policies[0].failed > 0) process.exitCode = 1;
  } finally {
    line.end();
  }
}

function loadOf({ live, speedup }: ReplayFlags, { hasClock }: Workload): Load {
  if (live !== undefined && speedup !== undefined) {
    throw new Complaint('Give --live (a closed loop) or --speedup (as recorded), not both.', 2);
  }
  if (speedup !== undefined && !hasClock) {
    throw new Complaint('This trace has no common clock to begin its sessions by; use --live.', 2);
  }
  if (live !== undefined || !hasClock) return { kind: 'closed', live: live ?? LIVE };
  return { kind: 'open', speedup: speedup ?? 1 };
}

function settingsOf(load: Load, { thinkCapS }: ReplayFlags): Record<string, string | number> {
  return {
    ...(load.kind === 'closed'
      ? { 'sessions live at once': load.live }
      : { 'sessions begin': `as recorded, ${load.speedup} × as fast` }),
    'gaps between calls': thinkCapS === undefined ? 'as recorded' : `at most ${thinkCapS} s`,
  };
}
