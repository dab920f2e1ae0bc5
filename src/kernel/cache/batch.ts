/**
 * Continuous batching of one engine. There is no prefill phase and no decode phase: a sequence has
 * ids, of which some are computed, and each step lets computed catch up.
 *
 *   waiting ──admit──► running ─────────────────────────────► ended
 *                      ids:  [ cached | computed | to compute ]
 *                      a step takes one token of each decoding sequence, and of the prompt that
 *                      came first as large a chunk as the step's predicted time allows
 *
 * `exact` makes results comparable bit for bit: one sequence at a time, chunks that end at absolute
 * multiples, and only blocks that were computed in such chunks are kept for reuse.
 */
import { assert, must } from '../../base/assert.ts';
import type { BlockHash, BlockHashes } from '../../model/block.ts';
import type { Sampling } from '../../model/request.ts';
import type { Move, SequenceId, Slice, StepPlan, StepResult } from '../../model/step.ts';
import type { TieredCache } from './tiers.ts';

export interface BatchSettings {
  blockTokens: number;
  contextTokens: number;
  waitingMax: number;
  /** Longest step, as predicted. */
  stepUsMax: number;
  chunkTokensMax: number;
  /** Set by `--exact`: chunks end at its multiples. A multiple of `blockTokens`. */
  exactChunkTokens: number | undefined;
}

/** How long steps take, learned from those that were. */
export interface Pace {
  /** How many of the prompt's tokens to compute in a step that should take `stepUs`; at least 1. */
  chunkTokens(prompt: PromptLeft, beside: DecodeLoad, stepUs: number): number;
  observe(plan: StepPlan, elapsedUs: number): void;
}

/** What is still to compute of a prompt: `left` tokens from `position` on. */
export interface PromptLeft {
  position: number;
  left: number;
  /** Most that one step takes. */
  max: number;
}

/** Decoding sequences of a step, and the sum of their contexts. */
export interface DecodeLoad {
  count: number;
  contextTokens: number;
}

/** Hash of the next block of a chain; the port `BlockHasher` has it. */
export type HashBlock = (parent: BlockHash, ids: Uint32Array, start: number) => BlockHash;

export interface Spec {
  ids: Uint32Array;
  /** Of the prompt's full blocks. */
  hashes: BlockHashes;
  /** Where the chain starts. */
  root: BlockHash;
  salt: string;
  sampling: Sampling;
  outputTokensMax: number;
  endTokens: ReadonlySet<number>;
  /** Emitted instead of what is sampled; then the answer ends. */
  forced: Uint32Array | undefined;
  /** Ends the answer after so many tokens, for models that never would. */
  answerTokens: number | undefined;
  /** Whether each token comes with a digest of its logits. */
  digests: boolean;
}

export type Output =
  | { kind: 'token'; sequence: SequenceId; token: number; logitsDigest: string | undefined }
  | { kind: 'ended'; sequence: SequenceId; finish: 'stop' | 'length'; outputTokens: number };

export class Batch {
  readonly #cache: TieredCache;
  readonly #pace: Pace;
  readonly #hash: HashBlock;
  readonly #settings: BatchSettings;
  #nextId: SequenceId = 1;
  readonly #waiting: Sequence[] = [];
  /** In order of arrival. */
  readonly #running: Sequence[] = [];
  /** Ended since the last plan: their samplers close with the next. */
  #closing: SequenceId[] = [];
  #inFlight: StepPlan | undefined;

  constructor(given: { cache: TieredCache; pace: Pace; hash: HashBlock; settings: BatchSettings }) {
    this.#cache = given.cache;
    this.#pace = given.pace;
    this.#hash = given.hash;
    this.#settings = given.settings;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  get runningCount(): number {
    return this.#running.length;
  }

