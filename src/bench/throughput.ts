/**
 * Tokens a second with one and with several requests at once: of an engine, and of llama.cpp's bare
 * loop in turn with it, so that a noisy neighbour disturbs both.
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

export const PREFILL_TOKENS = 1024;
/** Answers as llama.cpp's own bench writes them: 128 tokens, after next to nothing. */
export const DECODE = { contextTokens: 64, steps: 128 };
/** The same with a context that each sequence attends to alone, which no batch makes cheaper. */
export const DECODE_LONG = { contextTokens: 1024, steps: 128 };
const BATCHES = [1, 4, 8];
/** An answer alone takes a tenth of a second: too short for one run a round. */
const DECODE_TURNS = 4;

export class ThroughputBench {
  readonly #driver: EngineDriver;
  readonly #bare: BareLoop;
  readonly #batches: number[];
  readonly #prefill = new RunsByBatch();
  readonly #decode = new RunsByBatch();
  readonly #decodeLong = new RunsByBatch();
  readonly #decodeBare = new RunsByBatch();

  constructor(driver: EngineDriver, bare: BareLoop, slots: number) {
    this.#driver = driver;
    this.#bare = bare;
    this.#batches = BATCHES.filter((batch) => batch <= slots);
  }

  async round(): Promise<void> {
    for (const batch of this.#batches) {
      const prompts = this.#prompts(batch, PREFILL_TOKENS);
      this.#prefill.add(batch, await this.#driver.askAll(prompts), batch * PREFILL_TOKENS);
    }
    for (let turn = 0; turn < DECODE_TURNS; turn++) {
      for (const batch of this.#batches) {
        await this.#decoded(this.#decode, batch, DECODE);
        const { contextTokens: context, steps } = DECODE;
        const bare = await this.#bare.decode({ batch, context, steps });
        this.#decodeBare.add(batch, bare, batch * steps);
      }
    }
    for (const batch of this.#batches) await this.#decoded(this.#decodeLong, batch, DECODE_LONG);
  }

  /** How many times the tokens a second of one request four have; null where they do not fit. */
  batchGain(): number | null {
    return gainOf(this.#decode.throughput());
  }

  report(): object {
    const decodeLlamaCpp = this.#decodeBare.throughput();
    return {
      prefill: this.#prefill.throughput(),
      decode: this.#decode.throughput(),
      decodeLlamaCpp,
      decodeBatch4RatioLlamaCpp: gainOf(decodeLlamaCpp),
      decodeLongContext: this.#decodeLong.throughput(),
    };
  }

  async #decoded(runs: RunsByBatch, batch: number, of: typeof DECODE): Promise<void> {
    const prompts = this.#prompts(batch, of.contextTokens);
    const { took, tokens } = await this.#driver.decode(prompts, of.steps);
    runs.add(batch, took, tokens);
  }

  #prompts(count: number, tokens: number): Uint32Array[] {
    return Array.from({ length: count }, () => this.#driver.fresh(tokens));
  }
}

function gainOf(byBatch: ByBatch): number | null {
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
