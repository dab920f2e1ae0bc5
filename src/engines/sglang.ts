/**
 * An SGLang server over HTTP: token ids over its own route where both sides agree on tokens, chats over
 * OpenAI's elsewhere. Its priority rises with importance, unless it was started the other way round.
 */
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Shape } from '../model/request.ts';
import type { Embedding, Engine, EngineReport, Handoff, Job } from '../ports.ts';
import { extraFields } from '../wire/extras.ts';
import { ticketFields } from '../wire/handoff.ts';
import { readEmbedding } from '../wire/openai-embeddings.ts';
import { UpstreamReader } from '../wire/openai-upstream.ts';
import { readMetrics } from '../wire/prometheus.ts';
import { SglangReader } from '../wire/sglang-generate.ts';
import { constraintOf } from './grammar/constraint.ts';
import type { EngineHttp } from './http.ts';
import { jsonWithIds } from './id-list.ts';
import {
  chatRequest,
  embeddingInput,
  type Fields,
  promptIds,
  refuseForced,
} from './openai-request.ts';
import { PartStream } from './part-stream.ts';
import { RequestHandoff } from './request-handoff.ts';
import { withoutSaid } from './said.ts';

export interface SglangDialect {
  /** Its name of the model. */
  model: string;
  /** Tokens of a page of its cache. */
  pageTokens: number;
  /** Which numbers go first; undefined: it was not started to schedule by priority. */
  priority: 'high' | 'low' | undefined;
  /** Whether its sampler takes a seed for each request; an older one refuses it. */
  takesSeed: boolean;
  /** Whether it keeps caches apart; an older one reads past what asks for it. */
  takesSalt: boolean;
}

export class SglangEngine implements Engine {
  readonly worker: WorkerId;
  readonly handoff: Handoff | undefined;
  readonly #http: EngineHttp;
  readonly #dialect: SglangDialect;

  constructor(given: {
    worker: WorkerId;
    http: EngineHttp;
    dialect: SglangDialect;
    /** Where those meet it who answer prompts that it computed; undefined: it computes none for others. */
    meeting?: { host: string; port: number | undefined } | undefined;
  }) {
    this.worker = given.worker;
    this.#http = given.http;
    this.#dialect = given.dialect;
    const { http, meeting } = given;
    const request = (job: Job) => this.#request(job);
    if (meeting !== undefined) {
      this.handoff = new RequestHandoff({ way: { kind: 'sglang', ...meeting }, http, request });
    }
  }

  generate(job: Job, signal: AbortSignal): AsyncIterable<Part> {
    refuseForced(job, 'SGLang');
    if (job.cacheSalt !== '' && !this.#dialect.takesSalt) {
      throw new GatewayError(
        'engine_failed',
        `${this.worker} is too old an SGLang to keep tenants' KV apart; 0.5.3 or later does.`,
      );
    }
    const { prompt, shape } = job;
    const { path, body } = this.#request(job);
    const events = this.#http.stream(path, body, signal);
    if (prompt.kind === 'chat') {
      const reader = new UpstreamReader(shape.choices);
      return new PartStream(events, ({ data }) => reader.read(data));
    }
    const reader = new SglangReader(shape.choices);
    const saidTokens = job.said?.ids?.length ?? 0;
    return new PartStream(events, ({ data }) => withoutSaid(reader.read(data), saidTokens));
  }

  continues({ prompt, said }: Job): boolean {
    return prompt.kind === 'tokens' && said?.ids !== undefined;
  }

