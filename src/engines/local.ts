/**
 * An engine in this process: the scheduler and cache of kernel/cache, and a runner beneath them. What
 * runs below, real tokens or modelled time, it does not know.
 *
 *   generate ─► batch.submit          ┌──────────── step complete ◄───────────┐
 *                     │               ▼                                        │
 *                     └────────► batch.plan ──► runner.step(plan) ─────────────┘
 *                                               (one at a time; planned before the last step's
 *                                                tokens are handed out, so the runner never idles)
 */
import { assert, must } from '../base/assert.ts';
import { Pipe } from '../base/pipe.ts';
import { Batch, type BatchSettings, type Output, type Pace } from '../kernel/cache/batch.ts';
import { TieredCache, type TierSizes } from '../kernel/cache/tiers.ts';
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Finish, Part, Usage } from '../model/part.ts';
import type { SequenceId, StepResult } from '../model/step.ts';
import type {
  Cancel,
  Decoder,
  Engine,
  EngineReport,
  Job,
  KvEvents,
  Runner,
  Tokens,
} from '../ports.ts';
import { StopStrings } from './stop-strings.ts';

export interface LocalEngineSettings {
  sizes: TierSizes;
  batch: BatchSettings;
  allowForcedOutput: boolean;
  /** Length of an answer of a model that never ends by itself; undefined where it does. */
  answerTokens: ((prompt: Uint32Array) => number) | undefined;
}

export class LocalEngine implements Engine {
  readonly worker: WorkerId;
  readonly #runner: Runner;
  readonly #tokens: Tokens;
  readonly #events: KvEvents;
  readonly #settings: LocalEngineSettings;
  readonly #cache: TieredCache;
  readonly #batch: Batch;
  readonly #answers = new Map<SequenceId, AnswerInProgress>();
  readonly #totals = { steps: 0, engineUs: 0, prompt: 0, cached: 0, output: 0 };
  #stepping = false;
  #failure: GatewayError | undefined;
  readonly #onFailure: (error: Error) => void;

  constructor(given: {
    worker: WorkerId;
    runner: Runner;
    pace: Pace;
    tokens: Tokens;
    events: KvEvents;
    settings: LocalEngineSettings;
    /** The runner is lost: nothing can be served any more. */
    onFailure: (error: Error) => void;
  }) {
    const { tokens, settings } = given;
    this.worker = given.worker;
    this.#runner = given.runner;
    this.#tokens = tokens;
    this.#events = given.events;
    this.#settings = settings;
    this.#onFailure = given.onFailure;
    this.#cache = new TieredCache(settings.sizes);
    const hash = tokens.hasher.block.bind(tokens.hasher);
    this.#batch = new Batch({
      cache: this.#cache,
      pace: given.pace,
      hash,
      settings: settings.batch,
    });
  }

  generate(job: Job, signal: AbortSignal): AsyncIterable<Part> {
    const pipe = new Pipe<Part>();
    const leave = () => {
      cancel();
      pipe.end();
    };
    const cancel = this.submit(job, (part) => {
      pipe.push(part);
      if (part.kind !== 'done' && part.kind !== 'error') return;
      signal.removeEventListener('abort', leave);
      pipe.end();
    });
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave, { once: true });
    return pipe;
  }

  /** The same without a promise: `on` hears each part. Throws where the job cannot be taken. */
  submit(job: Job, on: (part: Part) => void): Cancel {
    if (this.#failure !== undefined) throw this.#failure;
    const ids = this.#promptIds(job);
    const { hasher } = this.#tokens;
    const root = hasher.root(job.cacheSalt);
    const taken = this.#batch.submit({
      ids,
      hashes: hasher.blocks(root, ids),
      root,
      salt: job.cacheSalt,
      sampling: job.sampling,
      outputTokensMax: job.outputTokensMax ?? Number.MAX_SAFE_INTEGER,
      endTokens: this.#tokens.endTokens,
      forced: this.#forcedIds(job),
      answerTokens: this.#settings.answerTokens?.(ids),
      digests: job.engineData,
    });
    if (taken.kind === 'full') {
      throw new GatewayError('queue_full', 'This engine has as many requests waiting as it takes.');
    }
    const { sequence } = taken;
    const decoder = this.#tokens.decoder();
    this.#answers.set(sequence, new AnswerInProgress(ids.length, job.stop, decoder, on));
    this.#kick();
    return () => this.#drop(sequence);
  }

  async resetCache(): Promise<void> {
    this.#cache.reset();
    this.#publish();
  }

  async healthy(): Promise<boolean> {
    return this.#failure === undefined;
  }

  close(): void {
    this.#fail(new GatewayError('shutting_down', 'This worker is stopping.'));
    void this.#runner.close();
  }

  async report(): Promise<EngineReport> {
    return {
      running: this.#batch.runningCount,
      waiting: this.#batch.waitingCount,
      slots: this.#cache
        .slots()
        .map(({ holder, tokens }) => ({ busy: holder !== undefined, tokens })),
      cachedBlocks: this.#cache.blockCount,
      hostBlocks: this.#cache.hostBlockCount,
      stepsTotal: this.#totals.steps,
      engineUsTotal: this.#totals.engineUs,
      promptTokensTotal: this.#totals.prompt,
      cachedTokensTotal: this.#totals.cached,
      outputTokensTotal: this.#totals.output,
    };
  }

  /** For tests and simulation: all books balance. */
  check(): void {
    this.#batch.check();
    const held = this.#batch.runningCount + this.#batch.waitingCount;
    assert(this.#answers.size <= held, 'each open answer has a sequence');
  }

  #promptIds(job: Job): Uint32Array {
    const { prompt } = job;
    let ids: Uint32Array;
    if (prompt.kind === 'tokens') ids = prompt.ids;
    else if (prompt.kind === 'text') ids = this.#tokens.encode(prompt.text);
    else ids = this.#tokens.encode(this.#tokens.render(prompt.chat));
    const { contextTokens } = this.#settings.batch;
    if (ids.length === 0) throw new GatewayError('invalid_request', 'The prompt is empty.');
    if (ids.length >= contextTokens) {
      throw new GatewayError(
        'context_length_exceeded',
        `This model's context is ${contextTokens} tokens, but the prompt has ${ids.length}; shorten it.`,
      );
    }
    for (const id of ids) {
      if (id < this.#tokens.vocabularySize) continue;
      throw new GatewayError('invalid_request', `Token id ${id} is not in the vocabulary.`);
    }
    return ids;
  }

  #forcedIds(job: Job): Uint32Array | undefined {
    if (job.forcedOutput === undefined) return undefined;
    if (!this.#settings.allowForcedOutput) throw forcedOutputForbidden();
    return this.#tokens.encode(job.forcedOutput);
  }

  #kick(): void {
    if (this.#stepping || this.#failure !== undefined) return;
    const plan = this.#batch.plan();
    if (plan === undefined) return;
    this.#stepping = true;
    for (const { sequence } of plan.slices) this.#noteCached(sequence);
    this.#runner.step(plan, (outcome) => {
      this.#stepping = false;
      if (outcome instanceof Error) this.#broken(outcome);
      else this.#stepped(outcome);
    });
  }

  #stepped(result: StepResult): void {
    const outputs = this.#batch.complete(result);
    this.#totals.steps++;
    this.#totals.engineUs += result.elapsedUs;
    this.#kick();
    this.#publish();
    for (const output of outputs) this.#deliver(output);
  }

  #broken(error: Error): void {
    this.#fail(new GatewayError('engine_failed', 'The engine failed.', { cause: error }));
    this.#onFailure(error);
  }

  #noteCached(sequence: SequenceId): void {
    const answer = this.#answers.get(sequence);
    if (answer === undefined || answer.cachedTokens !== undefined) return;
    answer.cachedTokens = must(this.#batch.cachedTokens(sequence), 'a sequence in a plan runs');
    this.#totals.prompt += answer.promptTokens;
    this.#totals.cached += answer.cachedTokens;
  }

  #publish(): void {
    const events = this.#cache.takeEvents();
    if (events.length > 0) this.#events.publish(events);
  }

  #deliver(output: Output): void {
    const answer = this.#answers.get(output.sequence);
    if (answer === undefined) return;
    if (output.kind === 'ended') {
      this.#answers.delete(output.sequence);
      answer.end({ kind: output.finish }, output.outputTokens);
      return;
    }
    this.#totals.output++;
    const stop = answer.take(output.token, output.logitsDigest);
    if (stop === undefined) return;
    this.#answers.delete(output.sequence);
    this.#batch.stop(output.sequence);
    answer.end({ kind: 'stopSequence', sequence: stop }, answer.outputTokens);
    this.#kick();
  }

  #drop(sequence: SequenceId): void {
    const answer = this.#answers.get(sequence);
    if (answer === undefined) return;
    this.#answers.delete(sequence);
    this.#batch.stop(sequence);
    this.#kick();
  }

  #fail(error: GatewayError): void {
    this.#failure ??= error;
    for (const answer of this.#answers.values()) answer.fail(error);
    this.#answers.clear();
  }
}

