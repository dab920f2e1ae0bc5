/**
 * A runner whose step only takes time. Its "KV" is the ids themselves, so every move of the scheduler
 * is really carried out and a wrong one is caught at once: a slice must continue exactly what its
 * slot holds.
 *
 * What it answers is a function of the ids before it and a seed, so any worker continues any other's
 * answer. An answer's length is counted from the last turn marker and ends with an end token.
 */
import { assert, must } from '../base/assert.ts';
import {
  A_TOKEN,
  type FileId,
  type FileNews,
  type Handle,
  type Move,
  type Sample,
  type SaveSource,
  type SequenceId,
  type Slice,
  type StepPlan,
  type StepResult,
  type Wants,
} from '../model/step.ts';
import type { BlockStore, Clock, Runner } from '../ports.ts';
import { type StepCurve, stepUs } from './perf.ts';

export interface SimulatedModel {
  seed: number;
  blockTokens: number;
  /** Ids to answer with: whole words, so that the noise can be read. */
  words: Uint32Array;
  endToken: number;
  /** Begins a turn; answers count their length from the last one. Undefined: from the first id. */
  turnToken: number | undefined;
  answerTokensMin: number;
  answerTokensMax: number;
}

/** What the simulated engine holds and answers; time is its caller's. */
export class SimulatedMemory {
  readonly #model: SimulatedModel;
  readonly #slots: Text[];
  readonly #host = new Map<Handle, Uint32Array>();
  readonly #wants = new Map<SequenceId, Wants>();
  readonly #files = new Map<FileId, Uint32Array[]>();
  #news: FileNews[] = [];

  constructor(slots: number, model: SimulatedModel) {
    this.#model = model;
    this.#slots = Array.from({ length: slots }, () => new Text(model));
  }

  execute(plan: StepPlan): Sample[] {
    for (const move of plan.moves) this.#move(move);
    const samples: Sample[] = [];
    for (const slice of plan.slices) {
      this.#compute(slice);
      if (slice.sample) samples.push(this.#sample(slice));
    }
    return samples;
  }

  /** Copies of blocks in the host store. */
  read(handles: readonly Handle[]): Uint32Array[] {
    return handles.map((handle) => this.#hosted(handle).slice());
  }

  write(handle: Handle, ids: Uint32Array): void {
    this.#host.set(handle, ids);
  }

  /** What became of files since the last call. */
  takeNews(): FileNews[] {
    const news = this.#news;
    this.#news = [];
    return news;
  }

  #move(move: Move): void {
    const { blockTokens } = this.#model;
    switch (move.kind) {
      case 'open':
        this.#wants.set(move.sequence, move.wants);
        return;
      case 'close':
        this.#wants.delete(move.sequence);
        return;
      case 'cut':
        return this.#slots[move.slot].cut(move.tokens);
      case 'copyOut':
        move.indexes.forEach((index, i) => {
          const ids = this.#slots[move.slot].read(index * blockTokens, blockTokens);
          this.#host.set(move.handles[i], ids);
        });
        return;
      case 'copyIn': {
        const text = this.#slots[move.slot];
        text.cut(0);
        for (const handle of move.handles) text.append(this.#hosted(handle));
        return;
      }
      case 'save':
        this.#files.set(move.file, this.#source(move.source));
        this.#news.push({ kind: 'saved', file: move.file });
        return;
      case 'load': {
        const blocks = must(this.#files.get(move.file), 'a file is read before it is dropped');
        move.indexes.forEach((index, i) => {
          this.#host.set(move.handles[i], blocks[index]);
        });
        this.#news.push({ kind: 'loaded', file: move.file, elapsedUs: 0 });
        return;
      }
      case 'drop':
        this.#files.delete(move.file);
        return;
    }
  }

  /** Each token has probability 1/2, and each that stands beside it half of the one before. */
  #sample({ slot, sequence }: Slice): Sample {
    const { embedding, logprobs } = this.#wants.get(sequence) ?? A_TOKEN;
    const text = this.#slots[slot];
    if (embedding) return { sequence, token: 0, vector: text.vector() };
    const token = text.next();
    if (logprobs === undefined) return { sequence, token };
    const others = this.#model.words.subarray(0, logprobs + 1).filter((id) => id !== token);
    const likely = [token, ...others].slice(0, logprobs);
    const top = likely.map((id, i) => ({ token: id, logprob: -(i + 1) * Math.LN2 }));
    return { sequence, token, logprobs: { logprob: -Math.LN2, top } };
  }

  #source(source: SaveSource): Uint32Array[] {
    if (source.kind === 'host') return source.handles.map((handle) => this.#hosted(handle));
    const { blockTokens } = this.#model;
    const text = this.#slots[source.slot];
    return source.indexes.map((index) => text.read(index * blockTokens, blockTokens));
  }

  #hosted(handle: Handle): Uint32Array {
    return must(this.#host.get(handle), 'a handle is written before it is read');
  }

  #compute(slice: Slice): void {
    const text = this.#slots[slice.slot];
    assert(text.length === slice.position, 'a slice continues what its slot holds');
    text.append(slice.tokens);
  }
}

/** Runs `SimulatedMemory` on a clock. */
export class RunnerSimulated implements Runner, BlockStore {
  readonly #memory: SimulatedMemory;
  readonly #curve: StepCurve;
  readonly #clock: Clock;
  readonly #fileUs: number;
  #onNews: (news: readonly FileNews[]) => void = () => {};

