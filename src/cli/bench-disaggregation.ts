/** `stator bench disaggregation`: the same workers, with and without one that computes prompts only. */
import { Prng } from '../base/prng.ts';
import type { BenchReport } from '../bench/figure.ts';
import { type LongPrompts, longPrompts } from '../bench/long-prompts.ts';
import { ServerClient } from '../bench/server-client.ts';
import { startStack } from './stack.ts';
import { measuredStack } from './stack-flags.ts';

const ROUNDS = 3;
const LOAD = { workers: 2, slots: 4, streams: 3, prompts: 2, answerTokens: 16 } as const;
/** Each takes long enough that its prefill is felt. */
const ENGINES = [
  { engine: 'sim', promptTokens: 24_000 },
  { engine: 'llama', promptTokens: 4000 },
] as const;
const WORD = ' the';
const MEMORY_BYTES = 1_500_000_000;
const CONTEXT_TOKENS = 32_768;

export async function disaggregationBench(
  show: (text: string) => void,
  flags: { model?: string },
): Promise<BenchReport> {
  const figures: BenchReport['figures'] = {};
  const beside: BenchReport['beside'] = {};
  for (const { engine, promptTokens } of ENGINES) {
    const rounds: Round[] = [];
    for (let seed = 1; seed <= ROUNDS; seed++) {
      show(`${engine}, round ${seed} of ${ROUNDS}`);
      const given = { ...flags, engine, promptTokens, seed };
      const aggregated = await measured({ ...given, prefillWorkers: 0 });
      const disaggregated = await measured({ ...given, prefillWorkers: 1 });
      rounds.push({ aggregated, disaggregated });
    }
    for (const [name, value] of Object.entries(figuresOf(rounds))) {
      figures[`${engine} ${name}`] = value;
    }
    beside[engine] = { promptTokens, rounds };
  }
  return { bench: 'disaggregation', settings: { ...LOAD, rounds: ROUNDS }, figures, beside };
}

type Round = Record<'aggregated' | 'disaggregated', LongPrompts>;

/** Medians over the rounds; a ratio below 1 is to the good of the worker apart. */
function figuresOf(rounds: readonly Round[]): Record<string, number> {
  const figures: Record<string, number> = {};
  for (const figure of ['itlMs', 'ttftMs'] as const) {
    for (const at of ['p50', 'p99'] as const) {
      const of = (mode: keyof Round) => median(rounds.map((round) => round[mode][figure][at]));
      const [before, after] = [of('aggregated'), of('disaggregated')];
      figures[`${figure} ${at} aggregated`] = before;
      figures[`${figure} ${at} disaggregated`] = after;
      figures[`${figure} ${at} ratio`] = Number((after / before).toFixed(3));
    }
  }
  const pairs = rounds.flatMap(({ aggregated, disaggregated }) =>
    aggregated.texts.map((text, i) => text === disaggregated.texts[i]),
  );
  figures['equal answers'] = pairs.filter((isEqual) => isEqual).length / pairs.length;
  return figures;
}

async function measured(given: {
  model?: string;
  engine: 'sim' | 'llama';
  promptTokens: number;
  seed: number;
  prefillWorkers: number;
}): Promise<LongPrompts> {
  const { model = 'demo', engine, promptTokens, seed, prefillWorkers } = given;
  const { workers, slots, ...load } = LOAD;
  const options = measuredStack({
    ...{ engine, model, workers, slots, prefillWorkers, port: 0 },
    ...{ memory: MEMORY_BYTES, context: CONTEXT_TOKENS, disk: 0, allowForcedOutput: true },
  });
  const stack = await startStack({ ...options, log: () => {} });
  try {
    const rng = new Prng(seed);
    const { vocabularySize, specials } = stack.tokens;
    const plain = Array.from({ length: vocabularySize }, (_, id) => id).filter(
      (id) => !specials.has(id),
    );
    const fresh = (count: number) => Array.from({ length: count }, () => rng.pick(plain));
    // Streams go on as long as they are to; what is answered to long prompts is the model's own.
    const client = new ServerClient(stack.url, (tokens) => ({
      model: stack.model.name,
      ...(tokens > load.answerTokens && { nvext: { forced_output: WORD.repeat(tokens) } }),
    }));
    return await longPrompts({ ...load, promptTokens, client, fresh });
  } finally {
    await stack.close();
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
