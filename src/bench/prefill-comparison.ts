/**
 * Prompts through the engine, and as many tokens through llama.cpp's bare loop right after each: short
 * ones and many, because neighbours on a busy machine disturb long ones by more than the difference.
 */
import type { BareLoop } from './bare-loop.ts';
import type { EngineDriver } from './engine-driver.ts';
import { type Runs, runsOf } from './figure.ts';
import type { Took } from './stopwatch.ts';

export interface PrefillReport {
  tokens: number;
  engine: { wall: Runs; cpu: Runs };
  llamaCpp: { wall: Runs; cpu: Runs };
}

const PAIRS = 4;

export class PrefillComparison {
  readonly #driver: EngineDriver;
  readonly #bare: BareLoop;
  readonly #tokens: number;
  readonly #chunks: number[];
  readonly #tooks: { engine: Took; llamaCpp: Took }[] = [];

  /** The bare loop computes chunks as large as the engine's may be; the engine's are smaller. */
  constructor(given: {
    driver: EngineDriver;
    bare: BareLoop;
    tokens: number;
    chunkTokensMax: number;
  }) {
    const { tokens, chunkTokensMax } = given;
    this.#driver = given.driver;
    this.#bare = given.bare;
    this.#tokens = tokens;
    this.#chunks = [];
    for (let left = tokens; left > 0; left -= chunkTokensMax) {
      this.#chunks.push(Math.min(left, chunkTokensMax));
    }
  }

  async round(): Promise<void> {
    for (let pair = 0; pair < PAIRS; pair++) {
      const { ttft: engine } = await this.#driver.ask(this.#driver.fresh(this.#tokens));
      this.#tooks.push({ engine, llamaCpp: await this.#bare.prefill(this.#chunks) });
    }
  }

  /** Tokens a second, ours over theirs, by CPU time. */
  ratio(): number {
    const { engine, llamaCpp } = this.report();
    return Number((llamaCpp.cpu.bestMs / engine.cpu.bestMs).toFixed(4));
  }

  report(): PrefillReport {
    const of = (tooks: Took[]) => ({
      wall: runsOf(tooks.map(({ wallMs }) => wallMs)),
      cpu: runsOf(tooks.map(({ cpuMs }) => cpuMs)),
    });
    return {
      tokens: this.#tokens,
      engine: of(this.#tooks.map(({ engine }) => engine)),
      llamaCpp: of(this.#tooks.map(({ llamaCpp }) => llamaCpp)),
    };
  }
}