  /** `fileUs`: what a file takes to be written or read. */
  constructor(given: {
    memory: SimulatedMemory;
    curve: StepCurve;
    clock: Clock;
    fileUs: number;
  }) {
    this.#memory = given.memory;
    this.#curve = given.curve;
    this.#clock = given.clock;
    this.#fileUs = given.fileUs;
  }

  listen(on: (news: readonly FileNews[]) => void): void {
    this.#onNews = on;
  }

  step(plan: StepPlan, done: (outcome: StepResult | Error) => void): void {
    const elapsedUs = plan.slices.length === 0 ? 0 : stepUs(this.#curve, plan);
    this.#clock.after(elapsedUs, () => {
      const samples = this.#memory.execute(plan);
      const news = this.#memory.takeNews();
      if (news.length > 0) {
        const tookUs = this.#fileUs * news.length;
        this.#clock.after(tookUs, () => this.#onNews(news.map((one) => timed(one, tookUs))));
      }
      done({ samples, elapsedUs });
    });
  }

  /** A block's "KV" is its ids. */
  read(handles: readonly Handle[]): Promise<Uint8Array> {
    return this.#soon(() => {
      const ids = Uint32Array.from(this.#memory.read(handles).flatMap((block) => [...block]));
      return new Uint8Array(ids.buffer);
    });
  }

  write(handles: readonly Handle[], bytes: Uint8Array): Promise<void> {
    return this.#soon(() => {
      const ids = new Uint32Array(bytes.slice().buffer);
      const blockTokens = ids.length / handles.length;
      handles.forEach((handle, i) => {
        this.#memory.write(handle, ids.slice(i * blockTokens, (i + 1) * blockTokens));
      });
    });
  }

  async close(): Promise<void> {}

  #soon<T>(run: () => T): Promise<T> {
    return new Promise((resolve) => {
      this.#clock.after(0, () => resolve(run()));
    });
  }
}

function timed(news: FileNews, elapsedUs: number): FileNews {
  return news.kind === 'loaded' ? { ...news, elapsedUs } : news;
}

const VECTOR_SIZE = 64;

/** The ids of one slot, with a running hash of all of them. */
class Text {
  readonly #model: SimulatedModel;
  #ids = new Uint32Array(1024);
  length = 0;
  #hash = 0;
  #turnStart = 0;
  #turnHash = 0;

  constructor(model: SimulatedModel) {
    this.#model = model;
    this.cut(0);
  }

  append(ids: Uint32Array): void {
    if (this.length + ids.length > this.#ids.length) {
      const grown = new Uint32Array(2 * (this.length + ids.length));
      grown.set(this.#ids.subarray(0, this.length));
      this.#ids = grown;
    }
    this.#ids.set(ids, this.length);
    for (const id of ids) this.#fold(id);
  }

  /** Keeps the first `tokens`. */
  cut(tokens: number): void {
    assert(tokens <= this.length, 'a slot is cut to what it holds');
    const kept = this.#ids.slice(0, tokens);
    this.length = 0;
    this.#hash = (0x811c9dc5 ^ this.#model.seed) | 0;
    this.#turnStart = 0;
    this.#turnHash = this.#hash;
    for (const id of kept) this.#fold(id);
  }

  read(start: number, count: number): Uint32Array {
    assert(start + count <= this.length, 'a block is read where it was computed');
    return this.#ids.slice(start, start + count);
  }

  next(): number {
    const { words, endToken, answerTokensMin, answerTokensMax } = this.#model;
    const wanted = answerTokensMin + spread(this.#turnHash) * (answerTokensMax - answerTokensMin);
    if (this.length - this.#turnStart > wanted) return endToken;
    return words[Math.floor(spread(this.#hash) * words.length)];
  }

  /** A function of the ids, without meaning. */
  vector(): Float32Array {
    const vector = Float32Array.from(
      { length: VECTOR_SIZE },
      (_, i) => 2 * spread(this.#hash ^ Math.imul(i + 1, 0x9e3779b1)) - 1,
    );
    const norm = Math.hypot(...vector);
    return vector.map((value) => value / norm);
  }

  #fold(id: number): void {
    this.#hash = Math.imul(this.#hash ^ id, 0x01000193) ^ (this.#hash >>> 15);
    this.length++;
    if (id !== this.#model.turnToken) return;
    this.#turnStart = this.length;
    this.#turnHash = this.#hash;
  }
}

/** A hash as a number in [0, 1). */
function spread(hash: number): number {
  let z = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
  return ((z ^ (z >>> 16)) >>> 0) / 0x1_0000_0000;
}
