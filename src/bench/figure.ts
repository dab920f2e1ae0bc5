/** One figure of a bench: what was measured in several runs, the best first. */
export interface Runs {
  /** Of CPU, user and system, unless wall time is said: other processes disturb it less. */
  bestMs: number;
  allMs: number[];
}

export function runsOf(allMs: readonly number[]): Runs {
  return { bestMs: Math.min(...allMs), allMs: [...allMs] };
}

/** What benches print with --json. */
export interface BenchReport {
  bench: string;
  settings: Record<string, string | number | boolean>;
  /** Null where the rival is not installed; `beside` then says so. */
  figures: Record<string, number | null>;
  beside: Record<string, unknown>;
}

const RUNS = 5;
/** A run repeats what is short until it took about so long. */
const RUN_MS_MIN = 150;

/** CPU time of one call of `work`, in each of five runs; `before` each call, uncounted. */
export async function measured(work: () => unknown, before?: () => unknown): Promise<Runs> {
  const repeats = await repeatsFor(work, before);
  const allMs: number[] = [];
  for (let run = 0; run < RUNS; run++) allMs.push((await cpuMs(repeats, work, before)) / repeats);
  return runsOf(allMs);
}

async function repeatsFor(work: () => unknown, before?: () => unknown): Promise<number> {
  for (let repeats = 1; ; repeats *= 4) {
    if ((await cpuMs(repeats, work, before)) >= RUN_MS_MIN || repeats >= 4096) return repeats;
  }
}

async function cpuMs(
  repeats: number,
  work: () => unknown,
  before: (() => unknown) | undefined,
): Promise<number> {
  let us = 0;
  for (let i = 0; i < repeats; i++) {
    await before?.();
    const start = process.cpuUsage();
    await work();
    const { user, system } = process.cpuUsage(start);
    us += user + system;
  }
  return us / 1000;
}

/** Ours over theirs; null where there is nothing to compare with. */
export function ratio(ours: Runs, theirs: Runs | undefined): number | null {
  return theirs === undefined ? null : Number((ours.bestMs / theirs.bestMs).toFixed(4));
}
