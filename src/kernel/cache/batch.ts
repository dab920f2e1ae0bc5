/**
 * Continuous batching of one engine. There is no prefill phase and no decode phase: a sequence has
 * ids, of which some are computed, and each step lets computed catch up.
 *
 *   waiting ──admit──► running ─────────────────────────────► ended
 *                 ◄─preempt─   ids:  [ cached | computed | to compute ]
 *                      a step takes one token of each decoding sequence, and of the prompts, most
 *                      urgent first, as large chunks as the step's predicted time allows
 *
 * A request of higher priority takes the slot of one of lower where none is free. What was computed
 * stays in cache, so the other one goes on where it was.
 *
 * `exact` makes results comparable bit for bit: one sequence at a time, chunks that end at absolute
 * multiples, and only blocks that were computed in such chunks are kept for reuse.
 */
import { assert, must } from '../../base/assert.ts';
import type { BlockHash, BlockHashes } from '../../model/block.ts';
import type {
  FileNews,
  Move,
  Sample,
  SequenceId,
  Slice,
  StepPlan,
  StepResult,
} from '../../model/step.ts';
import type { DecodeLoad, Pace } from './pace.ts';
import { Sequence, type Spec } from './sequence.ts';
import type { TieredCache } from './tiers.ts';
import { compareUrgency } from './urgency.ts';

export type { DecodeLoad, Pace, PromptLeft } from './pace.ts';

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

/** Hash of the next block of a chain; the port `BlockHasher` has it. */
export type HashBlock = (parent: BlockHash, ids: Uint32Array, start: number) => BlockHash;

export type Output =
  /** `sample` is what the model chose; where output is forced, `token` is another. */
  | { kind: 'token'; sequence: SequenceId; token: number; sample: Sample }
  | { kind: 'ended'; sequence: SequenceId; finish: 'stop' | 'length'; outputTokens: number }
  /** Ended without a token: what it asked for cannot be. One sentence says why. */
  | { kind: 'refused'; sequence: SequenceId; reason: string };

/** A step with less time left than this begins no further prompt. */
const REST_SHARE_MIN = 0.25;

/** So many of those that wait have what is there of them kept: who comes later waits long anyway. */
const EXPECTED_MAX = 8;
const ENDLESS = { left: Number.MAX_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER };

export class Batch {
  readonly #cache: TieredCache;
  readonly #pace: Pace;
  readonly #hash: HashBlock;
  readonly #settings: BatchSettings;
  #nextId: SequenceId = 1;
  /** Higher priority first, then in order of arrival. */
  readonly #waiting: Sequence[] = [];
  /** In order of admission. */
  readonly #running: Sequence[] = [];
  /** Prompt tokens computed so far, of all sequences. */
  #servedTokens = 0;
  #endedCount = 0;
  #expectedCount = 0;
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
    const sequence = new Sequence(this.#nextId++, spec, this.#servedTokens);
    this.#wait(sequence);
    this.#expect(); // At once: the step in flight may push out what this prompt was promised.
    return { kind: 'taken', sequence: sequence.id };
  }

