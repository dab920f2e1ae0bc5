/**
 * The same sessions through several contenders: policies of one running gateway, or servers that run beside each
 * other. For each seed the sessions are shuffled once, the contenders in another order; before each one every cache
 * is emptied.
 */
import { Prng } from '../base/prng.ts';
import { thousands } from '../base/text.ts';
import {
  type Comparison,
  DEFINITIONS,
  type PolicyFigures,
  type PolicyReport,
  type Slo,
} from '../model/comparison.ts';
import { type CallResult, drive, type Load, type ScriptedSession } from './drive.ts';
import { figuresOf, policyReport } from './report.ts';

export interface Contender {
  name: string;
  /** What it may see. */
  view: string;
  /** Where it has others than the comparison says. */
  workers?: number;
  url: string;
  headers: Record<string, string>;
  /** Makes it the one that answers, with empty caches. */
  prepare: () => Promise<void>;
  /** CPU seconds its workers have used so far; null where nobody tells. */
  cpuS: () => Promise<number | null>;
  /** Laid over each call's body. */
  overlay: (call: { seed: number; session: string; index: number }) => Record<string, unknown>;
}

export interface CompareInput {
  /** Of a seed: another seed may be another draw of the same kind. */
  sessions: (seed: number) => readonly ScriptedSession[];
  contenders: readonly Contender[];
  seeds: readonly number[];
  load: Load;
  /** Sessions at once when nothing is short; 0: that is not looked at. */
  mildLive: number;
  slo: Slo;
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
  'slo' | 'seeds' | 'wallS' | 'definitions' | 'policies' | 'mild' | 'notes'
>;

/** Of the sessions, so many are enough for mild load. */
const MILD_SHARE = 0.25;

export async function compareLive(input: CompareInput): Promise<Measured> {
  const startMs = performance.now();
  const { seeds, mildLive } = input;
  const runs = await all(input, { name: '', load: input.load, seeds, share: 1 });
  const mildLoad: Load = { kind: 'closed', live: mildLive };
  const fewer = {
    name: 'mild load, ',
    load: mildLoad,
    seeds: seeds.slice(0, 1),
    share: MILD_SHARE,
  };
  const mild = mildLive === 0 ? [] : await all(input, fewer);
  return {
    slo: input.slo,
    seeds,
    wallS: (performance.now() - startMs) / 1000,
    definitions: DEFINITIONS,
    policies: reportsOf(input, runs),
    ...(mildLive > 0 && { mild: { live: mildLive, policies: reportsOf(input, mild) } }),
    notes: [...shortAnswersOf(runs), ...failuresOf([...runs, ...mild])],
  };
}

/** Each contender once for each seed. */
async function all(
  input: CompareInput,
  given: { name: string; load: Load; seeds: readonly number[]; share: number },
): Promise<Run[]> {
  const { contenders, slo } = input;
  const { load, seeds } = given;
  const runs: Run[] = [];
  for (const seed of seeds) {
    const rng = new Prng(seed);
    const shuffled = rng.fork('sessions').shuffle([...input.sessions(seed)]);
    const least = load.kind === 'closed' ? load.live : 1;
    const sessions = shuffled.slice(0, Math.max(least, Math.ceil(given.share * shuffled.length)));
    for (const contender of rng.fork('policies').shuffle([...contenders])) {
      const { name, url, headers, overlay } = contender;
      const count = `${runs.length + 1}/${seeds.length * contenders.length}`;
      await contender.prepare();
      const cpuBefore = await contender.cpuS();
      const results = await drive({
        ...{ url, headers, sessions, load },
        run: `${name}-${seed}`,
        overlay: (call) => overlay({ seed, ...call }),
        onProgress: ({ calls, callCount }) => {
          const what = `${count}  ${given.name}${name}, seed ${seed}`;
          input.onProgress(`${what}: ${calls} of ${callCount} calls`);
        },
      });
      const cpuAfter = await contender.cpuS();
      const cpuS = cpuBefore === null || cpuAfter === null ? null : cpuAfter - cpuBefore;
      runs.push({ policy: name, seed, figures: figuresOf(results, { cpuS, slo }), results });
    }
  }
  return runs;
}

function reportsOf({ contenders }: CompareInput, runs: readonly Run[]): PolicyReport[] {
  return contenders.map(({ name, view, workers }) =>
    policyReport(
      { policy: name, view, ...(workers !== undefined && { workers }) },
      runs.filter((run) => run.policy === name),
    ),
  );
}

/** Answers that ended before they were as long as recorded: there was less to decode, and that is said. */
function shortAnswersOf(runs: readonly Run[]): string[] {
  return [...new Set(runs.map(({ policy }) => policy))].flatMap((policy) => {
    const bounded = runs
      .filter((run) => run.policy === policy)
      .flatMap(({ results }) => results)
      .filter((one) => one.error === undefined && one.outputTokensMax !== undefined);
    const sum = (pick: (one: CallResult) => number) =>
      bounded.reduce((total, one) => total + pick(one), 0);
    const [told, asked] = [sum((one) => one.outputTokens), sum((one) => one.outputTokensMax ?? 0)];
    if (told >= SHORT_SHARE * asked) return [];
    const [a, b] = [told, asked].map(thousands);
    return [`${policy}: answers had ${a} of ${b} recorded tokens; they end where the model ends.`];
  });
}

const SHORT_SHARE = 0.95;

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
