/**
 * llama.cpp's own server over HTTP: token ids at its own route, where both sides agree on tokens, chats
 * at OpenAI's elsewhere. It has no events and no salts: what lies in its slots is remembered here.
 */
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import { type Chat, NO_FRAME } from '../model/request.ts';
import type { Embedding, Engine, EngineReport, Job, KvControl } from '../ports.ts';
import { LlamaCompletionReader } from '../wire/llama-completion.ts';
import { readEmbedding } from '../wire/openai-embeddings.ts';
import { UpstreamReader } from '../wire/openai-upstream.ts';
import { readMetrics } from '../wire/prometheus.ts';
import { constraintOf } from './grammar/constraint.ts';
import type { EngineHttp } from './http.ts';
import { jsonWithIds } from './id-list.ts';
import { LlamaServerKv } from './llama-server-kv.ts';
import { LlamaSlots, type SlotUse } from './llama-slots.ts';
import {
  chatRequest,
  embeddingInput,
  type Fields,
  promptIds,
  refuseForced,
} from './openai-request.ts';
import { PartStream } from './part-stream.ts';
import { withoutSaid } from './said.ts';
import { WatchedParts } from './watched-parts.ts';

export interface LlamaServerDialect {
  /** Its name of the model. */
  model: string;
  slots: number;
  blockTokens: number;
  /** Whether slots can be saved, brought back and emptied. */
  savesSlots: boolean;
  /** Special tokens to be shown: reasoning and calls are told apart here. */
  shown: readonly string[];
}

/** Of the last event, which would repeat the prompt. */
const LAST_FIELDS = [
  ...['index', 'content', 'tokens', 'id_slot', 'stop', 'stop_type', 'stopping_word'],
  ...['tokens_predicted', 'tokens_evaluated', 'timings'],
];

export class LlamaServerEngine implements Engine {
  readonly worker: WorkerId;
  readonly kv: KvControl | undefined;
  readonly #http: EngineHttp;
  readonly #dialect: LlamaServerDialect;
  readonly #slots: LlamaSlots;

  constructor(given: { worker: WorkerId; http: EngineHttp; dialect: LlamaServerDialect }) {
    const { worker, http, dialect } = given;
    const { savesSlots, blockTokens } = dialect;
    this.worker = worker;
    this.#http = http;
    this.#dialect = dialect;
    this.#slots = new LlamaSlots(dialect.slots);
    const slots = this.#slots;
    this.kv = savesSlots ? new LlamaServerKv({ http, slots, blockTokens }) : undefined;
  }

  generate(job: Job, signal: AbortSignal): AsyncIterable<Part> {
    refuseForced(job, 'llama.cpp’s server');
    const { prompt, cacheSalt: salt, thread } = job;
    const ids = prompt.kind === 'tokens' ? promptIds(job, prompt.ids) : undefined;
    const use: SlotUse = { salt, thread, ids };
    const choice = this.#slots.choose(use);
    const fields = { id_slot: choice.slot, cache_prompt: choice.cachePrompt };
    return prompt.kind === 'chat'
      ? this.#chat(job, { chat: prompt.chat, fields, use, signal })
      : this.#completion(job, { ids, fields, use, signal });
  }

  continues({ prompt, said }: Job): boolean {
    return prompt.kind === 'tokens' && said?.ids !== undefined;
  }

