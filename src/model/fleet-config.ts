/** Models and workers of a gateway's `stator.yaml`; see config.ts. */
import { z } from 'zod';
import { ENGINE_KINDS } from './engine-kind.ts';

const positive = () => z.int().min(1);

export const ModelConfig = z.strictObject({
  name: z.string().min(1).describe('What clients call it.'),
  aliases: z.array(z.string()).default([]).describe('Other names that mean the same model.'),
  split: z
    .array(z.strictObject({ model: z.string().min(1), weight: z.number().positive() }))
    .default([])
    .describe('Models that the name stands for, each for its share of sessions; a session stays.'),
  policy: z.string().min(1).optional().describe('Who decides for it, if not `policy` of all.'),
  fallbacks: z
    .array(z.string().min(1))
    .default([])
    .describe('Models that answer instead, in this order, where nobody can serve it soon.'),
  path: z
    .string()
    .optional()
    .describe(
      'A GGUF, or a folder with tokenizer.json and its template, by which prompts are rendered; without it, they pass through.',
    ),
  blockTokens: z
    .int()
    .min(1)
    .max(1024)
    .default(16)
    .describe("Tokens of a KV block, as the model's engines have them (vLLM: --block-size)."),
});

export const WorkerConfig = z.strictObject({
  url: z.url().describe('Base address of the engine, without /v1.'),
  kind: z.enum(ENGINE_KINDS).default('stator').describe('Which engine it is.'),
  key: z.string().min(1).optional().describe('What it wants to be sent as bearer token.'),
  keyEnv: z
    .string()
    .min(1)
    .optional()
    .describe('Environment variable that holds it, so that no file need.'),
  ca: z
    .string()
    .min(1)
    .optional()
    .describe('File of certificates (PEM) that may have issued its own; else those Node trusts.'),
  serverName: z
    .string()
    .min(1)
    .optional()
    .describe('What its certificate names it, where that is not in `url`.'),
  model: z
    .string()
    .min(1)
    .optional()
    .describe('What clients call its model, if not as the engine does.'),
  engineModel: z
    .string()
    .min(1)
    .optional()
    .describe("The engine's name of the model, where it serves several."),
  contextTokens: positive().optional().describe('Longest prompt plus answer, if it does not say.'),
  slots: positive().optional().describe('Sequences it computes at once, if it does not say.'),
  cacheTokens: positive().optional().describe('Tokens whose KV it can keep, if it does not say.'),
  events: z
    .string()
    .optional()
    .describe(
      'Address of its KV events, if not on its card: tcp:// (ZeroMQ), nats://host:port/subject, http:// (server-sent events), or http://…/kv_cache_events (TensorRT-LLM).',
    ),
  replay: z.string().optional().describe('ZeroMQ address where they are asked for again.'),
  role: z
    .enum(['prefill', 'decode', 'both'])
    .default('both')
    .describe('prefill: prompts for others alone, and answers only where nobody else is left.'),
  handoff: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Workers of which it is equal answer prompts that one of them computed, by a way of their own: a vLLM connector, a SGLang bootstrap server, TensorRT-LLM.',
    ),
  adapters: z.array(z.string()).default([]).describe('LoRA adapters it has, by name.'),
  tenants: z.array(z.string()).default([]).describe('Whom it is kept for; empty: everybody.'),
  taints: z.array(z.string()).default([]).describe('Only requests that tolerate them come here.'),
  labels: z
    .record(z.string(), z.string())
    .default({})
    .describe('Where it stands and what it is, for requests that ask for it.'),
});
export type WorkerConfig = z.infer<typeof WorkerConfig>;

/** What a file holds that `discovery:` names. */
export const WorkerList = z.array(WorkerConfig);

const Found = WorkerConfig.omit({ url: true }).prefault({}).describe('What all of them have.');
const scheme = () => z.enum(['http', 'https']).default('http');

/** Where workers are to be found whose addresses nobody writes into `workers:`. */
export const DiscoveryConfig = z.discriminatedUnion('from', [
  z.strictObject({
    from: z.literal('dns'),
    name: z.string().min(1).describe('Each address it has is a worker.'),
    record: z.enum(['a', 'aaaa', 'srv']).default('a'),
    port: z
      .int()
      .min(1)
      .max(65535)
      .optional()
      .describe("Of all, else the scheme's; srv records have their own."),
    scheme: scheme(),
    everyUs: positive()
      .default(30_000_000)
      .describe('Asked again so often, sooner where the answer is good for less.'),
    servers: z.array(z.string()).default([]).describe('Who is asked, if not whom the system asks.'),
    worker: Found,
  }),
  z.strictObject({
    from: z.literal('file'),
    path: z.string().min(1).describe('A list like `workers:`, YAML or JSON; read as it changes.'),
    everyUs: positive().default(1_000_000).describe('Looked at so often.'),
  }),
  z.strictObject({
    from: z.literal('kubernetes'),
    service: z.string().min(1).describe('Each endpoint of it is a worker.'),
    namespace: z.string().min(1).optional().describe("Else the pod's own."),
    port: z
      .union([z.string().min(1), z.int().min(1).max(65535)])
      .optional()
      .describe('By name or number, where the service has several.'),
    scheme: scheme(),
    server: z.url().optional().describe('Address of the API, if not as pods are told.'),
    tokenFile: z.string().min(1).default('/var/run/secrets/kubernetes.io/serviceaccount/token'),
    ca: z
      .string()
      .min(1)
      .default('/var/run/secrets/kubernetes.io/serviceaccount/ca.crt')
      .describe('File of certificates (PEM) that may have issued that of the API.'),
    namespaceFile: z
      .string()
      .min(1)
      .default('/var/run/secrets/kubernetes.io/serviceaccount/namespace'),
    worker: Found,
  }),
]);
export type DiscoveryConfig = z.infer<typeof DiscoveryConfig>;

/** Of an engine that somebody else runs, where neither it nor the configuration says. */
export const UPSTREAM_DEFAULTS = {
  contextTokens: 32_768,
  blockTokens: 16,
  /** vLLM's --max-num-seqs. */
  slots: 256,
  /** Requests it takes at once, running and waiting, for each sequence it computes at once. */
  requestsPerSlot: 4,
  cacheTokens: 500_000,
  /** An 8B model on one accelerator, roughly; what requests take is learnt from the first on. */
  prefill: { perTokenUs: 50, perTokenContextUs: 0.001 },
  decode: { stepUs: 10_000, perSequenceUs: 50 },
} as const;

/** Of an upstream that somebody else pays machines for: what it has is nobody's to ask. */
export const HOSTED_DEFAULTS = {
  contextTokens: 128_000,
  slots: 64,
  /** Asked for where a client names no length and the API wants one. */
  outputTokens: 32_000,
  /** It is paid by the question, or at least counted: asked so often whether it is there. */
  askMs: 60_000,
} as const;
