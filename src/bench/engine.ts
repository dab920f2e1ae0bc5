/**
 * What the embedded engine makes of its tiers and of the libraries below it, in one process and without
 * HTTP: how soon an answer begins whose prompt lies in a slot, in the host store or in files, against
 * one computed in full; throughput; and llama.cpp's bare decode loop in the same run.
 *
 *   first engine    rounds of: cold ─► from a slot ─► from the host store (others took all slots),
 *                   and throughput. Whatever is compared runs within one round, so that a neighbour
 *                   who comes and goes disturbs all of it
 *   second, third   on the same files: all that was computed lies on disk only
 */
import type { BareLoop } from './bare-loop.ts';
import { type BenchEngine, EngineDriver } from './engine-driver.ts';
import type { BenchReport } from './figure.ts';
import { PrefillComparison } from './prefill-comparison.ts';
import { type Home, ReuseBench, ttftRatio } from './reuse.ts';
import { type Flow, type Flows, rateOf } from './runner-watch.ts';
import { DECODE, DECODE_LONG, PREFILL_TOKENS, ThroughputBench } from './throughput.ts';

export interface EngineBench {
  model: string;
  first: BenchEngine;
  /** Starts another on the same folder of files; the one before has ended. */
  restart(): Promise<BenchEngine>;
  bare: BareLoop;
  /** Of prompts, ascending; those that do not fit the served context are left out. */
  lengths: readonly number[];
  /** Most tokens of one chunk. */
  chunkTokensMax: number;
  settings: BenchReport['settings'];
  onProgress: (text: string) => void;
}

/** Figures of the lower tiers are the worst of these lengths. */
const FIGURE_LENGTHS = [8192, 16_384];
const ROUNDS = 5;
/** On a slow or busy machine no further round begins after this. */
const ROUNDS_MS_MAX = 150_000;
const SHARE = 0.95;
const MORE_SHARE = 0.99;
/** Takes nearly as long as a whole prompt: in the first round, from a slot. */
const HALF_SHARE = 0.5;
/** Files are written in so long, or are not waited for. */
const WRITING_MS_MAX = 20_000;
const QUIET_MS = 200;
/** A prompt whose way to files is timed. */
const OFFLOAD_TOKENS = 4096;
const WARM_TOKENS = 256;

export async function benchEngine(bench: EngineBench): Promise<BenchReport> {
  const { first, onProgress, bare, chunkTokensMax } = bench;
  const lengths = bench.lengths.filter((tokens) => tokens < first.contextTokens);
  if (lengths.length === 0) throw new Error(tooShort(bench.lengths, first));
  const driver = new EngineDriver(first, 1);
  await driver.ask(driver.fresh(WARM_TOKENS)); // The first steps of a process are slow.
  const reuse = new ReuseBench();
  const prefill = new PrefillComparison({ driver, bare, tokens: lengths[0], chunkTokensMax });
  const throughput = new ThroughputBench(driver, bare, first.slots);
  const startMs = performance.now();
  let rounds = 0;
  while (rounds < ROUNDS && performance.now() - startMs < ROUNDS_MS_MAX) {
    for (const tokens of lengths) {
      onProgress(`round ${rounds + 1} of ${ROUNDS}, prompts of ${tokens} tokens`);
      await reuse.cold(driver, tokens);
      await nearby(reuse, { driver, engine: first, tokens, isFirst: rounds === 0 });
    }
    onProgress(`round ${rounds + 1} of ${ROUNDS}, throughput`);
    await prefill.round();
    await throughput.round();
    rounds++;
  }
  onProgress('writing files');
  const { noDisk, toDisk } = await offload(driver, first);
  await first.close();
  const flows = noDisk === undefined ? await fromDisk(reuse, lengths, bench) : [];
  const ttft = reuse.report({ disk: noDisk });
  const ratio = (home: Home, ...of: number[]) =>
    ttftRatio(ttft, { home, share: SHARE, lengths: of });
  const measured = FIGURE_LENGTHS.filter((tokens) => lengths.includes(tokens));
  return {
    bench: 'engine',
    settings: {
      model: bench.model,
      slots: first.slots,
      contextTokens: first.contextTokens,
      ...bench.settings,
      rounds,
      prefillTokens: PREFILL_TOKENS,
      decode: `${DECODE.steps} tokens after ${DECODE.contextTokens}`,
      decodeLongContext: `${DECODE_LONG.steps} tokens after ${DECODE_LONG.contextTokens}`,
    },
    figures: {
      ttft95Ratio8k: ratio('slot', 8192),
      ttft95Ratio16k: ratio('slot', 16_384),
      ttft95RatioHost: ratio('host', ...measured),
      ttft95RatioDisk: ratio('disk', ...measured),
      decodeBatch4Ratio: throughput.batchGain(),
      prefillRatioToLlamaCpp: prefill.ratio(),
    },
    beside: {
      unit: 'ms until the first part, wall and CPU of the process; best of the rounds, all listed',
      ttft,
      ...(lengths.length < bench.lengths.length ? { leftOut: tooShort(bench.lengths, first) } : {}),
      prefillToLlamaCpp: prefill.report(),
      throughputUnit: 'ms for 1,000 tokens, by requests at once',
      ...throughput.report(),
      bytesPerS: ratesOf([first.watch.flows, ...flows], toDisk, first.blockBytes),
    },
  };
}

