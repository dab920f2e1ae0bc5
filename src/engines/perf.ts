/**
 * How long an engine's steps take: one linear model, read by the scheduler to choose chunks, by the
 * simulated runner to pass time, and fitted from the steps a real runner reports.
 *
 *   step = base + perToken · p + perTokenContext · Σ context + perLooseContext · Σ context of short chunks
 *        + perSequence · d + perContext · Σ context
 *
 * with p prompt tokens computed (each attends to all before it) and d sequences decoded. Attention
 * kernels work on whole tiles of tokens: a chunk shorter than a tile falls back to a slower one
 * (measured on llama.cpp's CPU kernel: 16 tokens at 4k of context cost 12 ms, 64 cost 20), so chunks
 * are whole tiles, a short remainder joins the chunk before it, and a prompt of which less is left takes
 * what lies before it along, where that is sooner done.
 */
import { LinearFit } from '../base/fit.ts';
import type { DecodeLoad, Pace, PromptLeft } from '../kernel/cache/batch.ts';
import type { StepPlan } from '../model/step.ts';

/** Microseconds. */
export interface StepCurve {
  baseUs: number;
  perTokenUs: number;
  perTokenContextUs: number;
  /** Instead of `perTokenContextUs`, for chunks shorter than a tile. */
  perLooseContextUs: number;
  perSequenceUs: number;
  perContextUs: number;
}

const TILE_TOKENS = 64;
const BLOCK_TOKENS = 16;

/** Features are scaled so that each is about 1 in a usual step. */
const SCALE = { tokens: 100, tokenContext: 100_000, sequences: 1, context: 10_000 };

export class FittedPace implements Pace {
  readonly #fit: LinearFit;

  constructor(prior: StepCurve) {
    const weights = [
      prior.baseUs,
      prior.perTokenUs * SCALE.tokens,
      prior.perTokenContextUs * SCALE.tokenContext,
      prior.perLooseContextUs * SCALE.tokenContext,
      prior.perSequenceUs * SCALE.sequences,
      prior.perContextUs * SCALE.context,
    ];
    this.#fit = new LinearFit(weights, { unsureness: 1, noise: 0.15, drift: 0.001 });
  }

  observe(plan: StepPlan, elapsedUs: number): void {
    const load = loadOf(plan);
    const features = [
      1,
      load.promptTokens / SCALE.tokens,
      load.tiledContext / SCALE.tokenContext,
      load.looseContext / SCALE.tokenContext,
      load.decodes / SCALE.sequences,
      load.decodeContext / SCALE.context,
    ];
    this.#fit.observe(features, elapsedUs);
  }

  chunkTokens(prompt: PromptLeft, beside: DecodeLoad, stepUs: number): number {
    return chunkWithin(stepUs, this.curve(), prompt, beside);
  }

  againTokens(prompt: PromptLeft): number {
    return toWholeTile(this.curve(), prompt);
  }

  computeUs(position: number, count: number): number {
    const tokenContext = this.#fit.weight(2) / SCALE.tokenContext;
    const token = this.#fit.weight(1) / SCALE.tokens;
    return count * (token + tokenContext * (position + count / 2));
  }

  curve(): StepCurve {
    return {
      baseUs: this.#fit.weight(0),
      perTokenUs: this.#fit.weight(1) / SCALE.tokens,
      perTokenContextUs: this.#fit.weight(2) / SCALE.tokenContext,
      perLooseContextUs: this.#fit.weight(3) / SCALE.tokenContext,
      perSequenceUs: this.#fit.weight(4) / SCALE.sequences,
      perContextUs: this.#fit.weight(5) / SCALE.context,
    };
  }
}

/** A pace that is known, not learned: the simulated engine's. */
export class FixedPace implements Pace {
  readonly #curve: StepCurve;

  constructor(curve: StepCurve) {
    this.#curve = curve;
  }

  observe(): void {}

  computeUs(position: number, count: number): number {
    const { perTokenUs, perTokenContextUs } = this.#curve;
    return count * (perTokenUs + perTokenContextUs * (position + count / 2));
  }