  /** The answer is not wanted any more. Its slot is free from the next plan on. */
  stop(id: SequenceId): void {
    const waiting = this.#waiting.findIndex((sequence) => sequence.id === id);
    if (waiting >= 0) {
      const [left] = this.#waiting.splice(waiting, 1);
      if (left.isOpen) this.#closing.push(id);
      this.#cache.abandon(id);
    }
    const running = this.#running.find((sequence) => sequence.id === id);
    if (running === undefined) return;
    if (this.#inFlight === undefined) this.#end(running);
    else running.stopped = true;
  }

  /** Tokens the prompt did not have to compute; undefined while it waits. */
  cachedTokens(id: SequenceId): number | undefined {
    return this.#running.find((sequence) => sequence.id === id)?.cachedTokens;
  }

  /** Whether the block, at that place in its chain, is still to come with a prompt. */
  isToCome(hash: BlockHash, index: number): boolean {
    const isItsPrompt = (sequence: Sequence) =>
      !sequence.isDecoding && sequence.spec.hashes[index] === hash;
    return this.#running.some(isItsPrompt) || this.#waiting.some(isItsPrompt);
  }

  /** What to do next; undefined when there is nothing. Exactly one `complete` follows each plan. */
  plan(): StepPlan | undefined {
    assert(this.#inFlight === undefined, 'one step at a time');
    const moves: Move[] = this.#closing.map((sequence) => ({ kind: 'close', sequence }));
    this.#closing = [];
    moves.push(...this.#cache.takeMoves());
    this.#admit(moves);
    this.#expect();
    const { slices, cuts } = this.#slices();
    moves.push(...this.#cache.saves({ idle: slices.length === 0 }), ...cuts);
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
      const end = slice.position + slice.tokens.length;
      const count = sequence.isDecoding ? 0 : end - sequence.computed;
      sequence.served += count;
      this.#servedTokens += count;
      sequence.computed = end;
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

  /** What became of files: waiting prompts may be able to start. */
  note(news: readonly FileNews[]): void {
    this.#cache.note(news);
  }

  check(): void {
    this.#cache.check();
    assert(this.#cache.busySlotCount === this.#running.length, 'each running sequence has a slot');
    for (const sequence of this.#running) {
      assert(sequence.computed < sequence.length, 'a running sequence has something to compute');
      assert(sequence.length <= this.#settings.contextTokens, 'a sequence fits the context');
    }
  }

  #wait(sequence: Sequence): void {
    const { priority } = sequence.spec;
    let at = this.#waiting.length;
    while (at > 0 && this.#waiting[at - 1].spec.priority < priority) at--;
    this.#waiting.splice(at, 0, sequence);
  }

  #admit(moves: Move[]): void {
    const { exactChunkTokens } = this.#settings;
    for (const sequence of [...this.#waiting]) {
      if (exactChunkTokens !== undefined && this.#running.length > 0) return;
      // Nor does who waits for the disk hold up anybody.
      if (this.#willFindMore(sequence) || this.#cache.isLoading(sequence.id)) continue;
      if (!this.#place(sequence, moves)) return;
    }
  }

  /** What the next prompts will find must not leave before what may never be asked for. */
  #expect(): void {
    const next = this.#waiting.slice(0, EXPECTED_MAX);
    const isKnown = next.every(({ expectedAt }) => expectedAt === this.#endedCount);
    if (isKnown && next.length === this.#expectedCount) return;
    for (const sequence of next) sequence.expectedAt = this.#endedCount;
    this.#expectedCount = next.length;
    this.#cache.expect(next.map((sequence) => this.#hashesOf(sequence)));
  }

  /** A prompt that begins like one being computed waits until it can have that from cache. */
  #willFindMore({ priority, spec: { hashes } }: Sequence): boolean {
    return this.#running.some((running) => {
      // Whoever is more important does not wait for one that may be passed by others.
      if (running.isDecoding || running.priority < priority) return false;
      const { keptBlocks, spec } = running;
      // Hashes are chained: equal ones have everything before them in common.
      return keptBlocks < hashes.length && hashes[keptBlocks] === spec.hashes[keptBlocks];
    });
  }

  #place(sequence: Sequence, moves: Move[]): boolean {
    const { blockTokens } = this.#settings;
    // The last token is always computed: somebody has to make its logits.
    const usable = Math.floor((sequence.length - 1) / blockTokens);
    const hashes = this.#hashesOf(sequence);
    const admit = () => this.#cache.admit(sequence.id, hashes, usable);
    let admission = admit();
    if (admission.kind === 'busy' && this.#preemptFor(sequence)) admission = admit();
    if (admission.kind === 'busy') return false;
    if (admission.kind === 'loading') {
      moves.push(...admission.moves);
      return true;
    }
    this.#waiting.splice(this.#waiting.indexOf(sequence), 1);
    moves.push(...admission.moves);
    if (!sequence.isOpen) {
      const { sampling, wants } = sequence.spec;
      moves.push({ kind: 'open', sequence: sequence.id, sampling, wants });
      sequence.isOpen = true;
      sequence.cachedTokens = admission.cachedTokens;
    }
    this.#cache.attribute(sequence.id, sequence.spec.thread);
    sequence.slot = admission.slot;
    sequence.computed = admission.cachedTokens;
    sequence.keptBlocks = admission.cachedTokens / blockTokens;
    if (sequence.keptBlocks > 0) sequence.lastHash = hashes[sequence.keptBlocks - 1];
    this.#running.push(sequence);
    return true;
  }

  /** Of the prompt's blocks, and of those that the answer filled before it was preempted. */
  #hashesOf({ spec, ids, length }: Sequence): BlockHashes {
    const { blockTokens } = this.#settings;
    const count = Math.floor((length - 1) / blockTokens);
    if (count <= spec.hashes.length) return spec.hashes;
    const hashes = new BigUint64Array(count);
    hashes.set(spec.hashes);
    for (let i = spec.hashes.length; i < count; i++) {
      hashes[i] = this.#hash(i === 0 ? spec.root : hashes[i - 1], ids, i * blockTokens);
    }
    return hashes;
  }

  /** Frees the slot of the least important sequence, of several the one that came last. */
  #preemptFor({ spec: { priority } }: Sequence): boolean {
    if (this.#settings.exactChunkTokens !== undefined) return false;
    let victim: Sequence | undefined;
    for (const running of this.#running) {
      if (running.priority >= priority) continue;
      if (victim === undefined || running.priority <= victim.priority) victim = running;
    }
    if (victim === undefined) return false;
    this.#running.splice(this.#running.indexOf(victim), 1);
    this.#cache.release(victim.id);
    this.#wait(victim);
    return true;
  }

  /** `cuts`: of slots whose last tokens are computed once more. They come after whatever reads slots. */
  #slices(): { slices: Slice[]; cuts: Move[] } {
    const slices: Slice[] = [];
    const cuts: Move[] = [];
    const decodes: DecodeLoad = { count: 0, contextTokens: 0 };
    const pauses = this.#running.some(({ isIdle }) => !isIdle);
    for (const sequence of this.#running) {
      if (!sequence.isDecoding || (pauses && sequence.isIdle)) continue;
      decodes.count++;
      decodes.contextTokens += sequence.length;
      slices.push(sequence.slice(1));
    }
    let { chunkTokensMax: tokensLeft, stepUsMax: usLeft } = this.#settings;
    for (const prompt of this.#prompts()) {
      if (pauses && prompt.isIdle) break;
      const { tokens, share } = this.#chunk(prompt, decodes, { max: tokensLeft, us: usLeft });
      const again = tokens === prompt.left ? this.#again(prompt, tokensLeft) : 0;
      const slice = prompt.slice(tokens, again);
      slices.push(slice);
      if (again > 0) cuts.push({ kind: 'cut', slot: slice.slot, tokens: slice.position });
      tokensLeft -= slice.tokens.length;
      usLeft -= share * usLeft;
      // Another prompt's chunk is worth it only where this one ended early.
      if (tokens < prompt.left || tokensLeft === 0) break;
      if (usLeft < this.#settings.stepUsMax * REST_SHARE_MIN) break;
    }
    return { slices: slices.sort((a, b) => a.slot - b.slot), cuts };
  }

  /** Most urgent first. */
  #prompts(): Sequence[] {
    return this.#running
      .filter((sequence) => !sequence.isDecoding)
      .sort((a, b) => compareUrgency(a, b, this.#servedTokens));
  }

  /** How much of a prompt to compute, and which share of the room for it that takes. */
  #chunk(
    { computed: position, left }: Sequence,
    beside: DecodeLoad,
    room: { max: number; us: number },
  ): { tokens: number; share: number } {
    const { exactChunkTokens } = this.#settings;
    if (exactChunkTokens !== undefined) {
      return { tokens: Math.min(left, exactChunkTokens - (position % exactChunkTokens)), share: 1 };
    }
    const tokens = this.#pace.chunkTokens({ position, left, max: room.max }, beside, room.us);
    assert(tokens >= 1 && tokens <= left && tokens <= room.max, 'a chunk is part of its prompt');
    const fitting = this.#pace.chunkTokens({ position, ...ENDLESS }, beside, room.us);
    return { tokens, share: Math.min(1, tokens / fitting) };
  }

  #again({ computed: position, left }: Sequence, max: number): number {
    // Bits differ by how much is computed at once.
    const isExact = this.#settings.exactChunkTokens !== undefined;
    const again = isExact ? 0 : this.#pace.againTokens({ position, left, max });
    assert(again >= 0 && again <= position && left + again <= max, 'again is what was computed');
    return again;
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

  #take(sequence: Sequence, sample: Sample, outputs: Output[]): void {
    const { spec } = sequence;
    if (sample.refused !== undefined) {
      this.#end(sequence);
      outputs.push({ kind: 'refused', sequence: sequence.id, reason: sample.refused });
      return;
    }
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
    outputs.push({ kind: 'token', sequence: sequence.id, token, sample });
    sequence.append(token);
    const full = sequence.length >= this.#settings.contextTokens;
    if (sequence.outputTokens >= spec.outputTokensMax || full) finish('length');
  }

  #end(sequence: Sequence): void {
    this.#running.splice(this.#running.indexOf(sequence), 1);
    this.#closing.push(sequence.id);
    this.#cache.release(sequence.id);
    this.#endedCount++;
  }
}
