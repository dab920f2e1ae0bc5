/**
 * Every setting and every default of Stator: nothing below has a default of its own.
 * The JSON Schema in docs/contract/ is made from here.
 */
import { z } from 'zod';
import { RunawayConfig, SessionStoreConfig } from './agent-config.ts';
import { DEVICES } from './device.ts';
import { DiscoveryConfig, ModelConfig, WorkerConfig } from './fleet-config.ts';

const count = () => z.int().min(0);
const positive = () => z.int().min(1);

export const KeyConfig = z.strictObject({
  key: z.string().min(8).describe('What the client sends as bearer token or x-api-key.'),
  tenant: z
    .string()
    .min(1)
    .describe('Whose it is: caches, sessions and receipts do not cross tenants.'),
  admin: z
    .boolean()
    .default(false)
    .describe('Whether it may use /stator/v1/ beyond its own tenant.'),
  weight: z
    .number()
    .positive()
    .optional()
    .describe(
      "What the tenant's share counts for where several wait, the largest of its keys; else 1.",
    ),
});

/** The gateway's `stator.yaml`. */
export const Config = z.strictObject({
  listen: z
    .strictObject({
      host: z.string().default('127.0.0.1'),
      port: z.int().min(0).max(65535).default(8000),
    })
    .prefault({}),
  keys: z.array(KeyConfig).default([]),
  trustedProxies: z
    .array(z.string())
    .default([])
    .describe('Addresses whose x-tenant-id counts, besides loopback.'),
  models: z.array(ModelConfig).default([]),
  workers: z.array(WorkerConfig).default([]),
  discovery: z
    .array(DiscoveryConfig)
    .default([])
    .describe('Where more workers are to be found, and which of them are there now.'),
  policy: z.string().default('stator').describe('Who decides where a request runs.'),
  shadows: z
    .array(z.string())
    .default(['random', 'round-robin', 'sticky'])
    .describe('Policies that decide beside it, for comparison only; []: none.'),
  seed: count().default(1).describe('Of every random choice the gateway makes.'),
  limits: z
    .strictObject({
      bodyBytesMax: positive().default(64 * 1024 * 1024),
      bodiesBytesMax: positive()
        .default(512 * 1024 * 1024)
        .describe('Bodies of all requests that are read or answered, together.'),
      headersUsMax: positive()
        .default(15_000_000)
        .describe('A client must send its headers within.'),
      bodyUsMax: positive().default(60_000_000).describe('A client must send its body within.'),
      queueRequestsMax: positive().default(4096).describe('Waiting in the gateway, all tenants.'),
      queueUsMax: positive()
        .default(100_000_000)
        .describe('Longest wait of a request that does not stream, or of a client nobody knows.'),
      streamQueueUsMax: positive()
        .default(300_000_000)
        .describe('Longest wait of a stream whose client is known to wait so long.'),
      holdUs: positive()
        .default(15_000_000)
        .describe('Headers of a stream that waits; until then a refusal has a status of its own.'),
      keepAliveUs: positive()
        .default(15_000_000)
        .describe('Silence in a stream before an event that means nothing.'),
      readerUsMax: positive()
        .default(120_000_000)
        .describe('A client that reads nothing of its answer for so long gets no more of it.'),
      socketsMax: positive()
        .default(4096)
        .describe('WebSockets open at once; more are told to send plain requests.'),
      socketMessagesMax: positive().default(16).describe('Messages that wait on one WebSocket.'),
      socketPingUs: positive()
        .default(30_000_000)
        .describe('Between two pings; who does not answer one is gone.'),
      socketTurnsBytesMax: positive()
        .default(256 * 1024 * 1024)
        .describe('Last turns of all WebSockets, which the next ones go on from.'),
      attemptsMax: positive().default(3).describe('Placements tried before a request fails.'),
      engineSilenceUsMax: positive()
        .default(300_000_000)
        .describe('An engine silent for longer is taken as lost.'),
      threadsMax: positive().default(100_000).describe('Threads remembered per tenant.'),
      tenantsMax: positive().default(10_000),
      toolsMax: positive()
        .default(4096)
        .describe('Tools whose times are remembered, of all tenants.'),
      sessionsBytesMax: positive()
        .default(64 * 1024 * 1024)
        .describe('Remembered of threads, for /stator/v1/sessions.'),
      lineageBytesMax: positive()
        .default(64 * 1024 * 1024)
        .describe('Remembered of conversations, to know them again where clients send no id.'),
      receiptsMax: positive().default(10_000),
      indexBytesMax: z
        .int()
        .min(1024 * 1024)
        .default(512 * 1024 * 1024)
        .describe('Memory for the index of KV blocks, about 35 bytes each; used as it fills.'),
      predictedBlocksMax: positive().default(1_000_000),
      predictedUsMax: positive().default(600_000_000).describe('A placement is believed for.'),
      shadowBlocksMax: positive()
        .default(2_000_000)
        .describe("KV blocks a shadow policy's whole fleet is remembered with; 16 bytes each."),
      receiptsBytesMax: positive()
        .default(32 * 1024 * 1024)
        .describe('Receipts kept, besides their number.'),
      confidenceObservationsMin: positive()
        .default(20)
        .describe('Cached tokens compared before a worker is believed more, or less.'),
      drainUs: positive()
        .default(10_000_000)
        .describe('What runs on a worker that is to go ends within, or goes on elsewhere.'),
      shutdownUsMax: positive().default(5_000_000).describe('Running streams may end within.'),
      promptMemoryBytes: positive()
        .default(256 * 1024 * 1024)
        .describe('Encoded prompts remembered per model, so that a next turn encodes what is new.'),
      encodeHereMax: positive()
        .default(16_384)
        .describe('UTF-16 units of new text; more are encoded in a thread of their own.'),
      requestsPerSlotMax: positive()
        .default(4)
        .describe('Given to a worker per slot; the rest wait where they can still choose.'),
      kvMovesMax: count()
        .default(2)
        .describe('Copies of KV between workers under way at once, ahead of a fan-out; 0: none.'),
      fallbackUs: positive()
        .default(5_000_000)
        .describe('A model that has fallbacks is waited for so long, and no longer.'),
      outputTokensExpected: positive().default(200).describe('Before any answer was seen.'),
      healthUs: positive().default(5_000_000).describe('Between checks of a worker that is well.'),
      recheckUs: positive().default(500_000).describe('Between checks of one that is not.'),
      feedQuietUs: positive()
        .default(2_000_000)
        .describe('Silence after which events are asked for.'),
      feedSilenceUsMax: positive().default(15_000_000).describe('Then ZeroMQ is connected anew.'),
      feedReplayUs: positive()
        .default(2_000_000)
        .describe('Silence after which a replay of events is given up.'),
      feedQueueBytesMax: positive()
        .default(8 * 1024 * 1024)
        .describe('Events of a worker that wait; more are left out and asked for again.'),
      feedNamesBytesMax: positive()
        .default(128 * 1024 * 1024)
        .describe('Names of the blocks of a worker, about 30 bytes a block.'),
      feedOrphansMax: positive()
        .default(8192)
        .describe('Blocks of a worker that wait for their parent to be told of.'),
      feedSliceUs: positive()
        .default(1_000)
        .describe('Events of all workers in one turn of the event loop.'),
      feedResyncUsMin: positive()
        .default(1_000_000)
        .describe('After a loss, before all is asked for; doubles with each failure.'),
      feedResyncUsMax: positive().default(60_000_000),
      feedAskUs: positive()
        .default(50_000)
        .describe('Between two questions to an engine that tells events only when asked.'),
    })
    .prefault({}),
  normalise: z
    .strictObject({
      billingBlock: z
        .boolean()
        .default(true)
        .describe("Drop Claude Code's billing block, which differs from session to session."),
      toolOrder: z
        .boolean()
        .default(true)
        .describe('Keep the order of tools where a client changes it within a thread.'),
      callIds: z
        .boolean()
        .default(true)
        .describe('Keep the first ids of tool calls where a client makes them up anew.'),
      memoryBytes: positive()
        .default(16 * 1024 * 1024)
        .describe('Remembered of threads, to see what changes.'),
    })
    .prefault({})
    .describe('Only what is rendered and hashed: prompts that pass through leave as they came.'),
  speculativePrefill: z
    .enum(['always', 'hinted', 'never'])
    .default('always')
    .describe(
      'Whose next prompt is computed ahead, as far as it is known and while its worker is idle; hinted: only where nvext.agent_hints.speculative_prefill asks for it.',
    ),
  store: z
    .strictObject({
      responses: z
        .strictObject({
          mode: z
            .enum(['files', 'memory', 'off'])
            .default('files')
            .describe('Where responses and conversations are stored; off: no request is.'),
          folder: z.string().optional().describe("By default in Stator's state folder."),
          keepDays: positive().default(30).describe('After the last turn of a conversation.'),
          bytesMax: positive()
            .default(4 * 1024 * 1024 * 1024)
            .describe('All tenants; then the one that has the most loses its oldest.'),
          conversationsMax: positive().default(100_000).describe('The same, counted.'),
          tenantBytesMax: positive()
            .default(1024 * 1024 * 1024)
            .describe('A tenant; then it loses its own oldest.'),
          tenantConversationsMax: positive().default(20_000),
          conversationBytesMax: positive()
            .default(256 * 1024 * 1024)
            .describe('What would make one larger is answered, and not stored.'),
          recentBytesMax: positive()
            .default(64 * 1024 * 1024)
            .describe('Of conversations in memory, ready for their next turn.'),
          backgroundMax: positive()
            .default(1024)
            .describe('Responses that run in the background at once.'),
          backgroundEventBytesMax: positive()
            .default(64 * 1024 * 1024)
            .describe('Their events, for whoever comes back to a stream.'),
        })
        .refine(
          ({ bytesMax, tenantBytesMax, conversationBytesMax }) =>
            bytesMax >= tenantBytesMax && tenantBytesMax >= conversationBytesMax,
          'bytesMax must hold tenantBytesMax, and that conversationBytesMax',
        )
        .prefault({}),
      batches: z
        .strictObject({
          mode: z
            .enum(['files', 'off'])
            .default('files')
            .describe('Where files and batches are kept; off: nobody can send any.'),
          folder: z.string().optional().describe("By default in Stator's state folder."),
          keepDays: positive().default(30).describe('A file, and a batch after it is over.'),
          bytesMax: positive()
            .default(4 * 1024 * 1024 * 1024)
            .describe('All tenants; beyond it uploads are refused, and results end a batch.'),
          tenantBytesMax: positive()
            .default(1024 * 1024 * 1024)
            .describe('The same, a tenant.'),
          tenantFilesMax: positive().default(1000),
          fileBytesMax: positive().default(200 * 1024 * 1024),
          requestsMax: positive().default(50_000).describe('Of a batch.'),
          tenantBatchesMax: positive().default(100).describe('Not over, of a tenant.'),
          runningMax: positive().default(8).describe('Batches at once; others wait for their end.'),
          inFlightMax: positive().default(32).describe('Of a batch, waiting or running.'),
        })
        .prefault({}),
      sessions: SessionStoreConfig.prefault({}),
    })
    .prefault({})
    .describe('What outlives a request, readable by its owner alone; text because clients ask.'),
  runaway: RunawayConfig.prefault({}).describe('When a program that got stuck is stopped.'),
  record: z
    .strictObject({
      file: z.string().min(1).describe('A recording that is there goes on.'),
      text: z.boolean().default(false).describe('Prompts too; else hashes, counts and times.'),
      bytesMax: positive()
        .default(1024 * 1024 * 1024)
        .describe('The recording ends there.'),
    })
    .optional()
    .describe('Requests as a trace: `stator trace`, `sim`, `replay` and `compare` read it.'),
  journal: z.string().optional().describe('File to which every kernel input is appended.'),
});
export type Config = z.infer<typeof Config>;
export type KeyConfig = z.infer<typeof KeyConfig>;

