/**
 * Tokens a second of an engine, prompts and answers, with one and with several requests at once, and
 * of llama.cpp's bare loop in turn with it, so that a noisy neighbour disturbs both.
 */
import type { BareLoop } from './bare-loop.ts';
import type { EngineDriver } from './engine-driver.ts';
import { type Runs, runsOf } from './figure.ts';
import type { Took } from './stopwatch.ts';

export interface Throughput {
  /** Best run, wall time. */
  tokensPerS: number;
  /** For 1,000 tokens. */
  wall: Runs;
  cpu: Runs;
}

/** By requests at once. */
export type ByBatch = Record<string, Throughput>;

const BATCHES = [1, 4, 8];
const RUNS = 5;
export const PREFILL_TOKENS = 1024;
export const DECODE = { contextTokens: 512, steps: 192 };

/** Prompts of `PREFILL_TOKENS`, until the last of them has its first token. */
export async function prefillThroughput(driver: EngineDriver, slots: number): Promise<ByBatch> {
  const runs = new RunsByBatch();
  for (let run = 0; run < RUNS; run++) {
    for (const batch of batchesOf(slots)) {
      const prompts = Array.from({ length: batch }, () => driver.fresh(PREFILL_TOKENS));
      runs.add(batch, await driver.askAll(prompts), batch * PREFILL_TOKENS);
    }
  }
  return runs.throughput();
}

/** Answers of `DECODE.steps` tokens after prompts of `DECODE.contextTokens`. */
export async function decodeThroughput(
  driver: EngineDriver,
  bare: BareLoop,
  slots: number,
): Promise<{ engine: ByBatch; bare: ByBatch }> {
  const { contextTokens: context, steps } = DECODE;
  const engine = new RunsByBatch();
  const loop = new RunsByBatch();
  for (let run = 0; run < RUNS; run++) {
    for (const batch of batchesOf(slots)) {
      const prompts = Array.from({ length: batch }, () => driver.fresh(context));
      const { took, tokens } = await driver.decode(prompts, steps);
      engine.add(batch, took, tokens);
      loop.add(batch, await bare.decode({ batch, context, steps }), batch * steps);
    }
  }
  return { engine: engine.throughput(), bare: loop.throughput() };
}

/** How many times the tokens a second of one request four have; null where they do not fit. */
export function batchGain(byBatch: ByBatch): number | null {
  const [one, four] = [byBatch[1], byBatch[4]];
  if (one === undefined || four === undefined) return null;
  return Number((one.wall.bestMs / four.wall.bestMs).toFixed(4));
}

class RunsByBatch {
  readonly #tooks = new Map<number, Took[]>();

  add(batch: number, { wallMs, cpuMs }: Took, tokens: number): void {
    const per1000 = 1000 / tokens;
    const took = { wallMs: wallMs * per1000, cpuMs: cpuMs * per1000 };
    this.#tooks.set(batch, [...(this.#tooks.get(batch) ?? []), took]);
  }

  throughput(): ByBatch {
    const byBatch: ByBatch = {};
    for (const [batch, tooks] of this.#tooks) {
      const wall = runsOf(tooks.map(({ wallMs }) => wallMs));
      const cpu = runsOf(tooks.map(({ cpuMs }) => cpuMs));
      byBatch[batch] = { tokensPerS: Math.round(1e6 / wall.bestMs), wall, cpu };
    }
    return byBatch;
  }
}

function batchesOf(slots: number): number[] {
  return BATCHES.filter((batch) => batch <= slots);
}
