/** What a worker says of itself: one JSON line at start, and GET /stator/v1/card. */
import { z } from 'zod';
import type { WorkerId } from './ids.ts';
import type { Worker, WorkerAbout } from './worker.ts';

export const WorkerCard = z.strictObject({
  stator: z.string().describe('Version of the worker.'),
  name: z.string(),
  pid: z.int(),
  engine: z.enum(['llama', 'sim']),
  device: z
    .string()
    .describe('What computes, and with how many threads; modelled where nothing does.'),
  machine: z.string().describe('Equal for workers of one machine; names nobody.'),
  url: z.string().describe('Base address; routes of a vLLM server under /v1.'),
  events: z
    .strictObject({
      endpoint: z.string().describe('ZeroMQ PUB socket with KV events as vLLM publishes them.'),
      replay: z.string().describe('ZeroMQ ROUTER socket that repeats recent events.'),
      topic: z.string(),
    })
    .nullable(),
  model: z.strictObject({
    name: z.string(),
    fingerprint: z.string().describe('Changes whenever KV of one may not be used by the other.'),
    architecture: z.string(),
    parameters: z.int(),
    contextTokens: z.int().describe('Served; may be less than the model was made for.'),
    demo: z.boolean().describe('Random weights: text is noise, speed and reuse are real.'),
  }),
  tokens: z.strictObject({
    mode: z
      .enum(['exact', 'passThrough'])
      .describe('Whether prompts may come as token ids rendered by the gateway.'),
    reason: z.string().describe('Why not exact; empty where it is.'),
    slicesChecked: z.int().describe('Text slices encoded by both sides at start.'),
    slicesDiffering: z.int(),
  }),
  cache: z.strictObject({
    blockTokens: z.int(),
    slots: z.int(),
    kvTokens: z.int().describe('Distinct tokens kept, over all tiers.'),
    hostBlocks: z.int().describe('Blocks the host store can hold; 0 where it is off.'),
    blockBytes: z.int(),
    selfTest: z
      .enum(['passed', 'failed', 'notNeeded'])
      .describe('Slice, rebuild, compare logits; failed means recompute instead of rebuild.'),
  }),
  pace: z
    .strictObject({
      perTokenUs: z.number(),
      perTokenContextUs: z.number(),
      stepUs: z.number(),
      perSequenceUs: z.number(),
    })
    .describe(
      'Prefill of u tokens that end at c: perToken·u + perTokenContext·u·(c − u/2); a decode step.',
    ),
  memory: z.strictObject({
    budgetBytes: z.int(),
    weightsBytes: z.int(),
    slotsBytes: z.int(),
    storeBytes: z.int(),
  }),
  disk: z
    .strictObject({
      folder: z
        .string()
        .describe('This worker’s own; nobody else writes there. Empty: only modelled.'),
      bytes: z.int().describe('What its files may take.'),
      blocks: z.int().describe('Blocks that fit.'),
      blocksFound: z.int().describe('Left by an earlier run, and usable.'),
    })
    .nullable()
    .describe('Null where no KV is kept on disk.'),
  requestsMax: z.int().describe('Running and waiting together; more is refused with 503.'),
  startMs: z.int(),
});
export type WorkerCard = z.infer<typeof WorkerCard>;

/** The worker as the kernel knows it. */
export function workerOf(id: WorkerId, card: WorkerCard): Worker {
  const { perTokenUs, perTokenContextUs, stepUs, perSequenceUs } = card.pace;
  return {
    id,
    models: [card.model.name],
    blockTokens: card.cache.blockTokens,
    contextTokens: card.model.contextTokens,
    slots: card.cache.slots,
    requestsMax: card.requestsMax,
    cacheTokens: card.cache.kvTokens,
    hasEvents: card.events !== null,
    class: classOf(card),
    kvLayout: kvLayoutOf(card),
    takesWishes: card.cache.hostBlocks > 0 ? true : undefined,
    prefill: { perTokenUs, perTokenContextUs },
    decode: { stepUs, perSequenceUs },
  };
}

export function aboutOf(card: WorkerCard): WorkerAbout {
  const { model, tokens } = card;
  return {
    engine: card.engine,
    url: card.url,
    model: model.name,
    fingerprint: model.fingerprint,
    demo: model.demo,
    tokensMode: tokens.mode,
    card,
  };
}

/** What comes to a worker lands in its host store. */
function kvLayoutOf({ stator, engine, model, cache }: WorkerCard): string | undefined {
  if (cache.hostBlocks === 0) return undefined;
  return `${stator} ${engine} ${model.fingerprint} ${cache.blockTokens} ${cache.blockBytes}`;
}

/** Equal weights on equal engines of one machine are equally fast, whatever each measured at its start. */
function classOf({ engine, model, device, machine }: WorkerCard): string {
  return `${engine} ${model.fingerprint} ${device} ${machine}`;
}
