/**
 * Memory is divided before anything is allocated: weights, then slots, then the host store. What does
 * not fit is lowered, in words, before it is ever over-committed.
 */
import { bytes, thousands } from '../base/text.ts';

export interface BudgetInput {
  memoryBytes: number;
  weightsBytes: number;
  /** K and V of one token over all layers. */
  kvBytesPerToken: number;
  /** So many, if memory allows; or as many within these bounds as fit at the served context. */
  slots: number | { min: number; max: number };
  /** What the model was made for, and what was asked for, if anything was. */
  modelContextTokens: number;
  contextTokens: number | undefined;
  blockTokens: number;
  /** Most distinct tokens to keep, if bounded. */
  kvTokens: number | undefined;
  /** Blocks that files may hold. */
  diskBlocks: number;
  /** A slot's context is a multiple of this. */
  contextUnit: number;
}

export interface Budget {
  slots: number;
  contextTokens: number;
  /** Distinct blocks kept over all tiers. */
  blocksMax: number;
  hostBlocks: number;
  weightsBytes: number;
  slotsBytes: number;
  storeBytes: number;
  /** What was lowered, a sentence each. */
  notes: string[];
}

/**
 * The process itself, and the engine's compute buffers. Under load the JavaScript heap holds up to some
 * 60 MB of garbage more for a while (measured with 200 MB: 151 MiB idle, 209 MiB under load), whatever
 * the budget is.
 */
export const OVERHEAD_BYTES = 168 * 1024 * 1024;
/** Slots get at most this share of what weights leave; the rest keeps idle sessions. */
const SLOTS_SHARE = 0.6;
const CONTEXT_MIN = 1024;
/** Blocks are cut out of a copy of a whole slot, and put together in one. */
const SCRATCH_SLOTS = 1;

/** Throws one sentence where not even one small slot fits. */
export function divide(input: BudgetInput): Budget {
  const { memoryBytes, weightsBytes, kvBytesPerToken, blockTokens, contextUnit } = input;
  const left = memoryBytes - weightsBytes - OVERHEAD_BYTES;
  const least = (1 + SCRATCH_SLOTS) * CONTEXT_MIN * kvBytesPerToken;
  if (left * SLOTS_SHARE < least) {
    const needed = weightsBytes + OVERHEAD_BYTES + least / SLOTS_SHARE;
    throw new Error(
      `This model needs at least ${bytes(needed)} a worker, but --memory leaves ${bytes(memoryBytes)}; raise --memory, start fewer workers, or take a smaller model.`,
    );
  }
  const notes: string[] = [];
  const wanted = wholeUnits(
    Math.min(input.contextTokens ?? input.modelContextTokens, input.modelContextTokens),
    contextUnit,
  );
  const room = left * SLOTS_SHARE;
  const tokensHeld = room / kvBytesPerToken;
  const { slots, note } = slotsOf(input.slots, { wanted, tokensHeld });
  if (note !== undefined) notes.push(note);
  const fitting = wholeUnits(tokensHeld / (slots + SCRATCH_SLOTS), contextUnit);
  const contextTokens = Math.min(wanted, fitting);
  if (contextTokens < wanted) {
    notes.push(
      `context lowered from ${thousands(wanted)} to ${thousands(contextTokens)} tokens, so that ${slots} slots fit`,
    );
  }
  const slotsBytes = slots * contextTokens * kvBytesPerToken;
  const blockBytes = blockTokens * kvBytesPerToken;
  const scratchBytes = SCRATCH_SLOTS * contextTokens * kvBytesPerToken;
  const hostBlocksMax = Math.floor((left - slotsBytes - scratchBytes) / blockBytes);
  const blocksHeld =
    hostBlocksMax + Math.floor((slots * contextTokens) / blockTokens) + input.diskBlocks;
  const bound = input.kvTokens === undefined ? blocksHeld : Math.ceil(input.kvTokens / blockTokens);
  const blocksMax = Math.min(bound, blocksHeld);
  const hostBlocks = Math.min(blocksMax, hostBlocksMax);
  if (bound > blocksHeld) {
    notes.push(
      `kept KV lowered from ${thousands(bound * blockTokens)} to ${thousands(blocksMax * blockTokens)} tokens`,
    );
  }
  return {
    slots,
    contextTokens,
    blocksMax,
    hostBlocks,
    weightsBytes,
    slotsBytes,
    storeBytes: hostBlocks * blockBytes,
    notes,
  };
}

/** So many were asked for: they go before context. None were: context goes before slots. */
function slotsOf(
  asked: BudgetInput['slots'],
  { wanted, tokensHeld }: { wanted: number; tokensHeld: number },
): { slots: number; note?: string } {
  if (typeof asked === 'number') {
    const fitting = Math.floor(tokensHeld / Math.min(wanted, CONTEXT_MIN)) - SCRATCH_SLOTS;
    if (fitting >= asked) return { slots: asked };
    const slots = Math.max(1, fitting);
    return { slots, note: `slots lowered from ${asked} to ${slots}` };
  }
  const fitting = Math.floor(tokensHeld / wanted) - SCRATCH_SLOTS;
  if (fitting >= asked.max) return { slots: asked.max };
  if (fitting < asked.min) return { slots: asked.min };
  return {
    slots: fitting,
    note: `${fitting} of at most ${asked.max} slots fit with ${thousands(wanted)} tokens of context each; --slots or --context divides memory otherwise`,
  };
}

function wholeUnits(tokens: number, unit: number): number {
  return Math.max(unit, Math.floor(tokens / unit) * unit);
}