  async embed(job: Job, signal: AbortSignal): Promise<Embedding> {
    const { model } = this.#dialect;
    const body = { model, input: embeddingInput(job), encoding_format: 'base64' };
    return readEmbedding(await this.#http.json('POST', '/v1/embeddings', body, signal));
  }

  /** What its host memory holds besides stays there. */
  async resetCache(): Promise<void> {
    if (!this.#dialect.savesSlots) {
      throw new GatewayError(
        'engine_failed',
        `${this.worker} does not empty its slots: llama.cpp's server does so when started with --slot-save-path.`,
      );
    }
    for (const [slot, { busy }] of this.#slots.state().entries()) {
      if (busy) continue;
      await this.#http.json('POST', `/slots/${slot}?action=erase`, {});
      this.#slots.holds(slot, undefined, 0);
    }
  }

  async healthy(): Promise<boolean> {
    await this.#http.text('GET', '/health');
    return true;
  }

  async report(): Promise<EngineReport | undefined> {
    const text = await this.#http.text('GET', '/metrics').catch(() => '');
    return loadOf(text, this.#slots.state(), this.#dialect.blockTokens);
  }

  close(): void {
    this.#http.close();
  }

  #completion(job: Job, given: Asked & { ids: Uint32Array | undefined }): AsyncIterable<Part> {
    const { ids, fields, use, signal } = given;
    const { prompt, shape } = job;
    const body = { ...completionFields(job, this.#dialect.shown), ...fields };
    const json =
      ids === undefined
        ? { ...body, prompt: prompt.kind === 'text' ? prompt.text : '' }
        : jsonWithIds(body, 'prompt', ids);
    const saidTokens = job.said?.ids?.length ?? 0;
    const reader = new LlamaCompletionReader(shape.choices);
    const events = this.#http.stream('/completion', json, signal);
    const parts = new PartStream(events, ({ data }) => withoutSaid(reader.read(data), saidTokens));
    const slot = () => reader.slot ?? fields.id_slot;
    return this.#watched(parts, { use, asked: fields.id_slot, slot });
  }

  #chat(job: Job, { chat, fields, use, signal }: Asked & { chat: Chat }): AsyncIterable<Part> {
    const body = {
      ...chatRequest(job, chat, this.#dialect.model),
      ...fields,
      ...chatGrammar(job),
    };
    const reader = new UpstreamReader(job.shape.choices);
    const events = this.#http.stream('/v1/chat/completions', body, signal);
    const parts = new PartStream(events, ({ data }) => reader.read(data));
    return this.#watched(parts, { use, asked: fields.id_slot, slot: () => fields.id_slot });
  }

  /** Learns what lies in a slot from how its answer ended. */
  #watched(
    parts: PartStream,
    of: { use: SlotUse; asked: number | undefined; slot: () => number | undefined },
  ): AsyncIterable<Part> {
    let tokens: number | undefined;
    const ended = this.#slots.began(of.asked);
    return new WatchedParts(parts, {
      part: (part) => {
        if (part.kind === 'done') tokens = part.usage.promptTokens + part.usage.outputTokens;
      },
      over: () => ended(tokens === undefined ? undefined : { use: of.use, tokens }, of.slot()),
    });
  }
}

interface Asked {
  fields: { id_slot: number | undefined; cache_prompt: boolean };
  use: SlotUse;
  signal: AbortSignal;
}

function completionFields(job: Job, shown: readonly string[]): Fields {
  const { sampling, stop, shape, outputTokensMax } = job;
  return {
    stream: true,
    return_tokens: true,
    response_fields: LAST_FIELDS,
    n_predict: outputTokensMax ?? -1,
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK,
    min_p: sampling.minP,
    repeat_penalty: sampling.repetitionPenalty,
    frequency_penalty: sampling.frequencyPenalty,
    presence_penalty: sampling.presencePenalty,
    seed: sampling.seed,
    stop: stop.length > 0 ? stop : undefined,
    ignore_eos: job.extras?.ignoreEos,
    n_cmpl: shape.choices > 1 ? shape.choices : undefined,
    n_probs: shape.logprobs === undefined ? undefined : Math.max(1, shape.logprobs),
    preserved_tokens: shown.length > 0 ? shown : undefined,
    grammar: grammarOf(job),
  };
}

function grammarOf({ shape }: Job): string | undefined {
  if (shape.format === undefined) return undefined;
  return constraintOf(shape.format, shape.frame, { isNoise: false })?.gbnf;
}

/** Formats that OpenAI's routes do not know, over the answer as the model writes it. */
function chatGrammar({ shape }: Job): Fields {
  const { format } = shape;
  if (format?.kind !== 'regex' && format?.kind !== 'choice' && format?.kind !== 'grammar') {
    return {};
  }
  return { grammar: constraintOf(format, NO_FRAME, { isNoise: false })?.gbnf };
}

function loadOf(
  metrics: string,
  slots: { busy: boolean; tokens: number }[],
  blockTokens: number,
): EngineReport {
  const samples = readMetrics(metrics, ['llamacpp:']);
  const value = (name: string) =>
    samples.find((sample) => sample.name === `llamacpp:${name}`)?.value;
  const cachedTokens = value('prompt_tokens_cached_total') ?? 0;
  return {
    running: value('requests_processing') ?? slots.filter(({ busy }) => busy).length,
    waiting: value('requests_deferred') ?? 0,
    slots,
    cachedBlocks: slots.reduce((sum, { tokens }) => sum + Math.floor(tokens / blockTokens), 0),
    hostBlocks: 0,
    diskBlocks: 0,
    diskBytes: 0,
    stepsTotal: value('n_decode_total') ?? 0,
    engineUsTotal: 0,
    promptTokensTotal: (value('prompt_tokens_total') ?? 0) + cachedTokens,
    cachedTokensTotal: cachedTokens,
    outputTokensTotal: value('tokens_predicted_total') ?? 0,
  };
}
