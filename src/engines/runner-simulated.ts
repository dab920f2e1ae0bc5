/**
 * A runner whose step only takes time. Its "KV" is the ids themselves, so every move of the scheduler
 * is really carried out and a wrong one is caught at once: a slice must continue exactly what its
 * slot holds.
 *
 * What it answers is a function of the ids before it and a seed, so any worker continues any other's
 * answer. An answer's length is counted from the last turn marker and ends with an end token.
 */
import { assert, must } from '../base/assert.ts';
import type { Handle, Move, Sample, Slice, StepPlan, StepResult } from '../model/step.ts';
import type { Clock, Runner } from '../ports.ts';
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

  constructor(slots: number, model: SimulatedModel) {
    this.#model = model;
    this.#slots = Array.from({ length: slots }, () => new Text(model));
  }

  execute(plan: StepPlan): Sample[] {
    for (const move of plan.moves) this.#move(move);
    const samples: Sample[] = [];
    for (const slice of plan.slices) {
      this.#compute(slice);
      if (!slice.sample) continue;
      samples.push({ sequence: slice.sequence, token: this.#slots[slice.slot].next() });
    }
    return samples;
  }

  #move(move: Move): void {
    const { blockTokens } = this.#model;
    switch (move.kind) {
      case 'open':
      case 'close':
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
        for (const handle of move.handles) {
          text.append(must(this.#host.get(handle), 'a handle is written before it is read'));
        }
        return;
      }
    }
  }

  #compute(slice: Slice): void {
    const text = this.#slots[slice.slot];
    assert(text.length === slice.position, 'a slice continues what its slot holds');
    text.append(slice.tokens);
  }
}

/** Runs `SimulatedMemory` on a clock. */
export class RunnerSimulated implements Runner {
  readonly #memory: SimulatedMemory;
  readonly #curve: StepCurve;
  readonly #clock: Clock;

  constructor(given: { memory: SimulatedMemory; curve: StepCurve; clock: Clock }) {
    this.#memory = given.memory;
    this.#curve = given.curve;
    this.#clock = given.clock;
  }

  step(plan: StepPlan, done: (outcome: StepResult | Error) => void): void {
    const elapsedUs = plan.slices.length === 0 ? 0 : stepUs(this.#curve, plan);
    this.#clock.after(elapsedUs, () => {
      done({ samples: this.#memory.execute(plan), elapsedUs });
    });
  }

  async close(): Promise<void> {}
}

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
