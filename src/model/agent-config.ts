/** What a gateway's `stator.yaml` says of agents and their sessions; see config.ts. */
import { z } from 'zod';

const positive = () => z.int().min(1);

/** Sessions outlive the gateway: names, counts and hashes of KV blocks, never text. */
export const SessionStoreConfig = z.strictObject({
  mode: z
    .enum(['files', 'memory'])
    .default('files')
    .describe('Where sessions are remembered; memory: until the gateway stops.'),
  folder: z.string().optional().describe("By default in Stator's state folder."),
  keepDays: positive().default(7).describe('After the last turn of a session.'),
});

/** Programs that got stuck are stopped: nothing is, unless it is said here or in a header. */
export const RunawayConfig = z.strictObject({
  repeatsMax: z
    .int()
    .min(2)
    .max(1000)
    .optional()
    .describe('Turns in a row with the same tool calls, arguments included; then it is stopped.'),
  tokensMax: positive()
    .optional()
    .describe(
      'Prompt tokens computed and output tokens of a session, sub-agents included; then it is stopped.',
    ),
});
export type RunawayConfig = z.infer<typeof RunawayConfig>;
