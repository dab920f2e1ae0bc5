/**
 * TensorRT-LLM's `trtllm-serve` over HTTP: OpenAI's routes with token ids. It refuses fields it does not
 * know, and versions differ in which they know: they are read from its own OpenAPI description.
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
import { looseCount, looseList, looseObject } from '../wire/upstream-json.ts';
import { constraintOf } from './grammar/constraint.ts';
import type { EngineHttp } from './http.ts';
import { jsonWithIds } from './id-list.ts';
import {
  answerFields,
  chatRequest,
  embeddingInput,
  type Fields,
  promptIds,
  refuseForced,
  responseFormat,
} from './openai-request.ts';
import { PartStream } from './part-stream.ts';
import { RequestHandoff } from './request-handoff.ts';
import { withoutSaid } from './said.ts';
import { StopStrings } from './stop-strings.ts';

export interface TrtllmDialect {
  /** Its name of the model. */
  model: string;
  /** Fields that its requests may have, by route. */
  completion: ReadonlySet<string>;
  chat: ReadonlySet<string>;
  /**
   * Texts that end an answer. It shows special tokens all or none: reasoning and calls, told apart here,
   * need some, and these are taken off. None: the tokenizer is not known here.
   */
  endTexts: readonly string[];
}

/** Its own priority where a request has none; 0 to 1, and higher goes first. */
const PRIORITY = 0.5;

export class TrtllmEngine implements Engine {
  readonly worker: WorkerId;
  readonly handoff: Handoff;
  readonly #http: EngineHttp;
  readonly #dialect: TrtllmDialect;
  /** Its statistics are told once each: the newest that was. */
  #report: EngineReport | undefined;

  constructor(given: { worker: WorkerId; http: EngineHttp; dialect: TrtllmDialect }) {
    this.worker = given.worker;
    this.#http = given.http;
    this.#dialect = given.dialect;
    const request = (job: Job) => this.#request(job);
    this.handoff = new RequestHandoff({ way: { kind: 'trtllm' }, http: given.http, request });
  }

