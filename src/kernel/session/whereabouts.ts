/** Where the KV of a prompt lies now, and what it saved that some of it was there. */
import type { BlockHashes, Tier } from '../../model/block.ts';
import type { WorkerId } from '../../model/ids.ts';
import type { ExactIndex } from '../index/exact.ts';
import { overlapOf } from '../index/overlap.ts';
import type { PredictedIndex } from '../index/predicted.ts';
import type { Workers } from '../workers.ts';

/** So many leading tokens, beyond those of nearer tiers. */
export interface Held {
  worker: WorkerId;
  tier: Tier;
  tokens: number;
}

export class Whereabouts {
  readonly #parts: { workers: Workers; exact: ExactIndex; predicted: PredictedIndex };

  constructor(parts: { workers: Workers; exact: ExactIndex; predicted: PredictedIndex }) {
    this.#parts = parts;
  }

  /** Of the prompt's full blocks, in every worker of the model that is believed to hold the first. */
  of(nowUs: number, { model, hashes }: { model: string; hashes: BlockHashes }): Held[] {
    if (hashes.length === 0) return [];
    const { workers, ...indexes } = this.#parts;
    const overlap = overlapOf(nowUs, hashes, indexes);
    const found: Held[] = [];
    for (const { worker, mode } of workers.serving(model)) {
      const matched = overlap.matched(worker.id, mode);
      if (matched === undefined) continue;
      const { device, host, disk } = matched;
      for (const [tier, blocks] of [
        ['device', device],
        ['host', host - device],
        ['disk', disk - host],
      ] as const) {
        if (blocks > 0)
          found.push({ worker: worker.id, tier, tokens: blocks * worker.blockTokens });
      }
    }
    return found;
  }

  /** Microseconds of prefill, as the worker's curve prices it, that cached tokens saved; 0 where it is gone. */
  savedUs(
    worker: WorkerId,
    { promptTokens, cachedTokens }: { promptTokens: number; cachedTokens: number },
  ): number {
    const curve = this.#parts.workers.get(worker)?.curve;
    if (curve === undefined || cachedTokens === 0) return 0;
    const priced = (uncachedTokens: number) =>
      curve.prefillUs({
        ...{ uncachedTokens, contextTokens: promptTokens },
        ...{ hostTokens: 0, diskTokens: 0, decoding: 0 },
      });
    return Math.max(0, Math.round(priced(promptTokens) - priced(promptTokens - cachedTokens)));
  }
}