/** One local worker. */
export const WorkerSettings = z.strictObject({
  engine: z.enum(['llama', 'sim']),
  name: z.string().min(1),
  model: z.string().describe('A GGUF file.'),
  modelName: z.string().min(1),
  memoryBytes: positive().describe('Weights, slots and block store together.'),
  slots: z.int().min(1).max(256).optional(),
  contextTokens: positive().optional().describe('Served context; lowered, in words, to what fits.'),
  kvTokens: positive()
    .optional()
    .describe('Most distinct tokens whose KV is kept, over all tiers.'),
  blockTokens: z.literal(16).default(16),
  diskBytes: count().default(0).describe('Of KV kept in files; 0: none is.'),
  diskFolder: z.string().optional().describe('Where; each worker has a subfolder of its own.'),
  threads: positive().default(1),
  device: z
    .enum(DEVICES)
    .default('cpu')
    .describe('What computes; auto: a GPU whose libraries are installed.'),
  exact: z.boolean().default(false),
  allowForcedOutput: z.boolean().default(false),
  chunkUs: positive().default(50_000).describe('Longest engine step, as predicted.'),
  chunkTokensMax: positive().default(512),
  exactChunkTokens: positive().default(256).describe('With --exact, chunks end at its multiples.'),
  waitingRequestsMax: positive().default(1024),
  eventBatchesKept: positive().default(10_000).describe('KV event batches kept for replay.'),
  events: z
    .string()
    .optional()
    .describe('Where KV events are published too: nats://host:port/subject.'),
  tokenSlices: count()
    .default(200)
    .describe('Slices on which both tokenizers are compared at start.'),
  script: z.string().optional().describe('Scripted answers of the simulated engine.'),
  seed: count().default(1),
  kvSecret: z.string().optional(),
});
export type WorkerSettings = z.infer<typeof WorkerSettings>;