  submit(spec: Spec): { kind: 'taken'; sequence: SequenceId } | { kind: 'full' } {
    if (this.#waiting.length >= this.#settings.waitingMax) return { kind: 'full' };
    assert(spec.ids.length > 0, 'a prompt has a token');
    assert(spec.ids.length < this.#settings.contextTokens, 'a prompt fits the context');
    const sequence = new Sequence(this.#nextId++, spec);
    this.#waiting.push(sequence);
    return { kind: 'taken', sequence: sequence.id };
  }

  /** The answer is not wanted any more. Its slot is free from the next plan on. */
  stop(id: SequenceId): void {
    const waiting = this.#waiting.findIndex((sequence) => sequence.id === id);
    if (waiting >= 0) this.#waiting.splice(waiting, 1);
    const running = this.#running.find((sequence) => sequence.id === id);
    if (running === undefined) return;
    if (this.#inFlight === undefined) this.#end(running);
    else running.stopped = true;
  }

  /** Tokens the prompt did not have to compute; undefined while it waits. */
  cachedTokens(id: SequenceId): number | undefined {
    return this.#running.find((sequence) => sequence.id === id)?.cachedTokens;
  }

  /** What to do next; undefined when there is nothing. Exactly one `complete` follows each plan. */
  plan(): StepPlan | undefined {
    assert(this.#inFlight === undefined, 'one step at a time');
    const moves: Move[] = this.#closing.map((sequence) => ({ kind: 'close', sequence }));
    this.#closing = [];
    this.#admit(moves);
    const slices = this.#slices();
    if (slices.length === 0 && moves.length === 0) return undefined;
    this.#inFlight = { moves, slices };
    return this.#inFlight;
  }

  complete(result: StepResult): Output[] {
    const plan = must(this.#inFlight, 'a result follows a plan');
    this.#inFlight = undefined;
    if (plan.slices.length > 0) this.#pace.observe(plan, result.elapsedUs);
    const outputs: Output[] = [];
    let next = 0;
    for (const slice of plan.slices) {
      const sequence = must(
        this.#running.find((running) => running.id === slice.sequence),
        'a sequence runs until its step is complete',
      );
      sequence.computed += slice.tokens.length;
      this.#keep(sequence);
      const sample = slice.sample ? result.samples[next++] : undefined;
      assert(
        sample === undefined || sample.sequence === sequence.id,
        'samples come in slice order',
      );
      if (sample !== undefined && !sequence.stopped) this.#take(sequence, sample, outputs);
    }
    for (const sequence of this.#running.filter((running) => running.stopped)) this.#end(sequence);
    return outputs;
  }

  check(): void {
    this.#cache.check();
    assert(this.#cache.busySlotCount === this.#running.length, 'each running sequence has a slot');
    for (const sequence of this.#running) {
      assert(sequence.computed < sequence.length, 'a running sequence has something to compute');
      assert(sequence.length <= this.#settings.contextTokens, 'a sequence fits the context');
    }
  }

  #admit(moves: Move[]): void {
    const { blockTokens, exactChunkTokens } = this.#settings;
    while (this.#waiting.length > 0) {
      if (exactChunkTokens !== undefined && this.#running.length > 0) return;
      // One prompt at a time: the next one may find in cache what this one is about to compute.
      if (this.#running.some((running) => !running.isDecoding)) return;
      const sequence = this.#waiting[0];
      const { ids, hashes } = sequence.spec;
      // The last token is always computed: somebody has to make its logits.
      const usable = Math.floor((ids.length - 1) / blockTokens);
      const admission = this.#cache.admit(sequence.id, hashes, usable);
      if (admission === undefined) return;
      this.#waiting.shift();
      moves.push(...admission.moves);
      const { sampling, digests } = sequence.spec;
      moves.push({ kind: 'open', sequence: sequence.id, sampling, digests });
      sequence.slot = admission.slot;
      sequence.cachedTokens = admission.cachedTokens;
      sequence.computed = admission.cachedTokens;
      sequence.keptBlocks = admission.cachedTokens / blockTokens;
      if (sequence.keptBlocks > 0) sequence.lastHash = hashes[sequence.keptBlocks - 1];
      this.#running.push(sequence);
    }
  }

  #slices(): Slice[] {
    const slices: Slice[] = [];
    const decodes: DecodeLoad = { count: 0, contextTokens: 0 };
    for (const sequence of this.#running) {
      if (!sequence.isDecoding) continue;
      decodes.count++;
      decodes.contextTokens += sequence.length;
      slices.push(sequence.slice(1));
    }
    const prompt = this.#running.find((sequence) => !sequence.isDecoding);
    if (prompt !== undefined) slices.push(prompt.slice(this.#chunkTokens(prompt, decodes)));
    return slices.sort((a, b) => a.slot - b.slot);
  }

  #chunkTokens(sequence: Sequence, beside: DecodeLoad): number {
    const { chunkTokensMax, exactChunkTokens, stepUsMax } = this.#settings;
    const position = sequence.computed;
    const left = sequence.length - position;
    if (exactChunkTokens !== undefined) {
      return Math.min(left, exactChunkTokens - (position % exactChunkTokens));
    }
    const prompt = { position, left, max: chunkTokensMax };
    const chunk = this.#pace.chunkTokens(prompt, beside, stepUsMax);
    assert(chunk >= 1 && chunk <= left && chunk <= chunkTokensMax, 'a chunk is part of its prompt');
    return chunk;
  }

  /** Hands the blocks that are complete by now to the cache. */
  #keep(sequence: Sequence): void {
    const { blockTokens, exactChunkTokens } = this.#settings;
    let keepTokens = sequence.computed;
    if (exactChunkTokens !== undefined) {
      const prompt = sequence.spec.ids.length;
      keepTokens = Math.min(keepTokens, Math.floor(prompt / exactChunkTokens) * exactChunkTokens);
    }
    const { hashes, root, salt } = sequence.spec;
    while ((sequence.keptBlocks + 1) * blockTokens <= keepTokens) {
      const start = sequence.keptBlocks * blockTokens;
      const parent = sequence.keptBlocks === 0 ? root : sequence.lastHash;
      const hash =
        sequence.keptBlocks < hashes.length
          ? hashes[sequence.keptBlocks]
          : this.#hash(parent, sequence.ids, start);
      const tokens = sequence.ids.slice(start, start + blockTokens);
      this.#cache.extend(sequence.id, { hash, tokens, salt });
      sequence.lastHash = hash;
      sequence.keptBlocks++;
    }
  }

  #take(
    sequence: Sequence,
    sample: { token: number; logitsDigest?: string },
    outputs: Output[],
  ): void {
    const { spec } = sequence;
    const index = sequence.outputTokens++;
    const ended =
      spec.forced !== undefined
        ? index >= spec.forced.length
        : spec.endTokens.has(sample.token) ||
          (spec.answerTokens !== undefined && index >= spec.answerTokens);
    const token = spec.forced?.[index] ?? sample.token;
    const finish = (kind: 'stop' | 'length') => {
      this.#end(sequence);
      const { id, outputTokens } = sequence;
      outputs.push({ kind: 'ended', sequence: id, finish: kind, outputTokens });
    };
    if (ended) return finish('stop');
    const { logitsDigest } = sample;
    outputs.push({ kind: 'token', sequence: sequence.id, token, logitsDigest });
    sequence.append(token);
    const full = sequence.length >= this.#settings.contextTokens;
    if (sequence.outputTokens >= spec.outputTokensMax || full) finish('length');
  }

  #end(sequence: Sequence): void {
    this.#running.splice(this.#running.indexOf(sequence), 1);
    this.#closing.push(sequence.id);
    this.#cache.release(sequence.id);
  }
}

class Sequence {
  readonly id: SequenceId;
  readonly spec: Spec;
  ids: Uint32Array;
  /** Ids so far: prompt and answer. */
  length: number;
  /** Of them, those whose KV is in the slot. */
  computed = 0;
  cachedTokens = 0;
  keptBlocks = 0;
  lastHash: BlockHash;
  outputTokens = 0;
  slot = 0;
  stopped = false;

  constructor(id: SequenceId, spec: Spec) {
    this.id = id;
    this.spec = spec;
    this.ids = spec.ids;
    this.length = spec.ids.length;
    this.lastHash = spec.root;
  }

  get isDecoding(): boolean {
    return this.outputTokens > 0 && this.length - this.computed === 1;
  }

  append(token: number): void {
    if (this.length === this.ids.length) {
      const grown = new Uint32Array(this.length + Math.max(256, this.length >> 2));
      grown.set(this.ids);
      this.ids = grown;
    }
    this.ids[this.length++] = token;
  }

  slice(count: number): Slice {
    const position = this.computed;
    return {
      slot: this.slot,
      sequence: this.id,
      tokens: this.ids.slice(position, position + count),
      position,
      sample: position + count === this.length,
    };
  }
}
