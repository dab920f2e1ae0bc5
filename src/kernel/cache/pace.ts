import type { StepPlan } from '../../model/step.ts';

/** How long steps take, learned from those that were. */
export interface Pace {
  /** How many of the prompt's tokens to compute in a step that should take `stepUs`; at least 1. */
  chunkTokens(prompt: PromptLeft, beside: DecodeLoad, stepUs: number): number;
  /** Tokens before a prompt's end that are best computed once more with it: alone it would take longer. */
  againTokens(prompt: PromptLeft): number;
  observe(plan: StepPlan, elapsedUs: number): void;
  /** Microseconds to compute `count` tokens of a prompt after `position` others. */
  computeUs(position: number, count: number): number;
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
