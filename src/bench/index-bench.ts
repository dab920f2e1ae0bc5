/**
 * What the index of KV blocks costs: a prompt of 8,192 blocks looked up among a million, events of 32
 * blocks, memory; and two recorded samples on a fleet. Beside it a map of maps on the same load, whose
 * answers must be the same. Look-ups are wall time, each by itself; events are CPU time.
 */
import { assert } from '../base/assert.ts';
import { Prng } from '../base/prng.ts';
import { ExactIndex } from '../kernel/index/exact.ts';
import type { BlockHash, BlockHashes, Tier } from '../model/block.ts';
import type { WorkerId } from '../model/ids.ts';
import { interleave } from '../traces/interleave.ts';
import type { Trace } from '../traces/trace.ts';
import type { BenchReport } from './figure.ts';
import { queries, type Residents, replayed, residents, type Step } from './index-load.ts';
import { MapOfMaps } from './index-maps.ts';

export interface IndexBenchInput {
  indexBytesMax: number;
  traces: readonly { name: string; trace: Trace }[];
  onProgress: (text: string) => void;
}

interface Subject {
  stored(worker: WorkerId, hashes: BlockHashes, tier: Tier, before?: BlockHash): void;
  removed(worker: WorkerId, hashes: BlockHashes, tier: Tier): void;
  look(hashes: BlockHashes): void;
}

interface Percentiles {
  p50: number;
  p99: number;
}

const RUNS = 5;
const SIZE = { blocks: 1_000_000, chainBlocks: 8192, sharedBlocks: 512 };
const LOOKUPS = 2000;
const COMPARED = 40;
/** Of a worker in the replays: 262,144 tokens. */
const BLOCKS_PER_WORKER = 16_384;
/** Of a sample, the first so many. */
const REQUESTS_MAX = 1000;
/** Sessions at once where a trace has no clock for all of them. */
const LIVE_SESSIONS = 64;

export function benchIndex(input: IndexBenchInput): BenchReport {
  const small = measured(input, 64);
  const large = measured(input, 1024);
  const beside: Record<string, unknown> = {
    '64 workers, all runs': small.runs,
    '1,024 workers, all runs': large.runs,
    '64 workers, map of maps': small.maps,
  };
  for (const { name, trace } of input.traces) {
    for (const workers of [64, 1024]) {
      input.onProgress(`${name}, ${workers} workers`);
      beside[`${name}, ${workers} workers`] = replay(input, trace, workers);
    }
  }
  const of = (runs: readonly Run[], figure: (run: Run) => number) => runs.map(figure);
  return {
    bench: 'index',
    settings: {
      ...SIZE,
      lookupsPerRun: LOOKUPS,
      eventBlocks: 32,
      runs: RUNS,
      units: 'µs of wall time; block events per second of CPU',
    },
    figures: {
      lookupUsP50: Math.min(...of(small.runs, ({ lookUs }) => lookUs.p50)),
      lookupUsP99: Math.min(...of(small.runs, ({ lookUs }) => lookUs.p99)),
      blockEventsPerS: Math.max(...of(small.runs, ({ blockEventsPerS }) => blockEventsPerS)),
      bytesPerBlock: small.runs[0].bytesPerBlock,
      lookup1024WorkersUsP99: Math.min(...of(large.runs, ({ lookUs }) => lookUs.p99)),
    },
    beside,
  };
}

interface Run {
  lookUs: Percentiles;
  blockEventsPerS: number;
  /** Growing from nothing, and where as much is evicted as stored. */
  filledPerS: number;
  churnedPerS: number;
  eventUsMax: number;
  /** A worker's cache is emptied. */
  clearedUs: number;
  bytesPerBlock: number;
}

function measured(
  input: IndexBenchInput,
  workers: number,
): { runs: Run[]; maps: Record<string, number> | undefined } {
  const rng = new Prng(1);
  const load = residents(rng, { ...SIZE, workers });
  const prompts = queries(rng, load, { count: LOOKUPS, sharedBlocks: SIZE.sharedBlocks });
  const runs: Run[] = [];
  for (let run = 1; run <= RUNS; run++) {
    input.onProgress(`a million blocks, ${workers} workers, run ${run} of ${RUNS}`);
    runs.push(oneRun(input, load, prompts));
  }
  return { runs, maps: workers === 64 ? mapsRun(input, load, prompts) : undefined };
}

function oneRun(input: IndexBenchInput, load: Residents, prompts: BlockHashes[]): Run {
  const index = new ExactIndex({ bytesMax: input.indexBytesMax });
  const filled = events(index, load.fill);
  const bytesPerBlock = Number((index.bytes / index.blockCount).toFixed(1));
  const churned = events(index, load.churn);
  const lookUs = looks(index, prompts);
  const start = process.hrtime.bigint();
  index.cleared(load.workers[0]);
  const clearedUs = usSince(start);
  return {
    lookUs,
    blockEventsPerS: perS(filled.blocks + churned.blocks, filled.cpuUs + churned.cpuUs),
    filledPerS: perS(filled.blocks, filled.cpuUs),
    churnedPerS: perS(churned.blocks, churned.cpuUs),
    eventUsMax: Math.max(filled.usMax, churned.usMax),
    clearedUs,
    bytesPerBlock,
  };
}