  chunkTokens(prompt: PromptLeft, beside: DecodeLoad, stepUs: number): number {
    return chunkWithin(stepUs, this.#curve, prompt, beside);
  }

  againTokens(prompt: PromptLeft): number {
    return toWholeTile(this.#curve, prompt);
  }
}

export function stepUs(curve: StepCurve, plan: StepPlan): number {
  const load = loadOf(plan);
  return Math.round(
    curve.baseUs +
      curve.perTokenUs * load.promptTokens +
      curve.perTokenContextUs * load.tiledContext +
      curve.perLooseContextUs * load.looseContext +
      curve.perSequenceUs * load.decodes +
      curve.perContextUs * load.decodeContext,
  );
}

/** What one step holds, in the units of the model. */
interface StepLoad {
  promptTokens: number;
  /** Sum over prompt tokens of the tokens before them, in chunks of a tile and more. */
  tiledContext: number;
  looseContext: number;
  decodes: number;
  decodeContext: number;
}

function loadOf(plan: StepPlan): StepLoad {
  const load = { promptTokens: 0, tiledContext: 0, looseContext: 0, decodes: 0, decodeContext: 0 };
  for (const { tokens, position } of plan.slices) {
    const count = tokens.length;
    const context = count * (position + count / 2);
    if (count === 1) {
      load.decodes++;
      load.decodeContext += context;
      continue;
    }
    load.promptTokens += count;
    if (count >= TILE_TOKENS) load.tiledContext += context;
    else load.looseContext += context;
  }
  return load;
}

/**
 * As many whole tiles of the prompt as `stepUs` has room for beside these decodes, at least one where
 * half of it fits; whole blocks where a tile takes far too long and a block is much shorter, as on large
 * models.
 */
function chunkWithin(
  stepUs: number,
  curve: StepCurve,
  { position, left, max }: PromptLeft,
  beside: DecodeLoad,
): number {
  const room =
    stepUs -
    curve.baseUs -
    curve.perSequenceUs * beside.count -
    curve.perContextUs * beside.contextTokens;
  const fitting = tokensWithin(room, position, curve);
  const inTiles = fitting >= TILE_TOKENS / 2 || isBlockInVain(position, curve);
  const unit = inTiles ? TILE_TOKENS : BLOCK_TOKENS;
  const chunk = Math.min(Math.max(unit, Math.floor(fitting / unit) * unit), max);
  return left - chunk < unit && left <= max ? left : Math.min(chunk, left);
}

/**
 * Late in a long prompt attention is nearly all there is, and the slower kernel takes for a block what
 * the other takes for half a tile and more: four times the steps, and none of them much shorter.
 */
function isBlockInVain(position: number, curve: StepCurve): boolean {
  const attended = position + BLOCK_TOKENS / 2;
  const block = BLOCK_TOKENS * (curve.perTokenUs + curve.perLooseContextUs * attended);
  const tile = TILE_TOKENS * (curve.perTokenUs + curve.perTokenContextUs * attended);
  return 2 * block > tile;
}

/** Tokens before what is left of a prompt that make a tile with it; 0 where that takes no less time. */
function toWholeTile(curve: StepCurve, { position, left, max }: PromptLeft): number {
  const again = TILE_TOKENS - left;
  // One alone is computed as one that is decoded.
  if (left === 1 || again <= 0 || again > position || max < TILE_TOKENS) return 0;
  const { perTokenUs, perTokenContextUs, perLooseContextUs } = curve;
  const loose = left * (perTokenUs + perLooseContextUs * (position + left / 2));
  const tiled =
    TILE_TOKENS * (perTokenUs + perTokenContextUs * (position - again + TILE_TOKENS / 2));
  return tiled < loose ? again : 0;
}

/** The largest n with perToken·n + perTokenContext·n·(position + n/2) ≤ us. */
function tokensWithin(us: number, position: number, curve: StepCurve): number {
  const linear = curve.perTokenUs + curve.perTokenContextUs * position;
  const quadratic = curve.perTokenContextUs / 2;
  if (us <= 0) return 0;
  if (quadratic < 1e-9) return linear > 0 ? us / linear : Number.MAX_SAFE_INTEGER;
  return (Math.sqrt(linear * linear + 4 * quadratic * us) - linear) / (2 * quadratic);
}
