/** The account of one request: what was predicted, what was chosen and why, what came of it. */
import { z } from 'zod';
import { ERRORS, type ErrorCode } from './error.ts';

const us = () => z.int().min(0);

export const KvAction = z.strictObject({
  wish: z.enum(['retain', 'release', 'demote', 'prefetch']),
  worker: z.string(),
  tier: z.enum(['device', 'host', 'disk']).optional(),
  ttlUs: z.number().min(0).optional(),
  answer: z
    .enum(['accepted', 'clipped', 'deferred', 'rejected', 'missing'])
    .nullable()
    .describe('Null: it was not carried out, or its worker could not be asked.'),
  tokens: z.int().min(0).describe('Leading tokens of which it is so.'),
  tookUs: us(),
});
export type KvAction = z.infer<typeof KvAction>;

export const Receipt = z.strictObject({
  id: z.string(),
  request: z.string().describe('x-request-id'),
  at: z.string().describe('Arrival, ISO 8601.'),
  wire: z.string(),
  model: z.string(),
  tenant: z.string(),
  session: z.string().nullable(),
  thread: z.string().nullable(),
  parent: z
    .string()
    .nullable()
    .describe('The thread that spawned this one, or that it was forked from.'),
  knownBy: z.string().describe('Which signal named the session.'),
  purpose: z
    .strictObject({
      kind: z.enum(['turn', 'side', 'compaction', 'prewarm']),
      by: z.string().describe('Which signal told, or what the request looks like.'),
    })
    .describe('What it is for: a turn, a call beside it, a summary, a prompt sent ahead.'),
  relation: z
    .enum(['begins', 'extends', 'repeats', 'diverges', 'forks'])
    .describe("How its prompt stands to its thread's last one."),
  notes: z.array(z.string()).describe('Contradictions in what the client said, and what counts.'),
  policy: z.string(),
  promptTokens: z.int().nullable().describe('Null where the tokenizer is unknown.'),
  normalised: z
    .array(
      z.strictObject({
        rule: z.enum(['cacheControl', 'textBlock', 'billingBlock', 'toolOrder', 'callIds']),
        savedTokens: z.int().min(0).describe('Estimated, at four characters a token.'),
      }),
    )
    .describe('What was made equal before rendering; empty where the prompt passed through.'),
  worker: z.string().nullable(),
  attempts: z.array(
    z.strictObject({
      worker: z.string(),
      queuedUs: us(),
      eligible: z.int().min(0).describe('Workers that could have served it.'),
      stage: z
        .enum(['prefill', 'decode'])
        .optional()
        .describe('Of a request in two stages: its prompt alone, or its answer.'),
      candidates: z.array(
        z.strictObject({
          worker: z.string(),
          mode: z.enum(['exact', 'predicted', 'loadOnly']),
          matchedTokens: z.int().describe('Prompt tokens believed to be cached there.'),
          hostTokens: z.int().describe('Of them, to be fetched from host memory.'),
          diskTokens: z.int().describe('Of them, to be fetched from disk.'),
          broughtTokens: z
            .int()
            .optional()
            .describe('Of them, brought from whoever computed the prompt.'),
          liveTokens: z.int().describe('Of other threads there that will be needed again.'),
          terms: z.record(z.string(), z.int()).describe('Named prices, microseconds.'),
          totalUs: z.int().describe('Their sum.'),
          brings: z
            .string()
            .optional()
            .describe('The worker that would give it KV of the prompt first.'),
          awaits: z.int().optional().describe('The copy of KV to there that it would wait for.'),
        }),
      ),
    }),
  ),
  predicted: z
    .strictObject({ cachedTokens: z.int(), ttftUs: us() })
    .nullable()
    .describe('For the worker that answered.'),
  actual: z
    .strictObject({
      status: z.enum(['running', 'done', 'failed', 'cancelled', 'rejected']),
      cachedTokens: z.int().nullable().describe('As the engine reported.'),
      outputTokens: z.int(),
      ttftUs: us().nullable(),
      prefillUs: us()
        .nullable()
        .describe('From dispatch to the first token, engine queue included.'),
      e2eUs: us().nullable(),
      error: z
        .enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]])
        .nullable()
        .describe('An error code.'),
    })
    .describe('So far, while it runs.'),
  prefetched: z
    .strictObject({
      tokens: z.int().min(0).describe('Computed before it came, as far as it was foreseen.'),
      usedTokens: z.int().min(0).describe('Of them, those that its engine found in cache.'),
    })
    .nullable()
    .describe('Null where nothing was computed ahead.'),
  kvActions: z
    .array(KvAction)
    .describe('What was decided about its KV after its end, and what became of that.'),
  regret: z
    .strictObject({
      us: us().describe('0 where no other place would have been better.'),
      worker: z.string().nullable().describe('The place that would have been.'),
    })
    .nullable()
    .describe(
      'The price, with the tokens that really were cached, less the best other predicted price.',
    ),
});
export type Receipt = z.infer<typeof Receipt>;
