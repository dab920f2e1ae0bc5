/** One answer from both indexes: how much of a prompt a worker holds, and how far that is believed. */
import type { BlockHashes } from '../../model/block.ts';
import type { WorkerId } from '../../model/ids.ts';
import type { WorkerMode } from '../../model/worker.ts';
import type { Matched } from './depths.ts';
import type { ExactIndex } from './exact.ts';
import type { PredictedIndex } from './predicted.ts';

export interface Overlap {
  /** Leading blocks of the prompt that are held, by tier; undefined: not even the first. */
  matched(worker: WorkerId, mode: WorkerMode): Matched | undefined;
  /** The same in any tier. */
  blocks(worker: WorkerId, mode: WorkerMode): number;
}

/** Looks into each index at most once, for all workers. Read it before the next one is made. */
export function overlapOf(
  nowUs: number,
  hashes: BlockHashes,
  { exact, predicted }: { exact: ExactIndex; predicted: PredictedIndex },
): Overlap {
  exact.look(hashes);
  let isPredicted = false;
  const matched = (worker: WorkerId, mode: WorkerMode) => {
    if (mode === 'exact') return exact.matched(worker);
    if (mode === 'loadOnly') return undefined;
    if (!isPredicted) predicted.look(nowUs, hashes);
    isPredicted = true;
    return predicted.matched(worker);
  };
  return { matched, blocks: (worker, mode) => matched(worker, mode)?.disk ?? 0 };
}
