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
const DECODE_TURNS = 6;

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
    return this.#decode.gain('cpuMs');
  }

  report(): object {
    const decodeLlamaCpp = this.#decodeBare.throughput();
    return {
      prefill: this.#prefill.throughput(),
      decode: this.#decode.throughput(),
      decodeLlamaCpp,
      decodeBatch4Ratio: {
        unit: 'median of the turns, in which batch 1 and batch 4 ran one after the other',
        cpu: this.#decode.gain('cpuMs'),
        wall: this.#decode.gain('wallMs'),
        llamaCppCpu: this.#decodeBare.gain('cpuMs'),
        llamaCppWall: this.#decodeBare.gain('wallMs'),
      },
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

class RunsByBatch {
  readonly #tooks = new Map<number, Took[]>();

  add(batch: number, { wallMs, cpuMs }: Took, tokens: number): void {
    const per1000 = 1000 / tokens;
    const took = { wallMs: wallMs * per1000, cpuMs: cpuMs * per1000 };
    this.#tooks.set(batch, [...(this.#tooks.get(batch) ?? []), took]);
  }

  /**
   * The median over turns of what four at once gain: neighbours slow down whole turns, so the best of
   * each batch would be compared across turns that had nothing in common.
   */
  gain(of: keyof Took): number | null {
    const [one, four] = [this.#tooks.get(1), this.#tooks.get(4)];
    if (one === undefined || four === undefined) return null;
    const gains = one.map((took, turn) => took[of] / four[turn][of]).sort((a, b) => a - b);
    return Number(gains[Math.floor(gains.length / 2)].toFixed(4));
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
