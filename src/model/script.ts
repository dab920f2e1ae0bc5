/** What a scripted engine answers, and how it misbehaves: drives tests of clients and of failure. */
import { z } from 'zod';

export const ScriptRule = z.strictObject({
  match: z
    .string()
    .default('')
    .describe('Regular expression, looked for in the end of the prompt’s text; empty matches all.'),
  tailCharacters: z
    .int()
    .min(1)
    .default(4_000)
    .describe('So much of the prompt’s end is looked at.'),
  times: z.int().min(1).optional().describe('Used at most so often; then the next rule is tried.'),
  text: z.string().default(''),
  reasoning: z.string().optional(),
  toolCalls: z
    .array(z.strictObject({ name: z.string(), arguments: z.record(z.string(), z.unknown()) }))
    .default([]),
  delayMs: z.number().min(0).default(0).describe('Before the first token.'),
  tokenDelayMs: z.number().min(0).default(0).describe('Before each further part.'),
  fault: z
    .discriminatedUnion('kind', [
      z.strictObject({
        kind: z.literal('status'),
        status: z.int().min(400).max(599),
        retryAfterS: z.int().min(0).optional().describe('Said to whoever may try again.'),
      }),
      z.strictObject({ kind: z.literal('cut'), afterParts: z.int().min(0) }),
      z.strictObject({ kind: z.literal('reset'), afterParts: z.int().min(0) }),
      z.strictObject({ kind: z.literal('stall'), afterParts: z.int().min(0) }),
      z.strictObject({ kind: z.literal('error'), afterParts: z.int().min(0) }),
    ])
    .optional(),
});
export type ScriptRule = z.infer<typeof ScriptRule>;

/** The first rule that matches and is not used up answers; where none does, the engine itself. */
export const Script = z.strictObject({ rules: z.array(ScriptRule) });
export type Script = z.infer<typeof Script>;
