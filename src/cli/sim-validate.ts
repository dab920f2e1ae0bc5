/**
 * `stator sim --validate`: the same sessions live, on embedded workers, and simulated with a profile of that very
 * engine; how far the simulator is off. The profile is fitted on sessions of another seed.
 */
import { availableParallelism } from 'node:os';
import { drive } from '../bench/drive.ts';
import { figuresOf } from '../bench/report.ts';
import { isValid, type Validated, validated, validationText } from '../bench/validate.ts';
import type { PolicyFigures } from '../model/comparison.ts';
import { Config } from '../model/config.ts';
import { WorkerCard } from '../model/worker-card.ts';
import { policyReport } from '../sim/measure.ts';
import type { Profile } from '../sim/profile.ts';
import { rerun } from '../sim/rerun.ts';
import type { Trace } from '../traces/trace.ts';
import { workersCpuS } from './compare.ts';
import { Complaint } from './complaint.ts';
import { type EngineFlags, PinnedStack, SMALL_AGENTS, smallAgents } from './pinned-stack.ts';
import { ProgressLine } from './progress.ts';

export interface ValidateFlags extends EngineFlags {
  liveWorkers: number[];
  json?: boolean;
}

/** On a machine with nothing else to do steps of one kind differ by a few hundredths. */
const STEP_ERROR_MAX = 0.25;

/** What is asked of a run makes no difference to it. */
const NO_SLO = { ttftMs: Number.MAX_SAFE_INTEGER, itlMs: Number.MAX_SAFE_INTEGER };

/** Beside which profile; what a request takes besides steps. */
interface Compared extends Validated {
  profile: Profile;
  overheadMs: number;
  /** Median relative error of the profile on steps it was not fitted to. */
  stepError: number;
}

interface LiveRun {
  workers: number;
  trace: Trace;
  figures: PolicyFigures;
}

export async function simValidate(flags: ValidateFlags, otherwise: Profile): Promise<void> {
  const sizes = [...new Set(flags.liveWorkers)].sort((a, b) => b - a);
  const line = new ProgressLine();
  const onProgress = (text: string) => line.show(text);
  onProgress(`starting ${sizes[0]} workers`);
  const pinned = await PinnedStack.start(flags, sizes[0]);
  try {
    const { stack, isPinned } = pinned;
    const cores = availableParallelism();
    const found: Compared[] = [];
    // Fewer and fewer: whoever was started later would yield like this process.
    for (const workers of sizes) {
      await stack.workers.set(workers);
      // Workers slow each other down, so each number of them has a profile of its own.
      const fitted = await pinned.calibrate({ workers, seed: flags.seed, otherwise }, onProgress);
      const run = await live(pinned, { workers, seed: flags.seed + 1 }, onProgress);
      const figures = simulated(run, { ...fitted, card: await cardOf(pinned) });
      const compared = validated(run.figures, figures, { workers, counts: workers <= cores });
      const { profile, overheadUs, error } = fitted;
      const beside = { profile, overheadMs: overheadUs / 1000, stepError: error.median };
      found.unshift({ ...compared, ...beside });
    }
    line.end();
    const isGood = isValid(found);
    const report = {
      engine: stack.engine,
      model: stack.model.name,
      cores,
      pinned: isPinned,
      seeds: { fit: flags.seed, validate: flags.seed + 1 },
      sessions: SMALL_AGENTS,
      runs: found,
      valid: isGood,
    };
    process.stdout.write(`${flags.json ? JSON.stringify(report, null, 2) : textOf(report)}\n`);
    if (!isGood) process.exitCode = 1;
  } catch (error) {
    throw new Complaint((error as Error).message);
  } finally {
    line.end();
    await pinned.close();
  }
}

