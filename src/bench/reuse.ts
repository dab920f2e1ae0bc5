/**
 * How soon an answer begins whose prompt was computed before, all of it but the end: with that KV in a
 * slot, in the host store, in files. Beside it the same prompt computed in full.
 */
import type { BenchEngine, EngineDriver } from './engine-driver.ts';
import { type Runs, runsOf } from './figure.ts';
import type { Took } from './stopwatch.ts';

/** Where the KV of the prompt's beginning lies when it is asked for. */
export type Home = 'slot' | 'host' | 'disk';

export interface Ttft {
  wall: Runs;
  cpu: Runs;
}

/** Why there is no figure, in one sentence. */
export interface NotMeasured {
  reason: string;
}

/** Of prompts of one length. */
export interface Reuse {
  tokens: number;
  cold: Ttft;
  /** By where it lay, then by the share that was reused. */
  reused: Record<Home, Record<string, Ttft | NotMeasured>>;
}

/** Prompts that were computed once; each begins the prompts that reuse it. */
interface Computed {
  tokens: number;
  prompts: Uint32Array[];
}

/** A share is taken in so many runs: half a prompt takes nearly as long as a whole one. */
export const SHARES: readonly { share: number; runs: number }[] = [
  { share: 0.99, runs: 5 },
  { share: 0.95, runs: 5 },
  { share: 0.5, runs: 1 },
];
/** Of prompts computed in full. */
export const COLD_RUNS = 5;

export class ReuseBench {
  readonly #computed = new Map<number, Computed>();
  readonly #reuses = new Map<number, Reuse>();

  /** By length of prompt. */
  get results(): ReadonlyMap<number, Reuse> {
    return this.#reuses;
  }

  /** Computes prompts of so many tokens in full; after each of them `between` runs. */
  async cold(
    driver: EngineDriver,
    tokens: number,
    between: (took: Took) => Promise<void>,
  ): Promise<void> {
    const tooks: Took[] = [];
    const prompts: Uint32Array[] = [];
    for (let run = 0; run < COLD_RUNS; run++) {
      const ids = driver.fresh(tokens);
      prompts.push(ids);
      const { ttft } = await driver.ask(ids);
      tooks.push(ttft);
      await between(ttft);
    }
    this.#computed.set(tokens, { tokens, prompts });
    const reused = { slot: {}, host: {}, disk: {} };
    this.#reuses.set(tokens, { tokens, cold: ttftOf(tooks), reused });
  }

  /** Prompts that begin like those of `cold`; before each of them `prepare` runs. */
  async reused(
    { driver, engine, home }: { driver: EngineDriver; engine: BenchEngine; home: Home },
    given: { tokens: number; share: number; runs: number; prepare: () => Promise<void> },
  ): Promise<void> {
    const { tokens, share } = given;
    const computed = this.#computed.get(tokens);
    const reuse = this.#reuses.get(tokens);
    if (computed === undefined || reuse === undefined) throw new Error('cold runs come first');
    const { blockTokens } = engine;
    const kept = Math.floor((share * tokens) / blockTokens) * blockTokens;
    const tooks: Took[] = [];
    const found = new Set<number>();
    for (const prompt of computed.prompts.slice(0, given.runs)) {
      await given.prepare();
      const ids = driver.fresh(tokens);
      ids.set(prompt.subarray(0, kept));
      const { ttft, usage } = await driver.ask(ids);
      tooks.push(ttft);
      found.add(usage.cachedTokens ?? 0);
    }
    const wrong = [...found].filter((count) => count !== kept);
    reuse.reused[home][share] =
      wrong.length === 0
        ? ttftOf(tooks)
        : { reason: `${kept} tokens were to be reused, but ${wrong.join(', ')} were` };
  }

  /** For whatever could not be tried. */
  absent(home: Home, reason: string): void {
    for (const { reused } of this.#reuses.values()) {
      for (const { share } of SHARES) reused[home][share] ??= { reason };
    }
  }

  /** The worst of these lengths, reused over cold, by wall time; null where one was not measured. */
  ratio(home: Home, share: number, lengths: readonly number[]): number | null {
    let worst = 0;
    for (const tokens of lengths) {
      const reuse = this.#reuses.get(tokens);
      const reused = reuse?.reused[home][share];
      if (reuse === undefined || reused === undefined || 'reason' in reused) return null;
      worst = Math.max(worst, reused.wall.bestMs / reuse.cold.wall.bestMs);
    }
    return lengths.length === 0 ? null : Number(worst.toFixed(4));
  }
}

function ttftOf(tooks: readonly Took[]): Ttft {
  return {
    wall: runsOf(tooks.map(({ wallMs }) => wallMs)),
    cpu: runsOf(tooks.map(({ cpuMs }) => cpuMs)),
  };
}