/** Of a worker's own HTTP server: its clients are gateways. */
export const HTTP_LIMITS = {
  bodyBytesMax: 64 * 1024 * 1024,
  bodiesBytesMax: 512 * 1024 * 1024,
  readerUsMax: 120_000_000,
  headersUsMax: 15_000_000,
  bodyUsMax: 60_000_000,
  shutdownUsMax: 2_000_000,
} as const;

/** The embedded engine: as many slots as fit at the served context, within these, where none are said. */
export const LLAMA_ENGINE = { slotsMin: 1, slotsMax: 8 } as const;

/** The disk tier. */
export const DISK = {
  /** By default all workers together may take so much, and no larger share of what is free. */
  bytesMax: 10_000_000_000,
  freeShareMax: 0.1,
  /** A file holds so many bytes of blocks, and so many blocks, at most. */
  fileBytesMax: 4 * 1024 * 1024,
  fileBlocksMax: 32,
  /** Written at once: so much KV waits in memory for the disk, at most. */
  dirtyBytesMax: 64 * 1024 * 1024,
  /** And no larger share of a worker's memory. */
  dirtyShareMax: 1 / 16,
} as const;

/**
 * The simulated engine: a small model on a fast accelerator, so that whatever waits for it waits for
 * the gateway and not for the engine.
 */
