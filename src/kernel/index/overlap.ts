/** One answer from both indexes: how much of a prompt a worker holds, and how far that is believed. */
import type { BlockHashes } from '../../model/block.ts';
import type { WorkerId } from '../../model/ids.ts';
import type { WorkerMode } from '../../model/worker.ts';
import type { ExactIndex } from './exact.ts';
import type { PredictedIndex } from './predicted.ts';

export interface Overlap {
  /** Leading blocks of the prompt that are held. */
  blocks(worker: WorkerId, mode: WorkerMode): number;
}

/** Walks the exact index once, for all workers. */
export function overlapOf(
  nowUs: number,
  hashes: BlockHashes,
  indexes: { exact: ExactIndex; predicted: PredictedIndex },
): Overlap {
  const exact = indexes.exact.depths(hashes);
  return {
    blocks(worker, mode) {
      if (mode === 'exact') return exact.get(worker) ?? 0;
      if (mode === 'predicted') return indexes.predicted.depth(nowUs, worker, hashes);
      return 0;
    },
  };
}
