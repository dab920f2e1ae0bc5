/**
 * The same sessions through several policies of one running gateway. For each seed the sessions are
 * shuffled once, the policies in another order; before each policy every cache is emptied.
 */
import { Prng } from '../base/prng.ts';
import { drive, type ScriptedSession } from './drive.ts';
import { DEFINITIONS, type Figures, figuresOf } from './report.ts';

export interface CompareInput {
  url: string;
  model: string;
  sessions: readonly ScriptedSession[];
  policies: readonly string[];
  seeds: readonly number[];
  live: number;
  /** Of the running gateway. */
  setPolicy: (name: string) => Promise<void>;
  resetCaches: () => Promise<void>;
  /** CPU seconds all workers have used so far. */
  cpuS: () => Promise<number>;
  onProgress: (text: string) => void;
}

export interface CompareRun extends Figures {
  policy: string;
  seed: number;
}

export interface CompareReport {
  model: string;
  sessions: number;
  calls: number;
  live: number;
  seeds: readonly number[];
  definitions: typeof DEFINITIONS;
  runs: CompareRun[];
  /** First sentence of each failure, with how often it came. */
  failures: Record<string, number>;
}

export async function compareLive(input: CompareInput): Promise<CompareReport> {
  const runs: CompareRun[] = [];
  const failures: Record<string, number> = {};
  for (const seed of input.seeds) {
    const rng = new Prng(seed);
    const sessions = rng.fork('sessions').shuffle([...input.sessions]);
    const policies = rng.fork('policies').shuffle([...input.policies]);
    for (const policy of policies) {
      await input.setPolicy(policy);
      await input.resetCaches();
      const cpuBefore = await input.cpuS();
      const results = await drive({
        url: input.url,
        model: input.model,
        sessions,
        live: input.live,
        run: `${policy}-${seed}`,
        onProgress: ({ calls, callCount }) =>
          input.onProgress(
            `${runs.length + 1}/${input.seeds.length * policies.length}  ${policy}, seed ${seed}: ${calls} of ${callCount} calls`,
          ),
      });
      const cpuS = (await input.cpuS()) - cpuBefore;
      runs.push({ policy, seed, ...figuresOf(results, cpuS) });
      for (const { error } of results) {
        if (error !== undefined) failures[error] = (failures[error] ?? 0) + 1;
      }
    }
  }
  return {
    model: input.model,
    sessions: input.sessions.length,
    calls: input.sessions.reduce((sum, one) => sum + one.answers.length, 0),
    live: input.live,
    seeds: input.seeds,
    definitions: DEFINITIONS,
    runs,
    failures,
  };
}