  async embed(job: Job, signal: AbortSignal): Promise<Embedding> {
    const body = { model: this.#dialect.model, input: embeddingInput(job) };
    return readEmbedding(await this.#http.json('POST', '/v1/embeddings', body, signal));
  }

  rank(path: string, body: object, signal: AbortSignal): Promise<unknown> {
    return this.#http.json('POST', path, { ...body, model: this.#dialect.model }, signal);
  }

  /** Refused while requests run. */
  async resetCache(): Promise<void> {
    await this.#http.text('POST', '/flush_cache');
  }

  async healthy(): Promise<boolean> {
    await this.#http.text('GET', '/health');
    return true;
  }

  /** Undefined where it was started without `--enable-metrics`. */
  async report(): Promise<EngineReport | undefined> {
    const text = await this.#http.text('GET', '/metrics').catch(() => '');
    return loadOf(text, this.#dialect.pageTokens);
  }

  close(): void {
    this.#http.close();
  }

  #request(job: Job): { path: string; body: object } {
    const { prompt } = job;
    if (prompt.kind === 'chat') {
      const chat = chatRequest(job, prompt.chat, this.#dialect.model);
      const body = { ...chat, ...extraFields(job.extras), ...this.#own(job) };
      return { path: '/v1/chat/completions', body };
    }
    const fields = this.#generateBody(job);
    const body =
      prompt.kind === 'text'
        ? { ...fields, text: prompt.text }
        : jsonWithIds(fields, 'input_ids', promptIds(job, prompt.ids));
    return { path: '/generate', body };
  }

  #generateBody(job: Job): Fields {
    const { logprobs } = job.shape;
    return {
      sampling_params: this.#sampling(job),
      stream: true,
      ...this.#own(job),
      ...(logprobs !== undefined && {
        return_logprob: true,
        top_logprobs_num: logprobs,
        return_text_in_logprobs: true,
      }),
    };
  }

  /** Of both routes. Where keys differ, nothing in its cache is shared. */
  #own({ cacheSalt, priority, ticket }: Job): Fields {
    const { priority: order } = this.#dialect;
    const signed = order === 'low' ? -priority : priority;
    return {
      extra_key: cacheSalt === '' ? undefined : cacheSalt,
      priority: order === undefined || priority === 0 ? undefined : signed,
      ...ticketFields(ticket),
    };
  }

  #sampling({ sampling, outputTokensMax, stop, shape, extras }: Job): Fields {
    const { min_tokens: min_new_tokens, ...ends } = extraFields(extras);
    return {
      temperature: sampling.temperature,
      top_p: sampling.topP,
      top_k: sampling.topK === 0 ? -1 : sampling.topK,
      min_p: sampling.minP,
      repetition_penalty: sampling.repetitionPenalty,
      frequency_penalty: sampling.frequencyPenalty,
      presence_penalty: sampling.presencePenalty,
      // Absent would mean 128.
      max_new_tokens: outputTokensMax ?? null,
      min_new_tokens,
      ...ends,
      stop: stop.length > 0 ? stop : undefined,
      n: shape.choices > 1 ? shape.choices : undefined,
      sampling_seed: this.#dialect.takesSeed ? sampling.seed : undefined,
      // Reasoning and calls are told apart here, by tokens that some models have as special ones.
      skip_special_tokens: extras?.skipSpecialTokens ?? false,
      spaces_between_special_tokens: false,
      ...formatOf(shape),
    };
  }
}

/** Where something goes before what was asked for, the whole answer is one grammar. */
function formatOf({ format, frame }: Shape): Fields {
  if (format === undefined || format.kind === 'noCalls') return {};
  if (frame.reasoning === undefined) {
    if (format.kind === 'schema') return { json_schema: JSON.stringify(format.schema) };
    if (format.kind === 'json') return { json_schema: '{"type":"object"}' };
    if (format.kind === 'regex') return { regex: format.pattern };
  }
  const constraint = constraintOf(format, frame, { isNoise: false });
  return constraint === undefined ? {} : { ebnf: constraint.gbnf };
}

function loadOf(metrics: string, pageTokens: number): EngineReport | undefined {
  const samples = readMetrics(metrics, ['sglang:']);
  if (samples.length === 0) return undefined;
  const sum = (...names: string[]) =>
    samples.reduce((all, { name, value }) => (names.includes(name) ? all + value : all), 0);
  return {
    running: sum('sglang:num_running_reqs'),
    waiting: sum('sglang:num_queue_reqs'),
    slots: [],
    cachedBlocks: Math.round(sum('sglang:num_used_tokens') / pageTokens),
    hostBlocks: Math.round(sum('sglang:hicache_host_used_tokens') / pageTokens),
    diskBlocks: 0,
    diskBytes: 0,
    stepsTotal: 0,
    engineUsTotal: 0,
    promptTokensTotal: sum('sglang:prompt_tokens_total'),
    cachedTokensTotal: sum('sglang:cached_tokens_total'),
    outputTokensTotal: sum('sglang:generation_tokens_total'),
  };
}
