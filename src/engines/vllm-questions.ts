/** What a vLLM server can be asked beside generating. Lenient: versions differ in what they answer. */
import { GatewayError } from '../model/error.ts';
import type { FeedAddress } from '../ports.ts';
import { looseCount, looseList, looseObject, looseText } from '../wire/upstream-json.ts';
import type { EngineHttp } from './http.ts';

/** Nobody waits for who it is: a server that loads or computes something long may take its time. */
const ANSWER_MS_MAX = 15_000;
/** A prompt of a block or two, on a machine that may be busy. */
const PROBE_MS_MAX = 60_000;

export interface VllmModels {
  /** Those it serves under their own weights, and the context of each. */
  base: Map<string, number | undefined>;
  /** LoRA adapters. */
  adapters: string[];
}

/** How it was started. */
export interface VllmSettings {
  policy: string | undefined;
  slots: number | undefined;
}

export interface Probe {
  /** Undefined where the answer does not say. */
  cachedTokens: number | undefined;
}

export class VllmQuestions {
  readonly #http: EngineHttp;

  constructor(http: EngineHttp) {
    this.#http = http;
  }

  /** Text of /metrics. */
  metrics(): Promise<string> {
    return this.#http.text('GET', '/metrics', AbortSignal.timeout(ANSWER_MS_MAX));
  }

  async version(): Promise<string> {
    const { version } = looseObject(await this.#get('/version'));
    return looseText(version);
  }

  async models(): Promise<VllmModels> {
    const { data } = looseObject(await this.#get('/v1/models'));
    const models: VllmModels = { base: new Map(), adapters: [] };
    for (const entry of looseList(data)) {
      const { id, parent, max_model_len } = looseObject(entry);
      if (looseText(id) === '') continue;
      if (looseText(parent) !== '') models.adapters.push(looseText(id));
      else models.base.set(looseText(id), looseCount(max_model_len));
    }
    return models;
  }

  /** Where its KV events are, by rank; undefined where it is too old to say. */
  async eventSources(): Promise<Map<string, FeedAddress> | undefined> {
    const told = await this.#optional('/kv_event_sources');
    if (told === undefined) return undefined;
    const sources = new Map<string, FeedAddress>();
    for (const [rank, source] of Object.entries(looseObject(told))) {
      const { enable_kv_cache_events: isOn, publisher, ...at } = looseObject(source);
      if (isOn !== true || publisher !== 'zmq' || looseText(at.endpoint) === '') continue;
      const replay = looseText(at.replay_endpoint);
      const endpoint = looseText(at.endpoint);
      sources.set(rank, { endpoint, replay: replay === '' ? undefined : replay });
    }
    return sources;
  }

  /** Undefined where it does not tell: only in development mode it does. */
  async settings(): Promise<VllmSettings | undefined> {
    const told = await this.#optional('/server_info?config_format=json');
    if (told === undefined) return undefined;
    const { scheduler_config } = looseObject(looseObject(told).vllm_config);
    const { policy, max_num_seqs } = looseObject(scheduler_config);
    return { policy: looseText(policy) || undefined, slots: looseCount(max_num_seqs) };
  }

  /** Undefined where it has no such route: with its sleep mode off, or outside of development mode. */
  async isSleeping(): Promise<boolean | undefined> {
    const told = await this.#optional('/is_sleeping');
    return told === undefined ? undefined : looseObject(told).is_sleeping === true;
  }

  /** Whether requests may bear hints about their KV (`kv_hints`): newer ones say so of themselves. */
  async takesKvHints(): Promise<boolean> {
    const { components } = looseObject(await this.#optional('/openapi.json'));
    const { CompletionRequest } = looseObject(looseObject(components).schemas);
    return Object.hasOwn(looseObject(looseObject(CompletionRequest).properties), 'kv_hints');
  }

  /** One token behind `ids`. */
  async probe(model: string, ids: readonly number[], priority: number): Promise<Probe> {
    const body = {
      model,
      prompt: ids,
      max_tokens: 1,
      temperature: 0,
      ...(priority && { priority }),
    };
    const signal = AbortSignal.timeout(PROBE_MS_MAX);
    const { usage } = looseObject(await this.#http.json('POST', '/v1/completions', body, signal));
    const { prompt_tokens_details: details } = looseObject(usage);
    return { cachedTokens: looseCount(looseObject(details).cached_tokens) };
  }

  async tokenize(model: string, prompt: string): Promise<number[]> {
    const body = { model, prompt, add_special_tokens: false };
    const signal = AbortSignal.timeout(ANSWER_MS_MAX);
    const { tokens } = looseObject(await this.#http.json('POST', '/tokenize', body, signal));
    return looseList(tokens).map(Number);
  }

  #get(path: string): Promise<unknown> {
    return this.#http.json('GET', path, undefined, AbortSignal.timeout(ANSWER_MS_MAX));
  }

  /** Undefined where there is no such route. */
  async #optional(path: string): Promise<unknown> {
    try {
      return await this.#get(path);
    } catch (error) {
      if (error instanceof GatewayError && error.code !== 'engine_lost') return undefined;
      throw error;
    }
  }
}
