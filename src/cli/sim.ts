/** `stator sim`: a workload through policies in virtual time, with the kernel that runs live. */
import { writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { reportPage } from '../bench/report-page.ts';
import { reportText } from '../bench/report-text.ts';
import { POLICY_NAMES } from '../kernel/route/policies.ts';
import type { Comparison, Slo } from '../model/comparison.ts';
import { Config } from '../model/config.ts';
import type { Load } from '../sim/demand.ts';
import { type Profile, readProfile } from '../sim/profile.ts';
import { type Simulation, simulate, WORLD_NAMES } from '../sim/simulate.ts';
import { Complaint } from './complaint.ts';
import { ProgressLine } from './progress.ts';
import { type FitFlags, simFit } from './sim-fit.ts';
import { type SweepFlags, simSweep } from './sim-sweep.ts';
import { simValidate, type ValidateFlags } from './sim-validate.ts';
import { type SourceFlags, traceFrom } from './trace.ts';
import { VERSION } from './version.ts';

export interface SimFlags extends SourceFlags, SweepFlags, FitFlags, ValidateFlags {
  model?: string;
  seed: number;
  validate?: boolean;
  trace?: string;
  workers: number;
  prefillWorkers?: number;
  sessionsPerWorker: number;
  thinkCapS: number;
  maxContext: number;
  speedup?: number;
  rate?: number;
  profile: string;
  deviceTokens: number;
  hostTokens: number;
  ttlS?: number;
  routingLagMs: number;
  eventLagMs: number;
  slo: Slo;
  policy: string[];
  seeds: number;
  warmupS: number;
  durationS: number;
  price?: number;
}

/** Shorter sessions say little about reuse between turns. */
const TURNS_MIN = 3;

export async function sim(flags: SimFlags): Promise<void> {
  const profile = profileOf(flags.profile);
  if (flags.validate) return await simValidate(flags, profile);
  if (flags.fit !== undefined) return await simFit(flags, flags.fit, profile);
  const simulation = await simulationOf(flags, profile);
  if (flags.sweep !== undefined) return simSweep(flags, simulation);
  const line = new ProgressLine();
  let requests = 0;
  let report: Comparison;
  try {
    report = simulate(simulation, (run) => {
      requests += run.requests;
      line.show(`${run.policy}, seed ${run.seed}: ${requests} requests so far`);
    });
  } catch (error) {
    if (error instanceof RangeError) throw new Complaint(error.message);
    throw error;
  } finally {
    line.end();
  }
  print(flags, report);
}

async function simulationOf(flags: SimFlags, profile: Profile): Promise<Simulation> {
  const policies = policiesOf(flags.policy);
  const load = loadOf(flags);
  const trace = await traceFrom(flags.trace, flags);
  return {
    trace,
    traceName: flags.trace === undefined ? `generated ${flags.generate}` : basename(flags.trace),
    policies,
    seeds: Array.from({ length: flags.seeds }, (_, i) => flags.seed + i),
    workers: flags.workers,
    prefillWorkers: flags.prefillWorkers,
    load,
    contextTokensMax: flags.maxContext,
    turnsMin: load.kind === 'closed' ? TURNS_MIN : 1,
    profile,
    deviceTokens: flags.deviceTokens,
    hostTokens: flags.hostTokens,
    ttlUs: flags.ttlS === undefined ? undefined : Math.round(flags.ttlS * 1e6),
    routingLagUs: Math.round(flags.routingLagMs * 1000),
    eventLagUs: Math.round(flags.eventLagMs * 1000),
    slo: flags.slo,
    warmupS: flags.warmupS,
    durationS: flags.durationS,
    // Who is in a trace waited for its answer: nobody gives up.
    kernel: { ...Config.parse({}).limits, queueUsMax: Number.MAX_SAFE_INTEGER / 2 },
  };
}

function print(flags: SimFlags, report: Comparison): void {
  if (flags.page !== undefined) {
    const page = reportPage(report, {
      title: `Stator: ${report.trace}, simulated`,
      command: `stator ${process.argv.slice(2).join(' ')}`,
      version: VERSION,
      pricePerHour: flags.price,
    });
    writeFileSync(flags.page, page);
    process.stderr.write(`The page with plots: ${flags.page}\n`);
  }
  process.stdout.write(`${flags.json ? JSON.stringify(report, null, 2) : reportText(report)}\n`);
}

function policiesOf(names: readonly string[]): readonly string[] {
  const known = [...POLICY_NAMES, ...WORLD_NAMES];
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return names;
  throw new Complaint(`There is no policy '${unknown}'; choose among ${known.join(', ')}.`, 2);
}

function loadOf({ speedup, rate, workers, sessionsPerWorker, thinkCapS }: SimFlags): Load {
  if (speedup !== undefined && rate !== undefined) {
    throw new Complaint('Give --speedup or --rate: arrivals come as recorded or by chance.', 2);
  }
  if (speedup !== undefined) return { kind: 'open', speedup };
  if (rate !== undefined) return { kind: 'rate', requestsPerS: rate };
  const thinkUsMax = Math.round(thinkCapS * 1e6);
  return { kind: 'closed', sessions: workers * sessionsPerWorker, thinkUsMax };
}

function profileOf(name: string): Profile {
  try {
    return readProfile(name);
  } catch (error) {
    throw new Complaint((error as Error).message, 2);
  }
}
