/** What a small simulated worker says of itself, for tests of whoever reads cards. */
import type { WorkerCard } from '../src/model/worker-card.ts';

export function workerCard(): WorkerCard {
  return {
    stator: '0',
    name: 'a',
    pid: 1,
    engine: 'sim',
    device: 'modelled',
    machine: 'm',
    url: 'http://a',
    events: { endpoint: 'tcp://card:1', replay: 'tcp://card:2', topic: 'kv-events' },
    model: {
      name: 'm',
      fingerprint: 'f',
      architecture: 'a',
      parameters: 1,
      contextTokens: 4096,
      demo: true,
    },
    tokens: { mode: 'exact', reason: '', slicesChecked: 1, slicesDiffering: 0 },
    cache: {
      blockTokens: 16,
      slots: 2,
      kvTokens: 8192,
      hostBlocks: 0,
      blockBytes: 1,
      selfTest: 'notNeeded',
    },
    pace: { perTokenUs: 1, perTokenContextUs: 0, stepUs: 1, perSequenceUs: 1 },
    memory: { budgetBytes: 1, weightsBytes: 1, slotsBytes: 1, storeBytes: 0 },
    disk: null,
    requestsMax: 8,
    startMs: 1,
  };
}