export function forcedOutputForbidden(): GatewayError {
  return new GatewayError(
    'forbidden',
    'nvext.forced_output needs a worker started with --allow-forced-output.',
  );
}

/** One answer on its way out: ids become text, stop strings are looked for. */
class AnswerInProgress {
  readonly promptTokens: number;
  cachedTokens: number | undefined;
  outputTokens = 0;
  readonly #decoder: Decoder;
  readonly #stops: StopStrings;
  readonly #on: (part: Part) => void;
  /** Tokens whose text was held back so far. */
  #ids: number[] = [];
  #digests: string[] = [];

  constructor(
    promptTokens: number,
    stops: readonly string[],
    decoder: Decoder,
    on: (part: Part) => void,
  ) {
    this.promptTokens = promptTokens;
    this.#decoder = decoder;
    this.#stops = new StopStrings(stops);
    this.#on = on;
  }

  /** Returns the stop string that ends the answer, if one was found. */
  take(token: number, digest: string | undefined): string | undefined {
    this.outputTokens++;
    this.#ids.push(token);
    if (digest !== undefined) this.#digests.push(digest);
    const { text, stop } = this.#stops.push(this.#decoder.push(token));
    if (text !== '') this.#emit(text);
    return stop;
  }

  end(finish: Finish, outputTokens: number): void {
    if (finish.kind !== 'stopSequence') {
      const held = this.#stops.push(this.#decoder.flush());
      this.#emit(held.text + this.#stops.flush());
    }
    const { promptTokens, cachedTokens } = this;
    const usage: Usage = { promptTokens, cachedTokens, outputTokens };
    this.#on({ kind: 'done', finish, usage });
  }

  fail(error: GatewayError): void {
    this.#on({ kind: 'error', error });
  }

  #emit(text: string): void {
    if (text === '' && this.#ids.length === 0) return;
    const part: Part = { kind: 'text', text, tokens: this.#ids.length, ids: this.#ids };
    if (this.#digests.length > 0) part.engineData = { logitsDigests: this.#digests };
    this.#on(part);
    this.#ids = [];
    this.#digests = [];
  }
}