async function live(
  pinned: PinnedStack,
  { workers, seed }: { workers: number; seed: number },
  onProgress: (text: string) => void,
): Promise<LiveRun> {
  const { url } = pinned.stack;
  // Else each prompt would find what another number of workers computed.
  const reset = await fetch(`${url}/reset_prefix_cache`, { method: 'POST', body: '{}' });
  if (!reset.ok) throw new Error(`/reset_prefix_cache answered ${reset.status}`);
  const trace = smallAgents(workers, seed);
  const cpuBefore = await workersCpuS(pinned.stack);
  const results = await drive({
    url,
    headers: {},
    sessions: pinned.sessions(trace, seed),
    load: { kind: 'closed', live: workers * SMALL_AGENTS.livePerWorker },
    run: `validate-${workers}`,
    overlay: () => ({}),
    onProgress: ({ calls, callCount }) =>
      onProgress(`live, ${workers} workers: ${calls} of ${callCount} calls`),
  });
  const cpuS = (await workersCpuS(pinned.stack)) - cpuBefore;
  return { workers, trace, figures: figuresOf(results, { cpuS, slo: NO_SLO }) };
}

/** The gateway's and the sockets' share of a request comes before its engine's, all at once. */
function simulated(
  { workers, trace }: LiveRun,
  given: { profile: Profile; overheadUs: number; card: WorkerCard },
): PolicyFigures {
  const { profile, overheadUs, card } = given;
  const { slots, kvTokens } = card.cache;
  const deviceTokens = Math.min(kvTokens, slots * card.model.contextTokens);
  const { limits, policy, seed } = Config.parse({});
  const run = rerun(trace, {
    fleet: {
      seed,
      world: 'private',
      workers,
      profile,
      deviceTokens,
      hostTokens: kvTokens - deviceTokens,
      routingLagUs: overheadUs,
      eventLagUs: overheadUs,
      kernel: { ...limits, policy },
    },
    live: workers * SMALL_AGENTS.livePerWorker,
    thinkUsMax: Number.MAX_SAFE_INTEGER,
  });
  return policyReport({ policy, view: '' }, [run], NO_SLO);
}

async function cardOf({ stack }: PinnedStack): Promise<WorkerCard> {
  const { workers } = await stack.gateway.state.snapshot();
  const response = await fetch(`${workers[0].about.url}/stator/v1/card`);
  return WorkerCard.parse(await response.json());
}

interface Report {
  engine: string;
  model: string;
  cores: number;
  pinned: boolean;
  seeds: { fit: number; validate: number };
  runs: readonly Compared[];
  valid: boolean;
}

function textOf(report: Report): string {
  const { livePerWorker, sessionsPerWorker, turns } = SMALL_AGENTS;
  const shown = report.runs.filter(({ counts }) => !counts).map(({ workers }) => workers);
  const lines = [
    validationText(report.runs),
    '',
    `${report.model} on ${report.engine}; ${report.cores} cores, workers ${report.pinned ? 'pinned' : 'NOT pinned'}; client and gateway yield to them.`,
    `Generated coding agents: ${sessionsPerWorker} sessions of ${turns} turns a worker, ${livePerWorker} at once; profiles fitted on seed ${report.seeds.fit}, compared on seed ${report.seeds.validate}.`,
    ...report.runs.map(profileText),
  ];
  if (shown.length > 0) {
    const names = shown.map((workers) => `${workers}`).join(' and ');
    lines.push(`${names} workers have no core each: shown, and nothing is asked of it.`);
  }
  const noise = Math.max(...report.runs.map(({ stepError }) => stepError));
  if (noise > STEP_ERROR_MAX) {
    lines.push(
      `Steps of one kind differed by ${(noise * 100).toFixed(0)} %: this machine was busy with other things, and live figures say as much about those.`,
    );
  }
  lines.push(
    report.valid
      ? 'The simulator says what happened, within what is asked of it.'
      : 'The simulator is further off than is asked of it.',
  );
  return lines.join('\n');
}

function profileText({ workers, wallS, cpuS, profile, overheadMs }: Compared): string {
  const { baseUs, perTokenUs, perTokenContextUs, perSequenceUs, perContextUs } = profile.curve;
  return [
    `${workers} live: ${wallS.toFixed(1)} s, in which the engines took ${(cpuS ?? 0).toFixed(1)} CPU seconds.`,
    `  A step: ${baseUs.toFixed(0)} us + ${perTokenUs.toFixed(1)} a prompt token + ${perTokenContextUs.toFixed(4)} for each before it + ${perSequenceUs.toFixed(0)} a sequence decoded + ${perContextUs.toFixed(4)} a token of its context; besides, a request takes ${overheadMs.toFixed(1)} ms.`,
    `  Profile: ${profile.error}.`,
  ].join('\n');
}