interface Scene {
  driver: EngineDriver;
  engine: BenchEngine;
  tokens: number;
  isFirst: boolean;
}

async function nearby(reuse: ReuseBench, { driver, engine, tokens, isFirst }: Scene) {
  const inSlot = { driver, engine, home: 'slot' as const };
  // Each cuts the slot back to what the next still finds there.
  await reuse.reused(inSlot, { tokens, share: MORE_SHARE });
  await reuse.reused(inSlot, { tokens, share: SHARE });
  for (const share of [MORE_SHARE, SHARE]) {
    await driver.displace();
    await reuse.reused({ driver, engine, home: 'host' }, { tokens, share });
  }
  if (isFirst) await reuse.reused(inSlot, { tokens, share: HALF_SHARE });
}

/** Writes what is left, and times how an idle engine writes; or says why nothing is written. */
async function offload(
  driver: EngineDriver,
  { engine, watch, contextTokens }: BenchEngine,
): Promise<{ noDisk: string | undefined; toDisk: Flow }> {
  const { toDisk } = watch.flows;
  if (!(await watch.written(WRITING_MS_MAX, QUIET_MS))) {
    return { noDisk: 'the files were not written in time', toDisk };
  }
  const report = await engine.report();
  if ((report?.diskBlocks ?? 0) === 0) {
    return { noDisk: 'this engine keeps nothing in files', toDisk };
  }
  const before = { ...toDisk };
  await driver.ask(driver.fresh(Math.min(OFFLOAD_TOKENS, contextTokens - 1)));
  await watch.written(WRITING_MS_MAX, QUIET_MS);
  const { blocks, ms } = toDisk;
  return { noDisk: undefined, toDisk: { blocks: blocks - before.blocks, ms: ms - before.ms } };
}

/** An engine for each share: what one has read lies nearer afterwards. */
async function fromDisk(
  reuse: ReuseBench,
  lengths: readonly number[],
  bench: EngineBench,
): Promise<Flows[]> {
  const flows: Flows[] = [];
  for (const [i, share] of [SHARE, MORE_SHARE].entries()) {
    bench.onProgress(`${share * 100} % in files`);
    const engine = await bench.restart();
    const driver = new EngineDriver(engine, 2 + i);
    await driver.ask(driver.fresh(WARM_TOKENS));
    for (const tokens of lengths) {
      for (let round = 0; round < reuse.roundCount(tokens); round++) {
        await reuse.reused({ driver, engine, home: 'disk' }, { tokens, share, round });
      }
    }
    flows.push(engine.watch.flows);
    await engine.close();
  }
  return flows;
}

function tooShort(lengths: readonly number[], { contextTokens }: BenchEngine): string {
  const out = lengths.filter((tokens) => tokens >= contextTokens);
  return `A context of ${contextTokens} tokens is too short for prompts of ${out.join(', ')}.`;
}

/** Over all engines of the run; files written while the engine was idle. */
function ratesOf(
  flows: readonly Flows[],
  toDisk: Flow,
  blockBytes: number,
): Record<keyof Flows, number | null> {
  const rate = (way: keyof Flows) => {
    const blocks = flows.reduce((sum, flow) => sum + flow[way].blocks, 0);
    const ms = flows.reduce((sum, flow) => sum + flow[way].ms, 0);
    return rateOf({ blocks, ms }, blockBytes);
  };
  return {
    slotToHost: rate('slotToHost'),
    hostToSlot: rate('hostToSlot'),
    toDisk: rateOf(toDisk, blockBytes),
    diskToHost: rate('diskToHost'),
  };
}
