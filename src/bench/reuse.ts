/**
 * How soon an answer begins whose prompt was computed before, all of it but the end: with that KV in a
 * slot, in the host store, in files. Beside it the same number of tokens computed in full.
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
  cold: Ttft;
  /** By where it lay, then by the share that was reused. */
  reused: Record<Home, Record<string, Ttft | NotMeasured>>;
}

/** One prompt's runs; the next round takes another prompt of that length. */
interface Round {
  prompt: Uint32Array;
  cold: Took;
  reused: Record<Home, Record<string, Took | NotMeasured>>;
}

export class ReuseBench {
  readonly #rounds = new Map<number, Round[]>();

  /** Computes a prompt of so many tokens in full: it begins the prompts of this round. */
  async cold(driver: EngineDriver, tokens: number): Promise<void> {
    const prompt = driver.fresh(tokens);
    const { ttft } = await driver.ask(prompt);
    const rounds = this.#rounds.get(tokens) ?? [];
    rounds.push({ prompt, cold: ttft, reused: { slot: {}, host: {}, disk: {} } });
    this.#rounds.set(tokens, rounds);
  }

  /** Rounds of this length so far. */
  roundCount(tokens: number): number {
    return this.#rounds.get(tokens)?.length ?? 0;
  }

  /** A prompt that begins like the one of that round; the last one where none is said. */
  async reused(
    { driver, engine, home }: { driver: EngineDriver; engine: BenchEngine; home: Home },
    given: { tokens: number; share: number; round?: number },
  ): Promise<void> {
    const { tokens, share } = given;
    const round = this.#rounds.get(tokens)?.at(given.round ?? -1);
    if (round === undefined) throw new Error('a cold run comes first');
    const { blockTokens } = engine;
    const kept = Math.floor((share * tokens) / blockTokens) * blockTokens;
    const ids = driver.fresh(tokens);
    ids.set(round.prompt.subarray(0, kept));
    const { ttft, usage } = await driver.ask(ids);
    const isAsMeant = usage.cachedTokens === kept;
    round.reused[home][share] = isAsMeant
      ? ttft
      : { reason: `${kept} tokens were to be reused, but ${usage.cachedTokens} were` };
  }

  /** By length of prompt; where a home was not tried, `absent` says why. */
  report(absent: Partial<Record<Home, string>>): Record<string, Reuse> {
    const report: Record<string, Reuse> = {};
    for (const [tokens, rounds] of this.#rounds) {
      const of = (home: Home) => reusedOf(rounds, home, absent[home]);
      const reused = { slot: of('slot'), host: of('host'), disk: of('disk') };
      report[tokens] = { cold: ttftOf(rounds.map(({ cold }) => cold)), reused };
    }
    return report;
  }
}

/** Reused over cold by wall time, the worst of these lengths; null where one was not measured. */
export function ttftRatio(
  report: Record<string, Reuse>,
  of: { home: Home; share: number; lengths: readonly number[] },
): number | null {
  const ratios = of.lengths.map((tokens) => {
    const reuse = report[tokens];
    const reused = reuse?.reused[of.home][of.share];
    if (reused === undefined || 'reason' in reused) return undefined;
    return reused.wall.bestMs / reuse.cold.wall.bestMs;
  });
  const measured = ratios.filter((ratio) => ratio !== undefined);
  if (measured.length === 0 || measured.length < ratios.length) return null;
  return Number(Math.max(...measured).toFixed(4));
}

function reusedOf(
  rounds: readonly Round[],
  home: Home,
  absent: string | undefined,
): Record<string, Ttft | NotMeasured> {
  const shares = new Set(rounds.flatMap(({ reused }) => Object.keys(reused[home])));
  const byShare: Record<string, Ttft | NotMeasured> = {};
  if (absent !== undefined) byShare.all = { reason: absent };
  for (const share of shares) {
    const runs = rounds.flatMap(({ reused }) => reused[home][share] ?? []);
    const wrong = runs.find((run) => 'reason' in run);
    byShare[share] = wrong ?? ttftOf(runs.filter((run) => 'wallMs' in run));
  }
  return byShare;
}

function ttftOf(tooks: readonly Took[]): Ttft {
  return {
    wall: runsOf(tooks.map(({ wallMs }) => wallMs)),
    cpu: runsOf(tooks.map(({ cpuMs }) => cpuMs)),
  };
}
