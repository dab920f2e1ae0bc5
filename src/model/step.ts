/**
 * One step of an engine, as its scheduler orders it and its runner executes it. The scheduler
 * (kernel/cache) decides and never touches memory; the runner executes and never decides.
 *
 *   plan = moves (in order, before computing)  +  slices (one per sequence, ascending slots)
 */
import type { Sampling } from './request.ts';

/** Numbers a sequence within one engine; never reused. */
export type SequenceId = number;

/** Names a block in the runner's host store; the scheduler hands them out. */
export type Handle = number;

export interface StepPlan {
  moves: Move[];
  slices: Slice[];
}

export type Move =
  /** A sequence begins: its sampler is set up. */
  | { kind: 'open'; sequence: SequenceId; sampling: Sampling; digests: boolean }
  /** It ended: its sampler goes. */
  | { kind: 'close'; sequence: SequenceId }
  /** Keep the first `tokens` of the slot, drop the rest. */
  | { kind: 'cut'; slot: number; tokens: number }
  /** Copy blocks of the slot to the host store: the block at `index` goes to `handles[i]`. */
  | { kind: 'copyOut'; slot: number; indexes: number[]; handles: Handle[] }
  /** The slot's content becomes exactly these blocks, in order. */
  | { kind: 'copyIn'; slot: number; handles: Handle[] };

export interface Slice {
  slot: number;
  sequence: SequenceId;
  /** Token ids to compute now. */
  tokens: Uint32Array;
  /** Of the first of them in its sequence: the slot holds exactly so many tokens before. */
  position: number;
  /** Whether the last token's logits are wanted, and a token sampled from them. */
  sample: boolean;
}

export interface StepResult {
  /** One for each slice that sampled, in slice order. */
  samples: Sample[];
  /** Time the engine itself took. */
  elapsedUs: number;
}

export interface Sample {
  sequence: SequenceId;
  token: number;
  /** A digest of the logits row, where asked for: equal digests mean bit-equal logits. */
  logitsDigest?: string;
}
