/** A trace through one or more policies in virtual time, several seeds each: the comparison it makes. */
import { must } from '../base/assert.ts';
import { Prng } from '../base/prng.ts';
import type { KernelSettings } from '../kernel/kernel.ts';
import { makePolicy } from '../kernel/route/policies.ts';
import { type Comparison, DEFINITIONS, type PolicyReport, type Slo } from '../model/comparison.ts';
import type { Trace } from '../traces/trace.ts';
import { Demand, type Load } from './demand.ts';
import { Fleet, type Outcome, type World } from './fleet.ts';
import { noiseOf, policyReport, type Run } from './measure.ts';
import { Playbook } from './playbook.ts';
import type { Profile } from './profile.ts';

export interface Simulation {
  trace: Trace;
  /** Its name in the report. */
  traceName: string;
  policies: readonly string[];
  seeds: readonly number[];
  workers: number;
  /** Of the policy `disaggregated`; undefined: a quarter of the workers. */
  prefillWorkers?: number | undefined;
  load: Load;
  contextTokensMax: number;
  turnsMin: number;
  profile: Profile;
  deviceTokens: number;
  hostTokens: number;
  /** KV that nobody used for so long is lost; undefined: kept as long as there is room. */
  ttlUs?: number | undefined;
  routingLagUs: number;
  eventLagUs: number;
  slo: Slo;
  warmupS: number;
  durationS: number;
  kernel: Omit<KernelSettings, 'policy'>;
}

interface OtherWorld {
  world: World;
  policy: string;
  view: string;
  /** Some workers compute prompts for others. */
  apart?: true;
  knowsReturns?: true;
}

/** Names that are no policies: what the world is like, under a plain policy. */
const WORLDS: Record<string, OtherWorld> = {
  oracle: { world: 'shared', policy: 'least-requests', view: 'load, one shared cache' },
  belady: {
    world: 'private',
    policy: 'stator-lru',
    view: 'price; whose thread returns last leaves first',
    knowsReturns: true,
  },
  'belady-ungated': {
    world: 'private',
    policy: 'stator-ungated-lru',
    view: 'price; whose thread returns last leaves first',
    knowsReturns: true,
  },
  'no-reuse': { world: 'none', policy: 'least-requests', view: 'load, no cache' },
  disaggregated: {
    world: 'private',
    policy: 'stator',
    view: 'price, some workers for prompts only',
    apart: true,
  },
};

export const WORLD_NAMES: readonly string[] = Object.keys(WORLDS);

/** `note` hears of each run that is over. Throws a RangeError, one sentence, where the trace
 * cannot be played so. */
export function simulate(
  simulation: Simulation,
  note: (run: { policy: string; seed: number; requests: number }) => void,
): Comparison {
  const { trace, load, contextTokensMax, turnsMin } = simulation;
  const playbook = new Playbook(trace, { contextTokensMax, turnsMin });
  if (playbook.sessions.length === 0) {
    throw new RangeError(
      `No session of the trace has ${turnsMin} turns of at most ${contextTokensMax} tokens.`,
    );
  }
  if (load.kind === 'open' && trace.about.clock !== 'trace') {
    throw new RangeError(
      'The sessions of this trace have no common clock: give a --rate, or play them in a closed loop.',
    );
  }
  const longestWaits: string[] = [];
  const reports = simulation.policies.map((policy) => {
    const runs = simulation.seeds.map((seed) => {
      const run = runOnce(simulation, playbook, policy, seed);
      note({ policy, seed, requests: run.outcomes.length });
      return run;
    });
    const longestUs = Math.max(...runs.map(({ longestWaitUs }) => longestWaitUs));
    if (longestUs > 0) {
      const longestS = (longestUs / 1e6).toFixed(1);
      longestWaits.push(`${policy}: the longest wait for a place was ${longestS} s.`);
    }
    return policyReport({ policy, view: viewOf(policy) }, runs, simulation.slo);
  });
  return {
    trace: simulation.traceName,
    workers: simulation.workers,
    engine: 'sim',
    profile: simulation.profile.name,
    slo: simulation.slo,
    seeds: simulation.seeds,
    // Of virtual time: the same seeds give the same report.
    wallS: simulation.warmupS + simulation.durationS,
    settings: settingsOf(simulation, playbook),
    definitions: DEFINITIONS,
    policies: reports,
    notes: [
      `Time is modelled. Profile ${simulation.profile.name}: ${simulation.profile.source} Error: ${simulation.profile.error}.`,
      ...trace.about.notes,
      ...longestWaits,
      ...(simulation.seeds.length > 1 ? reports.map(noiseText) : []),
    ],
  };
}