  generate(job: Job, signal: AbortSignal): AsyncIterable<Part> {
    refuseForced(job, 'TensorRT-LLM');
    const { path, body } = this.#request(job);
    const reader = new UpstreamReader(job.shape.choices);
    const saidTokens = job.said?.ids?.length ?? 0;
    const ends = new Map<number, StopStrings>();
    const shown = (part: Part) => withoutEnd(part, ends, this.#dialect.endTexts);
    return new PartStream(this.#http.stream(path, body, signal), ({ data }) =>
      withoutSaid(reader.read(data), saidTokens).flatMap(shown),
    );
  }

  async embed(job: Job, signal: AbortSignal): Promise<Embedding> {
    const { model } = this.#dialect;
    const body = { model, input: embeddingInput(job), encoding_format: 'base64' };
    return readEmbedding(await this.#http.json('POST', '/v1/embeddings', body, signal));
  }

  async resetCache(): Promise<void> {
    throw new GatewayError(
      'engine_failed',
      `${this.worker} is a TensorRT-LLM server, which has no way to empty its cache; start it anew.`,
    );
  }

  async healthy(): Promise<boolean> {
    await this.#http.text('GET', '/health');
    return true;
  }

  /** Of a server that was started with `enable_iter_perf_stats`, once it ran anything. */
  async report(): Promise<EngineReport | undefined> {
    const stats = looseList(await this.#http.json('GET', '/metrics').catch(() => [])).at(-1);
    if (stats !== undefined) this.#report = reportOf(stats);
    return this.#report;
  }

  close(): void {
    this.#http.close();
  }

  #request(job: Job): { path: string; body: object } {
    const { prompt, shape, cacheSalt } = job;
    const { model, chat, completion } = this.#dialect;
    const own = {
      ...extraFields(job.extras),
      cache_salt: cacheSalt === '' ? undefined : cacheSalt,
      priority: job.priority === 0 ? undefined : shareOf(job.priority),
      ...ticketFields(job.ticket),
    };
    if (prompt.kind === 'chat') {
      const fields = { ...chatRequest(job, prompt.chat, model), ...own };
      return { path: '/v1/chat/completions', body: known(fields, chat) };
    }
    const fields = {
      ...answerFields(job, model),
      ...own,
      logprobs: shape.logprobs,
      response_format: formatOf(shape),
      // The ids are the whole prompt.
      add_special_tokens: false,
      skip_special_tokens: this.#dialect.endTexts.length === 0,
      spaces_between_special_tokens: false,
    };
    // Its completions know no salt: there the same ids travel as a chat that is rendered already.
    if (cacheSalt !== '' && !completion.has('cache_salt')) return this.#asChat(job, fields);
    const path = '/v1/completions';
    const body = known(fields, completion);
    if (prompt.kind === 'text') return { path, body: { ...body, prompt: prompt.text } };
    return { path, body: jsonWithIds(body, 'prompt', promptIds(job, prompt.ids)) };
  }

  /** Tenants share no KV: what cannot be kept apart is not asked. */
  #asChat(job: Job, fields: Fields): { path: string; body: object } {
    const { prompt, shape } = job;
    const { chat } = this.#dialect;
    if (prompt.kind !== 'tokens' || !chat.has('cache_salt') || !chat.has('prompt_token_ids')) {
      throw new GatewayError(
        'engine_failed',
        `${this.worker} (TensorRT-LLM) cannot keep this prompt's KV apart from other tenants'.`,
      );
    }
    const { logprobs } = shape;
    const likely = logprobs === undefined ? {} : { logprobs: true, top_logprobs: logprobs };
    const body = known({ ...fields, ...likely, messages: [] }, chat);
    const ids = promptIds(job, prompt.ids);
    return { path: '/v1/chat/completions', body: jsonWithIds(body, 'prompt_token_ids', ids) };
  }
}

/** Text of each answer up to the token that ends it; the engine shows that too. */
function withoutEnd(
  part: Part,
  ends: Map<number, StopStrings>,
  endTexts: readonly string[],
): Part[] {
  if (endTexts.length === 0) return [part];
  if (part.kind === 'text') {
    const choice = part.choice ?? 0;
    const end = ends.get(choice) ?? new StopStrings(endTexts);
    ends.set(choice, end);
    return [{ ...part, text: end.push(part.text).text }];
  }
  if (part.kind !== 'ended' && part.kind !== 'done') return [part];
  const over = [...ends].filter(([choice]) => part.kind === 'done' || part.choice === choice);
  const held = over.flatMap(([choice, end]): Part[] => {
    ends.delete(choice);
    const text = end.flush();
    return text === '' ? [] : [{ kind: 'text', text, tokens: 0, ...(choice > 0 && { choice }) }];
  });
  return [...held, part];
}

function known(fields: Fields, names: ReadonlySet<string>): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => names.has(name)));
}

/** Halfway to the end of the scale at a priority of 4 either way. */
function shareOf(priority: number): number {
  return PRIORITY + (PRIORITY * priority) / (4 + Math.abs(priority));
}

/** Where something goes before what was asked for, the whole answer is one grammar. */
function formatOf({ format, frame }: Shape): unknown {
  if (format === undefined || format.kind === 'noCalls') return undefined;
  if (frame.reasoning === undefined) {
    if (format.kind === 'schema') return { type: 'json', schema: format.schema };
    if (format.kind === 'json') return responseFormat(format);
    if (format.kind === 'regex') return { type: 'regex', regex: format.pattern };
  }
  const constraint = constraintOf(format, frame, { isNoise: false });
  return constraint && { type: 'ebnf', ebnf: constraint.gbnf };
}

/** One iteration's statistics. */
function reportOf(stats: unknown): EngineReport {
  const { numActiveRequests, numQueuedRequests, kvCacheStats, iter } = looseObject(stats);
  const { usedNumBlocks } = looseObject(kvCacheStats);
  return {
    running: looseCount(numActiveRequests) ?? 0,
    waiting: looseCount(numQueuedRequests) ?? 0,
    slots: [],
    cachedBlocks: looseCount(usedNumBlocks) ?? 0,
    hostBlocks: 0,
    diskBlocks: 0,
    diskBytes: 0,
    stepsTotal: looseCount(iter) ?? 0,
    engineUsTotal: 0,
    promptTokensTotal: 0,
    cachedTokensTotal: 0,
    outputTokensTotal: 0,
  };
}
