/**
 * The same sessions through several policies of one running gateway. For each seed the sessions are
 * shuffled once, the policies in another order; before each policy every cache is emptied.
 */
import { Prng } from '../base/prng.ts';
import { type Comparison, DEFINITIONS, type PolicyFigures, type Slo } from '../model/comparison.ts';
import { type CallResult, drive, type ScriptedSession } from './drive.ts';
import { figuresOf, policyReport } from './report.ts';

/**
 * Not a policy but a stack that computes every prompt in full: each call has a cache salt of its own,
 * and goes to whoever has the fewest requests, the best that such a stack can do.
 */
export const NO_REUSE = 'no-reuse';
const NO_REUSE_ROUTING = 'least-requests';

export interface CompareInput {
  url: string;
  /** Of a seed: another seed may be another draw of the same kind. */
  sessions: (seed: number) => readonly ScriptedSession[];
  policies: readonly { name: string; view: string }[];
  seeds: readonly number[];
  live: number;
  slo: Slo;
  /** Of the running gateway. */
  setPolicy: (name: string) => Promise<void>;
  resetCaches: () => Promise<void>;
  /** CPU seconds all workers have used so far. */
  cpuS: () => Promise<number>;
  onProgress: (text: string) => void;
}

interface Run {
  policy: string;
  seed: number;
  figures: PolicyFigures;
  results: CallResult[];
}

/** What is known only from measuring; the caller adds what was measured. */
export type Measured = Pick<
  Comparison,
  'slo' | 'seeds' | 'wallS' | 'definitions' | 'policies' | 'notes'
>;

export async function compareLive(input: CompareInput): Promise<Measured> {
  const startMs = performance.now();
  const runs: Run[] = [];
  for (const seed of input.seeds) {
    const rng = new Prng(seed);
    const sessions = rng.fork('sessions').shuffle([...input.sessions(seed)]);
    for (const { name } of rng.fork('policies').shuffle([...input.policies])) {
      const count = input.seeds.length * input.policies.length;
      const what = `${runs.length + 1}/${count}  ${name}, seed ${seed}`;
      runs.push({
        policy: name,
        seed,
        ...(await once(input, { policy: name, seed, sessions, what })),
      });
    }
  }
  return {
    slo: input.slo,
    seeds: input.seeds,
    wallS: (performance.now() - startMs) / 1000,
    definitions: DEFINITIONS,
    policies: input.policies.map(({ name, view }) =>
      policyReport(
        { policy: name, view },
        runs.filter((run) => run.policy === name),
      ),
    ),
    notes: failuresOf(runs),
  };
}

async function once(
  input: CompareInput,
  given: { policy: string; seed: number; sessions: readonly ScriptedSession[]; what: string },
): Promise<{ figures: PolicyFigures; results: CallResult[] }> {
  const { policy, seed, sessions } = given;
  const isNoReuse = policy === NO_REUSE;
  await input.setPolicy(isNoReuse ? NO_REUSE_ROUTING : policy);
  await input.resetCaches();
  const cpuBefore = await input.cpuS();
  const results = await drive({
    url: input.url,
    sessions,
    live: input.live,
    run: `${policy}-${seed}`,
    overlay: ({ session, index }) =>
      isNoReuse ? { nvext: { cache_salt: `${seed}-${session}-${index}` } } : {},
    onProgress: ({ calls, callCount }) =>
      input.onProgress(`${given.what}: ${calls} of ${callCount} calls`),
  });
  const cpuS = (await input.cpuS()) - cpuBefore;
  return { figures: figuresOf(results, { cpuS, slo: input.slo }), results };
}

/** First sentence of each failure, with how often it came. */
function failuresOf(runs: readonly Run[]): string[] {
  const counts = new Map<string, number>();
  for (const { policy, results } of runs) {
    for (const { error } of results) {
      if (error === undefined) continue;
      const what = `${policy}: ${error}`;
      counts.set(what, (counts.get(what) ?? 0) + 1);
    }
  }
  return [...counts].map(([what, count]) => `FAILED ${count} × ${what}`);
}