function runOnce(simulation: Simulation, playbook: Playbook, name: string, seed: number): Run {
  const { profile, load, workers, deviceTokens, hostTokens, warmupS, durationS } = simulation;
  const plain: OtherWorld = { world: 'private', policy: name, view: name };
  const { world, policy, apart, knowsReturns } = WORLDS[name] ?? plain;
  const fleet = new Fleet({
    seed,
    world,
    workers,
    prefillWorkers: apart && prefillWorkersOf(simulation),
    profile,
    blockTokens: simulation.trace.blockTokens,
    deviceTokens,
    hostTokens,
    ttlUs: simulation.ttlUs,
    knowsReturns,
    routingLagUs: simulation.routingLagUs,
    eventLagUs: simulation.eventLagUs,
    // The fleet moves KV between two stages only.
    kernel: { ...simulation.kernel, policy, ...(apart && { inStages: true, kvMovesMax: 0 }) },
  });
  const window = { beginUs: warmupS * 1e6, endUs: (warmupS + durationS) * 1e6 };
  const outcomes: Outcome[] = [];
  const slowdowns: number[] = [];
  let sessionsOver = 0;
  const demand = new Demand({
    fleet,
    playbook,
    profile,
    rng: new Prng(seed).fork('demand'),
    load,
    endUs: window.endUs,
    note: (outcome) => {
      if (outcome.endedUs >= window.beginUs) outcomes.push(outcome);
    },
    over: (play) => {
      if (fleet.nowUs < window.beginUs) return;
      sessionsOver++;
      slowdowns.push((fleet.nowUs - play.startedUs) / play.aloneUs);
    },
  });
  demand.begin();
  fleet.run(window.endUs);
  for (const play of demand.alive) {
    if (play.aloneUs > 0) slowdowns.push((fleet.nowUs - play.startedUs) / play.aloneUs);
  }
  const waits = outcomes.map(({ queuedUs }) => queuedUs);
  const longestWaitUs = waits.reduce((a, b) => Math.max(a, b), fleet.waitsUs());
  return { seed, window, outcomes, sessionsOver, slowdowns, longestWaitUs };
}

/** Throws a RangeError where nobody would be left to answer. */
function prefillWorkersOf({ workers, prefillWorkers }: Simulation): number {
  const count = prefillWorkers ?? Math.max(1, Math.round(workers / 4));
  if (count < workers) return count;
  throw new RangeError(
    `Of ${workers} workers ${count} cannot be for prompts only: somebody answers.`,
  );
}

function viewOf(name: string): string {
  const world = WORLDS[name];
  if (world !== undefined) return world.view;
  return must(makePolicy(name, { threadsMax: 1 }), 'policies were checked at the door').view;
}

function settingsOf(simulation: Simulation, playbook: Playbook): Comparison['settings'] {
  const { load } = simulation;
  const turns = playbook.sessions.reduce((sum, { turns }) => sum + turns.length, 0);
  return {
    ...(load.kind === 'closed'
      ? { 'sessions alive': load.sessions, 'think time at most, s': load.thinkUsMax / 1e6 }
      : load.kind === 'open'
        ? { 'replay speed': load.speedup }
        : { 'requests/s offered': load.requestsPerS }),
    'sessions of the trace': playbook.sessions.length,
    'turns of them': turns,
    'context tokens at most': simulation.contextTokensMax,
    'block tokens': simulation.trace.blockTokens,
    'device tokens a worker': simulation.deviceTokens,
    'host tokens a worker': simulation.hostTokens,
    ...(simulation.ttlUs === undefined ? {} : { 'KV kept unused, s': simulation.ttlUs / 1e6 }),
    'routing lag, ms': simulation.routingLagUs / 1000,
    'event lag, ms': simulation.eventLagUs / 1000,
    'warm-up, s': simulation.warmupS,
    'measured, s': simulation.durationS,
  };
}

function noiseText(report: PolicyReport): string {
  const requests = percent(noiseOf(report, (one) => one.requestsPerS));
  const goodput = percent(noiseOf(report, (one) => one.goodputPerS));
  return `${report.policy}: between seeds requests/s vary by ${requests}, goodput by ${goodput} (standard deviation).`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