export const SIMULATED_ENGINE = {
  slots: 16,
  contextTokens: 131_072,
  kvTokens: 350_000,
  answerTokensMin: 20,
  answerTokensMax: 80,
  /** With --disk: what a file takes to be written or read; 4 MiB at 1 GB/s. */
  fileUs: 4_000,
  /** Microseconds: a step, a prompt token, a prompt token per token before it, a decoded sequence. */
  curve: {
    baseUs: 2_000,
    perTokenUs: 20,
    perTokenContextUs: 0.0008,
    perLooseContextUs: 0.0008,
    perSequenceUs: 100,
    perContextUs: 0.01,
  },
} as const;

/** `stator up`. */
export const UP_DEFAULTS = {
  workers: 2,
  /** Share of memory (or of the cgroup's limit) that all local workers may use together. */
  memoryShare: 0.4,
  /** A restarted worker waits this long, doubling up to the second figure. */
  restartUsMin: 200_000,
  restartUsMax: 10_000_000,
  /** A worker that prints no card within this is given up and restarted. */
  startUsMax: 120_000_000,
} as const;

/** The parsed value, or one sentence per mistake. */
export function parseConfig<T>(
  schema: z.ZodType<T>,
  input: unknown,
): { kind: 'ok'; value: T } | { kind: 'wrong'; sentences: string[] } {
  const result = schema.safeParse(input);
  if (result.success) return { kind: 'ok', value: result.data };
  return {
    kind: 'wrong',
    sentences: result.error.issues.map((issue) => {
      const where = issue.path.length > 0 ? issue.path.join('.') : 'the file';
      if (issue.code === 'unrecognized_keys') {
        return `${where} has the unknown setting ${issue.keys.join(', ')}`;
      }
      return `${where}: ${issue.message[0].toLowerCase()}${issue.message.slice(1)}`;
    }),
  };
}
