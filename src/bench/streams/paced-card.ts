/** What the paced engine says of itself: a worker with room for any number of streams, told by no events. */
import type { WorkerCard } from '../../model/worker-card.ts';

const STREAMS_MAX = 20_000;
const CONTEXT_TOKENS = 262_144;
const KV_TOKENS = 64 * 1024 * 1024;

export function pacedCard(given: {
  url: string;
  model: string;
  fingerprint: string;
  version: string;
}): WorkerCard {
  return {
    stator: given.version,
    name: 'paced',
    pid: process.pid,
    engine: 'sim',
    device: 'none: events at an even pace',
    machine: 'bench',
    url: given.url,
    events: null,
    model: {
      name: given.model,
      fingerprint: given.fingerprint,
      architecture: 'none',
      parameters: 0,
      contextTokens: CONTEXT_TOKENS,
      demo: true,
    },
    tokens: { mode: 'exact', reason: '', slicesChecked: 0, slicesDiffering: 0 },
    cache: {
      blockTokens: 16,
      slots: STREAMS_MAX,
      kvTokens: KV_TOKENS,
      hostBlocks: 0,
      blockBytes: 1,
      selfTest: 'notNeeded',
    },
    pace: { perTokenUs: 1, perTokenContextUs: 0, stepUs: 1, perSequenceUs: 1 },
    memory: { budgetBytes: 0, weightsBytes: 0, slotsBytes: 0, storeBytes: 0 },
    disk: null,
    requestsMax: STREAMS_MAX,
    startMs: 0,
  };
}
