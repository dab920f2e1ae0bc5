/** The kernel's state as plain data, for the page. */
import type { WorkerId } from '../model/ids.ts';
import type { WorkerMode } from '../model/worker.ts';
import type { Confidence, Evidence } from './confidence.ts';
import type { ExactIndex } from './index/exact.ts';
import type { PredictedIndex } from './index/predicted.ts';
import type { Workers } from './workers.ts';

export interface KernelState {
  policy: string;
  waiting: number;
  /** Programs that the gate lets wait. */
  gatedPrograms: number;
  running: number;
  liveThreads: number;
  workers: WorkerReport[];
}

interface WorkerReport {
  id: WorkerId;
  healthy: boolean;
  draining: boolean;
  mode: WorkerMode;
  confidence: Evidence;
  requests: number;
  /** Those that give way to all others, which `requests` does not count. */
  idleRequests: number;
  /** As its answers show: `trial`: one request at a time, `unfit`: none. */
  fitness: 'fit' | 'trial' | 'unfit';
  /** Something before it holds its streams back. */
  heldBack: boolean;
  indexedBlocks: number;
  blockTokens: number;
  liveThreads: number;
  liveTokens: number;
  /** What its class's price curves were fitted to. */
  curve: { prefills: number; answers: number };
}

export function workerReports(parts: {
  workers: Workers;
  exact: ExactIndex;
  predicted: PredictedIndex;
  confidence: Confidence;
}): WorkerReport[] {
  return [...parts.workers.values()].map(
    ({ worker, healthy, draining, mode, load, live, curve, ...state }) => {
      const { fitness = 'fit', heldBack = false } = state;
      const { id, blockTokens } = worker;
      const index = mode === 'exact' ? parts.exact : parts.predicted;
      return {
        id,
        healthy,
        draining,
        mode,
        confidence: parts.confidence.evidence(id),
        requests: load.requests,
        idleRequests: load.idleRequests,
        fitness,
        heldBack,
        indexedBlocks: index.count(id),
        blockTokens,
        liveThreads: live.threads,
        liveTokens: live.tokens,
        curve: curve.observations,
      };
    },
  );
}
