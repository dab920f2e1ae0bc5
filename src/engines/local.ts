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
import type { KvEvent } from '../model/block.ts';
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { FoundFile, SequenceId, StepResult } from '../model/step.ts';
import type {
  Cancel,
  Embedding,
  Engine,
  EngineReport,
  Job,
  KvEvents,
  Runner,
  Tokens,
} from '../ports.ts';
import { Choices, type Receiver, Vector } from './choice.ts';
import { type AnswerSettings, saidOf, specsOf, vectorSpecOf } from './job-spec.ts';
import { type KvMeans, LocalKv } from './local-kv.ts';

export interface LocalEngineSettings extends AnswerSettings {
  sizes: TierSizes;
  batch: BatchSettings;
  /** What to know of vectors this model makes, or why it makes none; one sentence. */
  embeddings: { kind: 'made'; note: string | undefined } | { kind: 'refused'; why: string };
}

export class LocalEngine implements Engine {
  readonly worker: WorkerId;
  readonly #runner: Runner;
  readonly #tokens: Tokens;
  readonly #events: KvEvents;
  readonly #settings: LocalEngineSettings;
  readonly #cache: TieredCache;
  readonly #batch: Batch;
  readonly #answers = new Map<SequenceId, Receiver>();
  readonly #totals = { steps: 0, engineUs: 0, prompt: 0, cached: 0, output: 0 };
  #stepping = false;
  /** Who waits for moves: of the next step, and of the one that runs. */
  #waiting: Waiter[] = [];
  #carried: Waiter[] = [];
  #kv: LocalKv | undefined;
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
    const computeUs = given.pace.computeUs.bind(given.pace);
    this.#cache = new TieredCache(settings.sizes, computeUs);
    const hash = tokens.hasher.block.bind(tokens.hasher);
    this.#batch = new Batch({
      cache: this.#cache,
      pace: given.pace,
      hash,
      settings: settings.batch,
    });
    given.runner.listen((news) => {
      this.#batch.note(news);
      this.#publish();
      this.#kick();
      this.#kv?.filesRead();
    });
  }

  get kv(): LocalKv | undefined {
    return this.#kv;
  }

  /** Others may direct its KV from now on. */
  direct(means: KvMeans): LocalKv {
    const kv = new LocalKv(means, {
      cache: this.#cache,
      isToCome: (hash, index) => this.#batch.isToCome(hash, index),
      hasRoom: () => this.#batch.waitingCount === 0,
      hasher: this.#tokens.hasher,
      changed: () => {
        this.#publish();
        this.#kick();
      },
      carriedOut: () => this.#carriedOut(),
    });
    this.#kv = kv;
    return kv;
  }

  /** Files of KV that an earlier run left. */
  restore(found: readonly FoundFile[]): void {
    this.#cache.restore(found);
    this.#publish();
    this.#kick();
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
    const specs = specsOf(job, ids, { tokens: this.#tokens, ...this.#settings });
    const sequences: SequenceId[] = [];
    const leave = () => {
      for (const sequence of sequences) this.#drop(sequence);
    };
    const choices = new Choices(job.shape.choices, (part) => {
      if (part.kind === 'error') leave();
      on(part);
    });
    const isForced = specs[0].forced !== undefined;
    const told = { promptTokens: ids.length, said: saidOf(job), stops: job.stop };
    const saidCharacters = job.said?.characters ?? 0;
    const given = { ...told, saidCharacters, tokens: this.#tokens, isForced };
    if (job.outputTokensMax === 0) {
      choices.add(given).end({ kind: 'length' }, 0);
      return leave;
    }
    for (const spec of specs) {
      const taken = this.#batch.submit(spec);
      if (taken.kind === 'full') {
        leave();
        throw full();
      }
      this.#answers.set(taken.sequence, choices.add(given));
      sequences.push(taken.sequence);
    }
    this.#kick();
    return leave;
  }

  continues({ said }: Job): boolean {
    return said?.ids !== undefined;
  }

  async embed(job: Job, signal: AbortSignal): Promise<Embedding> {
    if (this.#failure !== undefined) throw this.#failure;
    const { embeddings } = this.#settings;
    if (embeddings.kind === 'refused') throw new GatewayError('invalid_request', embeddings.why);
    const ids = this.#promptIds(job);
    const taken = this.#batch.submit(vectorSpecOf(job, ids, this.#tokens));
    if (taken.kind === 'full') throw full();
    const { sequence } = taken;
    const leave = () =>
      this.#answers.get(sequence)?.fail(new GatewayError('client_closed', 'The client left.'));
    return await new Promise<Embedding>((resolve, reject) => {
      const given = { promptTokens: ids.length, note: embeddings.note };
      const receiver = new Vector(given, (outcome) => {
        signal.removeEventListener('abort', leave);
        this.#drop(sequence);
        if (outcome instanceof GatewayError) reject(outcome);
        else resolve(outcome);
      });
      this.#answers.set(sequence, receiver);
      signal.addEventListener('abort', leave, { once: true });
      if (signal.aborted) leave();
      this.#kick();
    });
  }

  async resetCache(): Promise<void> {
    this.#cache.reset();
    this.#publish();
    this.#kick();
  }

  /** What it holds, as events (wire/kv-event-log.ts). */
  held(): Iterable<readonly KvEvent[]> {
    return this.#cache.held();
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
      countsAll: true,
      slots: this.#cache
        .slots()
        .map(({ holder, tokens }) => ({ busy: holder !== undefined, tokens })),
      cachedBlocks: this.#cache.blockCount,
      hostBlocks: this.#cache.hostBlockCount,
      diskBlocks: this.#cache.diskBlockCount,
      diskBytes: this.#cache.diskBytes,
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
    const said = saidOf(job);
    if (said.length > 0) ids = Uint32Array.from([...ids, ...said]);
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

  #kick(): void {
    if (this.#stepping || this.#failure !== undefined) return;
    this.#kv?.lapse();
    const plan = this.#batch.plan();
    this.#carried = this.#waiting.splice(0);
    if (plan === undefined) return this.#wake();
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
    this.#wake();
    this.#kick();
    this.#publish();
    this.#kv?.computed();
    for (const output of outputs) this.#deliver(output);
  }

  #broken(error: Error): void {
    this.#fail(new GatewayError('engine_failed', 'The engine failed.', { cause: error }));
    this.#onFailure(error);
  }

  /** Resolves when what the cache has decided so far was carried out. */
  #carriedOut(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const runsAll = this.#stepping && !this.#cache.hasMoves;
      (runsAll ? this.#carried : this.#waiting).push({ resolve, reject });
      this.#kick();
    });
  }

  #wake(): void {
    for (const { resolve } of this.#carried.splice(0)) resolve();
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
    if (output.kind === 'refused') {
      this.#answers.delete(output.sequence);
      return answer.fail(new GatewayError('invalid_request', output.reason));
    }
    this.#totals.output++;
    const stop = answer.take(output.token, output.sample);
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
    for (const { reject } of [...this.#carried.splice(0), ...this.#waiting.splice(0)])
      reject(error);
    this.#kv?.fail(error);
  }
}

interface Waiter {
  resolve: () => void;
  reject: (error: GatewayError) => void;
}

function full(): GatewayError {
  return new GatewayError('queue_full', 'This engine has as many requests waiting as it takes.');
}
