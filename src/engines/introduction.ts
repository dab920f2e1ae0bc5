/** What upstreams of other makes have in common when they introduce themselves. */
import { publicUrl } from '../base/public-url.ts';
import { GatewayError } from '../model/error.ts';
import { UPSTREAM_DEFAULTS } from '../model/fleet-config.ts';
import type { Finding, Worker } from '../model/worker.ts';
import type { FeedAddress, Introduction, KnownTokens } from '../ports.ts';
import type { Refusal } from '../wire/upstream-error.ts';
import { EngineHttp } from './http.ts';
import type { TokenComparison, UpstreamGiven } from './upstream-given.ts';

/** As far as it is known; what is not is the configuration's, or assumed. */
export interface Told {
  /** Of the table of kinds. */
  engine: string;
  run: string;
  /** Its own name of the model. */
  model: string;
  contextTokens?: number | undefined;
  slots?: number | undefined;
  cacheTokens?: number | undefined;
  /** Of them, those that lie where they can be computed with. */
  deviceTokens?: number | undefined;
  /** Undefined where there is no tokenizer of the model here. */
  tokens: TokenComparison | undefined;
  events?: FeedAddress | undefined;
  takesWishes?: boolean;
  findings: readonly Finding[];
  /** Whatever else it said, for people. */
  card: Readonly<Record<string, unknown>>;
}

export function introductionOf({ config, known }: UpstreamGiven, told: Told): Introduction {
  const servedAs = config.model ?? told.model;
  const isExact = told.tokens?.differing === 0;
  const here = isExact ? known(servedAs) : undefined;
  const slots = told.slots ?? config.slots ?? UPSTREAM_DEFAULTS.slots;
  const { engine, run, model, events, findings, deviceTokens } = told;
  const { requestsPerSlot, prefill, decode } = UPSTREAM_DEFAULTS;
  const worker: Omit<Worker, 'id' | 'rules'> = {
    models: [servedAs],
    blockTokens: here?.tokens.hasher.blockTokens ?? UPSTREAM_DEFAULTS.blockTokens,
    contextTokens: told.contextTokens ?? config.contextTokens ?? UPSTREAM_DEFAULTS.contextTokens,
    slots,
    requestsMax: slots * requestsPerSlot,
    cacheTokens: told.cacheTokens ?? config.cacheTokens ?? UPSTREAM_DEFAULTS.cacheTokens,
    ...(deviceTokens !== undefined && { deviceTokens }),
    hasEvents: events !== undefined && isExact,
    // Equal caches of one model: most likely equal machines.
    class: `${engine} ${model} ${told.cacheTokens ?? publicUrl(config.url)}`,
    ...(told.takesWishes && { takesWishes: true as const }),
    prefill,
    decode,
  };
  return {
    run,
    worker,
    about: {
      ...{ engine, url: publicUrl(config.url), model: servedAs, demo: false, findings },
      fingerprint: here?.fingerprint ?? `${engine} ${model}`,
      tokensMode: isExact ? 'exact' : 'passThrough',
      card: { kind: engine, model, ...told.card },
    },
    events: isExact ? events : undefined,
    adapters: [],
  };
}

/** One of those it has: the one that is asked for, or the only one. Throws one sentence. */
export function modelAmong(names: readonly string[], { config }: UpstreamGiven): string {
  const wanted = config.engineModel ?? (names.length > 1 ? config.model : undefined);
  if (wanted === undefined && names.length === 1) return names[0];
  const own = names.find((name) => name === wanted || name === `${wanted}:latest`);
  if (own !== undefined) return own;
  const some = names.slice(0, 5).map((name) => JSON.stringify(name));
  const list = `${some.join(', ')}${names.length > 5 ? ', …' : ''}` || 'none';
  throw new Error(
    wanted === undefined
      ? `it serves ${names.length} models (${list}); name one with engineModel:`
      : `it serves no model ${JSON.stringify(wanted)}, but ${list}`,
  );
}

export function connect(
  { config, trust }: UpstreamGiven,
  more: {
    silenceUsMax: number;
    headers?: Record<string, string>;
    refused?: (refusal: Refusal) => GatewayError;
  },
): EngineHttp {
  const { url, key } = config;
  const bearer: Record<string, string> =
    key === undefined ? {} : { authorization: `Bearer ${key}` };
  const { silenceUsMax, headers = bearer, refused } = more;
  return new EngineHttp({ url, silenceUsMax, headers, trust, refused });
}

/** Compares tokenizers where there is one of the model here. `tokenize`: of one text, by the engine. */
export async function compare(
  given: UpstreamGiven,
  model: string,
  tokenize: (text: string) => Promise<readonly number[]>,
): Promise<{ here: KnownTokens | undefined; tokens: TokenComparison | undefined }> {
  const here = given.known(given.config.model ?? model);
  if (here === undefined) return { here, tokens: undefined };
  const all = async (texts: string[]) => {
    const lists: (readonly number[])[] = [];
    for (const text of texts) lists.push(await tokenize(text));
    return lists;
  };
  try {
    return { here, tokens: await given.compareTokens(here.tokens, all) };
  } catch (error) {
    // Versions differ in whether they have such a route at all.
    if (!(error instanceof GatewayError) || error.code === 'engine_lost') throw error;
    return {
      here,
      tokens: { checked: 1, differing: 1, reason: 'it does not say how it cuts text' },
    };
  }
}

export function tokenizerFinding(tokens: TokenComparison | undefined, model: string): Finding {
  const check = 'tokenizer';
  if (tokens === undefined) {
    const says = `there is none of ${model} here, so prompts pass through and only its load counts; name the model with its path under models:`;
    return { check, well: false, says };
  }
  const { checked, differing, reason } = tokens;
  if (differing === 0) return { check, well: true, says: `${checked} texts, all equal to its own` };
  const says = `${differing} of ${checked} texts differ (${reason}), so prompts pass through and only its load counts; give models[].path the file that this server serves`;
  return { check, well: false, says };
}

/** Nothing tells a new process from the old one but that nobody was there between. */
export function isNobodyThere(error: unknown): boolean {
  const { cause } = error as { cause?: { code?: unknown } };
  return cause?.code === 'ECONNREFUSED';
}
