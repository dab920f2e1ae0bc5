/**
 * What the embedded engine makes of its tiers and of the libraries below it, in one process and without
 * HTTP: how soon an answer begins whose prompt lies in a slot, in the host store or in files, against
 * one computed in full; throughput; and llama.cpp's bare decode loop in the same run.
 *
 *   first engine    cold ─► from slots ─► from the host store (others took all slots) ─► throughput
 *   second, third   on the same files: all that was computed lies on disk only
 */
import type { BareLoop } from './bare-loop.ts';
import { type BenchEngine, EngineDriver } from './engine-driver.ts';
import type { BenchReport } from './figure.ts';
import { PrefillComparison } from './prefill-comparison.ts';
import { COLD_RUNS, ReuseBench, SHARES } from './reuse.ts';
import { type Flows, rateOf } from './runner-watch.ts';
import {
  batchGain,
  DECODE,
  decodeThroughput,
  PREFILL_TOKENS,
  prefillThroughput,
} from './throughput.ts';

export interface EngineBench {
  model: string;
  first: BenchEngine;
  /** Starts another on the same folder of files; the one before has ended. */
  restart(): Promise<BenchEngine>;
  bare: BareLoop;
  /** Of prompts. */
  lengths: readonly number[];
  /** Most tokens of one chunk. */
  chunkTokensMax: number;
  settings: BenchReport['settings'];
  onProgress: (text: string) => void;
}

/** Figures of reuse are the worst of these lengths. */
const FIGURE_LENGTHS = [8192, 16_384];
/** Files are written in so long, or are not waited for. */
const SAVING_MS_MAX = 20_000;

export async function benchEngine(bench: EngineBench): Promise<BenchReport> {
  const { first, lengths, onProgress } = bench;
  const reuse = new ReuseBench();
  const driver = new EngineDriver(first, 1);
  await driver.ask(driver.fresh(256)); // The first steps of a process are slow.
  const compared = lengths.filter((tokens) => tokens <= 8192).at(-1);
  const prefill = new PrefillComparison(bench, first.watch);
  for (const tokens of lengths) {
    onProgress(`${tokens} tokens, cold`);
    await reuse.cold(driver, tokens, (took) => prefill.beside(tokens === compared, took));
    await fromSlots(reuse, { driver, engine: first, tokens, onProgress });
    await fromHost(reuse, { driver, engine: first, tokens, onProgress });
  }
  onProgress('prefill');
  const prefillByBatch = await prefillThroughput(driver, first.slots);
  onProgress('decode');
  const decode = await decodeThroughput(driver, bench.bare, first.slots);
  onProgress('writing files');
  const flows = [first.watch.flows];
  const noDisk = await written(first);
  await first.close();
  if (noDisk === undefined) flows.push(...(await fromDisk(reuse, bench)));
  else reuse.absent('disk', noDisk);
  const figureLengths = lengths.filter((tokens) => FIGURE_LENGTHS.includes(tokens));
  const ratio = (tokens: number) =>
    reuse.ratio(
      'slot',
      0.95,
      figureLengths.filter((t) => t === tokens),
    );
  return {
    bench: 'engine',
    settings: {
      model: bench.model,
      slots: first.slots,
      ...bench.settings,
      coldRuns: COLD_RUNS,
      prefillTokens: PREFILL_TOKENS,
      decodeContextTokens: DECODE.contextTokens,
      decodeSteps: DECODE.steps,
    },
    figures: {
      ttft95Ratio8k: ratio(8192),
      ttft95Ratio16k: ratio(16_384),
      ttft95RatioHost: reuse.ratio('host', 0.95, figureLengths),
      ttft95RatioDisk: reuse.ratio('disk', 0.95, figureLengths),
      decodeBatch4Ratio: batchGain(decode.engine),
      prefillRatioToLlamaCpp: prefill.ratio(),
    },
    beside: {
      unit: 'ms, wall and CPU of the process; best of the runs, all listed',
      ttft: Object.fromEntries(reuse.results),
      prefill: prefill.report(),
      prefillByBatch,
      decodeByBatch: decode.engine,
      decodeByBatchLlamaCpp: decode.bare,
      decodeBatch4RatioLlamaCpp: batchGain(decode.bare),
      bytesPerS: ratesOf(flows, first.blockBytes),
    },
  };
}

interface Scene {
  driver: EngineDriver;
  engine: BenchEngine;
  tokens: number;
  onProgress: (text: string) => void;
}

async function fromSlots(reuse: ReuseBench, { onProgress, tokens, ...from }: Scene): Promise<void> {
  for (const { share, runs } of SHARES) {
    onProgress(`${tokens} tokens, ${share * 100} % in a slot`);
    const prepare = async () => {};
    await reuse.reused({ ...from, home: 'slot' }, { tokens, share, runs, prepare });
  }
}

async function fromHost(reuse: ReuseBench, { onProgress, tokens, ...from }: Scene): Promise<void> {
  for (const { share, runs } of SHARES) {
    onProgress(`${tokens} tokens, ${share * 100} % in the host store`);
    const prepare = () => from.driver.displace();
    await reuse.reused({ ...from, home: 'host' }, { tokens, share, runs, prepare });
  }
}

/** Waits until all is written; the reason in words where nothing is, or not in time. */
async function written({ engine, watch }: BenchEngine): Promise<string | undefined> {
  const deadlineMs = performance.now() + SAVING_MS_MAX;
  let quietSince = performance.now();
  while (performance.now() - quietSince < 200) {
    if (performance.now() > deadlineMs) return 'the files were not written in time';
    if (watch.savingCount > 0) quietSince = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const report = await engine.report();
  return (report?.diskBlocks ?? 0) > 0 ? undefined : 'this engine keeps nothing in files';
}

/** An engine for each share: what one has read lies nearer afterwards. */
async function fromDisk(reuse: ReuseBench, bench: EngineBench): Promise<Flows[]> {
  const flows: Flows[] = [];
  for (const [i, { share, runs }] of SHARES.entries()) {
    bench.onProgress(`${share * 100} % in files`);
    const engine = await bench.restart();
    const driver = new EngineDriver(engine, 2 + i);
    await driver.ask(driver.fresh(256));
    for (const tokens of bench.lengths) {
      const prepare = async () => {};
      await reuse.reused({ driver, engine, home: 'disk' }, { tokens, share, runs, prepare });
    }
    flows.push(engine.watch.flows);
    await engine.close();
  }
  return flows;
}

/** Over all engines of the run. */
function ratesOf(flows: readonly Flows[], blockBytes: number): Record<keyof Flows, number | null> {
  const rate = (way: keyof Flows) => {
    const blocks = flows.reduce((sum, flow) => sum + flow[way].blocks, 0);
    const ms = flows.reduce((sum, flow) => sum + flow[way].ms, 0);
    return rateOf({ blocks, ms }, blockBytes);
  };
  return {
    slotToHost: rate('slotToHost'),
    hostToSlot: rate('hostToSlot'),
    toDisk: rate('toDisk'),
    diskToHost: rate('diskToHost'),
  };
}
