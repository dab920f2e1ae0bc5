/**
 * Run before an engine serves: does a slot rebuilt from blocks compute exactly what the original
 * would have, and how fast are steps here. Any surprise switches the block store off, in words.
 */
import type { StepCurve } from '../perf.ts';
import type { ContextSettings, LlamaContext } from './context.ts';

export interface SelfTest {
  rebuild: { kind: 'passed' } | { kind: 'failed'; reason: string };
  curve: StepCurve;
}

const TOKENS = 64;
/** Shorter than a tile of the attention kernel, which takes another then. */
const LOOSE_TOKENS = 16;

export function selfTest(context: LlamaContext, settings: ContextSettings): SelfTest {
  const tokensMax = Math.min(MEASURE_TOKENS, settings.contextTokens - TOKENS);
  return { rebuild: checkRebuild(context, settings), curve: measure(context, tokensMax) };
}

/** Prefill, slice, rebuild in another slot, compare the logits of the same last chunk. */
function checkRebuild(context: LlamaContext, settings: ContextSettings): SelfTest['rebuild'] {
  const { slots, blockTokens } = settings;
  const blocks = TOKENS / blockTokens - 1;
  if (settings.hostBlocks < blocks)
    return { kind: 'failed', reason: 'there is no room for blocks' };
  const ids = sampleIds(context.vocabularySize, TOKENS);
  const kept = blocks * blockTokens;
  const other = slots - 1;
  const tail = { sequence: 0, tokens: ids.slice(kept), position: kept, sample: true };
  try {
    context.logitsOf({
      slot: 0,
      sequence: 0,
      tokens: ids.slice(0, kept),
      position: 0,
      sample: true,
    });
    const indexes = Array.from({ length: blocks }, (_, i) => i);
    context.copyOut(0, indexes, indexes);
    const original = context.logitsOf({ slot: 0, ...tail });
    context.copyIn(other, indexes);
    const rebuilt = context.logitsOf({ slot: other, ...tail });
    for (let i = 0; i < original.length; i++) {
      if (original[i] !== rebuilt[i]) {
        return { kind: 'failed', reason: 'logits differ after a slot was rebuilt from blocks' };
      }
    }
    return { kind: 'passed' };
  } catch (error) {
    return { kind: 'failed', reason: (error as Error).message };
  } finally {
    context.cut(0, 0);
    context.cut(other, 0);
  }
}

/** A first guess of step times, refined by every step that is served. */
function measure(context: LlamaContext, tokensMax: number): StepCurve {
  const time = (position: number, count: number) => {
    const tokens = sampleIds(context.vocabularySize, count);
    const start = process.hrtime.bigint();
    context.logitsOf({ slot: 0, sequence: 0, tokens, position, sample: true });
    return Number((process.hrtime.bigint() - start) / 1000n);
  };
  time(0, TOKENS);
  const chunks: { position: number; us: number }[] = [];
  let spentUs = 0;
  for (let position = TOKENS; position < tokensMax && spentUs < MEASURE_US; position += TOKENS) {
    const us = time(position, TOKENS);
    chunks.push({ position, us });
    spentUs += us;
  }
  const end = TOKENS * (chunks.length + 1);
  const singleUs = Math.min(time(end, 1), time(end + 1, 1), time(end + 2, 1));
  const looseUs = Math.min(time(end + 3, LOOSE_TOKENS), time(end + 3 + LOOSE_TOKENS, LOOSE_TOKENS));
  context.cut(0, 0);
  const { offset, slope } = line(chunks);
  const baseUs = Math.min(singleUs, offset) / 4;
  const perTokenUs = (offset - baseUs) / TOKENS;
  return {
    baseUs,
    perTokenUs,
    perTokenContextUs: slope / TOKENS,
    perLooseContextUs: Math.max(slope / TOKENS, (looseUs / LOOSE_TOKENS - perTokenUs) / end),
    perSequenceUs: Math.max(0, singleUs - baseUs - end * (slope / TOKENS)),
    perContextUs: slope / TOKENS,
  };
}

const MEASURE_TOKENS = 1024;
const MEASURE_US = 200_000;

/** Least squares through the chunks' times over their positions; never falling. */
function line(chunks: readonly { position: number; us: number }[]): {
  offset: number;
  slope: number;
} {
  const n = chunks.length;
  const meanX = chunks.reduce((sum, { position }) => sum + position, 0) / n;
  const meanY = chunks.reduce((sum, { us }) => sum + us, 0) / n;
  let xy = 0;
  let xx = 0;
  for (const { position, us } of chunks) {
    xy += (position - meanX) * (us - meanY);
    xx += (position - meanX) ** 2;
  }
  const slope = xx === 0 ? 0 : Math.max(0, xy / xx);
  return { offset: Math.max(1, meanY - slope * meanX), slope };
}

function sampleIds(vocabularySize: number, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => (i * 7919 + 13) % vocabularySize);
}
