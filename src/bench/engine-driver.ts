/** Asks an engine for answers as a bench wants them, and takes the time until each begins. */
import { must } from '../base/assert.ts';
import { Prng } from '../base/prng.ts';
import type { RequestId, TenantId } from '../model/ids.ts';
import type { Part, Usage } from '../model/part.ts';
import { FREE, GREEDY } from '../model/request.ts';
import type { Engine } from '../ports.ts';
import type { RunnerWatch } from './runner-watch.ts';
import { Stopwatch, type Took } from './stopwatch.ts';

/** An engine that was started for a bench. */
export interface BenchEngine {
  engine: Engine;
  /** Around its runner. */
  watch: RunnerWatch;
  vocabularySize: number;
  slots: number;
  /** Per slot. */
  contextTokens: number;
  blockTokens: number;
  /** Of one block's KV. */
  blockBytes: number;
  close(): Promise<void>;
}

/** One answer: when it began, and what the engine says of it. */
export interface Asked {
  /** Until the first part. */
  ttft: Took;
  usage: Usage;
}

/** Answers are made of it: one token in any vocabulary, and never half a character. */
const WORD = ' the';
/** Of each prompt, and its answer, that pushes another out of its slot. */
const DISPLACING_TOKENS = 32;

export class EngineDriver {
  readonly #engine: BenchEngine;
  readonly #prng: Prng;
  #requests = 0;

  constructor(engine: BenchEngine, seed: number) {
    this.#engine = engine;
    this.#prng = new Prng(seed);
  }

  /** Ids that no prompt had before; what they mean does not matter, only that none is reused. */
  fresh(count: number): Uint32Array {
    const { vocabularySize } = this.#engine;
    return Uint32Array.from({ length: count }, () => this.#prng.uint32() % vocabularySize);
  }

  /** One token. */
  async ask(ids: Uint32Array): Promise<Asked> {
    const watch = new Stopwatch();
    let ttft: Took | undefined;
    let usage: Usage | undefined;
    for await (const part of this.#generate(ids, 1)) {
      ttft ??= watch.read();
      usage = usageOf(part);
    }
    return { ttft: must(ttft, 'an answer has a part'), usage: must(usage, 'an answer ends') };
  }

  /** Until the last of these prompts, asked at once, has its first token. */
  async askAll(prompts: readonly Uint32Array[]): Promise<Took> {
    const watch = new Stopwatch();
    let last: Took | undefined;
    await Promise.all(
      prompts.map(async (ids) => {
        let began = false;
        for await (const part of this.#generate(ids, 1)) {
          usageOf(part);
          if (!began) last = watch.read();
          began = true;
        }
      }),
    );
    return must(last, 'an answer has a part');
  }

  /**
   * Answers of `steps` tokens to all prompts at once. Counted is the time in which all of them are
   * written: from the last one's first token to the first one's last.
   */
  async decode(
    prompts: readonly Uint32Array[],
    steps: number,
  ): Promise<{ took: Took; tokens: number }> {
    let waiting = prompts.length;
    let watch: Stopwatch | undefined;
    let took: Took | undefined;
    let tokens = 0;
    await Promise.all(
      prompts.map(async (ids) => {
        let began = false;
        for await (const part of this.#generate(ids, steps)) {
          if (usageOf(part) !== undefined) took ??= watch?.read();
          if (part.kind !== 'text') continue;
          if (watch !== undefined && took === undefined) tokens += part.tokens;
          if (!began && --waiting === 0) watch = new Stopwatch();
          began = true;
        }
      }),
    );
    return { took: must(took, 'all answers were written at once for a while'), tokens };
  }

  /** Short prompts in all slots at once: whatever lay there goes down to the host store. */
  async displace(): Promise<void> {
    const { slots, engine } = this.#engine;
    const prompts = Array.from({ length: slots }, () => this.fresh(DISPLACING_TOKENS));
    await this.decode(prompts, DISPLACING_TOKENS);
    const report = must(await engine.report(), 'our engines tell what they hold');
    const isTaken = report.slots.every(({ tokens }) => tokens <= 2 * DISPLACING_TOKENS);
    if (!isTaken) throw new Error('others did not take all slots');
  }

  /** Ends in `steps` tokens, whatever the model likes. */
  #generate(ids: Uint32Array, steps: number): AsyncIterable<Part> {
    const job = {
      id: `bench-${this.#requests++}` as RequestId,
      tenant: 'bench' as TenantId,
      model: 'bench',
      prompt: { kind: 'tokens' as const, ids },
      sampling: GREEDY,
      outputTokensMax: steps,
      stop: [],
      shape: FREE,
      cacheSalt: '',
      priority: 0,
      forcedOutput: WORD.repeat(steps),
      engineData: false,
    };
    return this.#engine.engine.generate(job, new AbortController().signal);
  }
}

/** Of a part that ends an answer; throws where it failed. */
function usageOf(part: Part): Usage | undefined {
  if (part.kind === 'error') throw part.error;
  return part.kind === 'done' ? part.usage : undefined;
}