/** The same load on maps, and whether both say the same afterwards. */
function mapsRun(
  input: IndexBenchInput,
  load: Residents,
  prompts: BlockHashes[],
): Record<string, number> {
  input.onProgress('a million blocks, 64 workers, map of maps');
  const maps = new MapOfMaps();
  const filled = events(maps, load.fill);
  const churned = events(maps, load.churn);
  const lookUs = looks(maps, prompts.slice(0, COMPARED));
  const index = new ExactIndex({ bytesMax: input.indexBytesMax });
  events(index, load.fill);
  events(index, load.churn);
  for (const prompt of prompts.slice(0, COMPARED)) compare(index, maps, prompt, load.workers);
  return {
    lookupUsP50: lookUs.p50,
    lookupUsP99: lookUs.p99,
    blockEventsPerS: perS(filled.blocks + churned.blocks, filled.cpuUs + churned.cpuUs),
    promptsWithEqualAnswers: COMPARED,
  };
}

/** A sample on a fleet: per request its look-up, and its events; on both indexes. */
function replay(input: IndexBenchInput, trace: Trace, workers: number): Record<string, unknown> {
  const live = trace.about.clock === 'trace' ? undefined : LIVE_SESSIONS;
  const sessions = Array.from({ length: trace.sessionCount }, (_, i) => i);
  const order = interleave(trace, { live, thinkMsMax: undefined, sessions });
  const load = replayed(trace, order.subarray(0, REQUESTS_MAX), {
    workers,
    blocksPerWorker: BLOCKS_PER_WORKER,
  });
  const requests = load.steps.filter(({ kind }) => kind === 'look').length;
  const index = new ExactIndex({ bytesMax: input.indexBytesMax });
  const maps = new MapOfMaps();
  const told = (subject: Subject) => {
    const { blocks, cpuUs, batches, lookUs } = events(subject, load.steps);
    return {
      lookupUs: lookUs,
      blockEventsPerS: perS(blocks, cpuUs),
      cpuUsPerRequestWithItsEvents: Number((cpuUs / requests).toFixed(1)),
      eventBatchesPerS: perS(batches, cpuUs),
    };
  };
  events(new ExactIndex({ bytesMax: input.indexBytesMax }), load.steps);
  const result = {
    requests,
    blocksAsked: load.steps.reduce(
      (sum, { kind, hashes }) => sum + (kind === 'look' ? hashes.length : 0),
      0,
    ),
    index: told(index),
    mapOfMaps: told(maps),
    liveBlocks: index.blockCount,
    bytesPerBlock: Number((index.bytes / index.blockCount).toFixed(1)),
  };
  for (const step of load.steps.slice(-COMPARED)) compare(index, maps, step.hashes, load.workers);
  return result;
}

interface Told {
  /** Stored and removed. */
  blocks: number;
  batches: number;
  cpuUs: number;
  usMax: number;
  lookUs: Percentiles | undefined;
}

function events(subject: Subject, steps: readonly Step[]): Told {
  const us: number[] = [];
  const told: Told = { blocks: 0, batches: 0, cpuUs: 0, usMax: 0, lookUs: undefined };
  const cpu = process.cpuUsage();
  // One cheap clock call an event: two of the exact one took a tenth of what was being measured.
  let beganMs = performance.now();
  for (const step of steps) {
    if (step.kind === 'look') {
      const start = process.hrtime.bigint();
      subject.look(step.hashes);
      us.push(usSince(start));
      beganMs = performance.now();
      continue;
    }
    if (step.kind === 'stored') subject.stored(step.worker, step.hashes, 'device', step.before);
    else subject.removed(step.worker, step.hashes, 'device');
    const endedMs = performance.now();
    told.usMax = Math.max(told.usMax, 1000 * (endedMs - beganMs));
    beganMs = endedMs;
    told.blocks += step.hashes.length;
    told.batches++;
  }
  const { user, system } = process.cpuUsage(cpu);
  told.cpuUs = user + system;
  told.lookUs = us.length === 0 ? undefined : percentiles(us);
  return told;
}

function looks(subject: Subject, prompts: readonly BlockHashes[]): Percentiles {
  const us = prompts.map((prompt) => {
    const start = process.hrtime.bigint();
    subject.look(prompt);
    return usSince(start);
  });
  return percentiles(us);
}

function compare(
  index: ExactIndex,
  maps: MapOfMaps,
  prompt: BlockHashes,
  workers: readonly WorkerId[],
): void {
  index.look(prompt);
  maps.look(prompt);
  for (const worker of workers) {
    const same = (index.matched(worker)?.disk ?? 0) === maps.depth(worker);
    assert(same, 'the index says what the map of maps says');
  }
}

function percentiles(us: number[]): Percentiles {
  us.sort((a, b) => a - b);
  const at = (share: number) => Number(us[Math.floor(share * us.length)].toFixed(2));
  return { p50: at(0.5), p99: at(0.99) };
}

function perS(count: number, us: number): number {
  return Math.round((count / us) * 1e6);
}

function usSince(start: bigint): number {
  return Number(process.hrtime.bigint() - start) / 1000;
}
