/** Our own worker over HTTP: vLLM's dialect with token-id prompts, plus KV control and reports. */
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import { KV_SECRET_HEADER } from '../model/worker.ts';
import type { Embedding, Engine, EngineReport, Job } from '../ports.ts';
import { TOKEN_LOGPROBS } from '../wire/openai-completions.ts';
import { readEmbedding } from '../wire/openai-embeddings.ts';
import { chatFields, UpstreamReader } from '../wire/openai-upstream.ts';
import { formatFields } from '../wire/shape.ts';
import { EngineHttp, type EngineTrust } from './http.ts';
import { jsonWithIds } from './id-list.ts';
import { embeddingInput, samplingFields } from './openai-request.ts';
import { PartStream } from './part-stream.ts';
import { StatorKv } from './stator-kv.ts';

export class StatorEngine implements Engine {
  readonly worker: WorkerId;
  readonly kv: StatorKv;
  readonly #http: EngineHttp;

  constructor(given: {
    worker: WorkerId;
    url: string;
    silenceUsMax: number;
    /** For routes that change its cache. */
    kvSecret: string | undefined;
    /** How KV that is moved travels: by Unix socket only where it runs on this machine. */
    kvVia?: 'http' | 'socket';
    trust?: EngineTrust | undefined;
  }) {
    this.worker = given.worker;
    const { url, silenceUsMax, kvSecret, trust } = given;
    const headers: Record<string, string> = {};
    if (kvSecret !== undefined) headers[KV_SECRET_HEADER] = kvSecret;
    this.#http = new EngineHttp({ url, silenceUsMax, headers, trust });
    this.kv = new StatorKv(this.#http, given.kvVia ?? 'http');
  }

  generate(job: Job, signal: AbortSignal): AsyncIterable<Part> {
    const { path, body } = requestOf(job);
    const reader = new UpstreamReader(job.shape.choices);
    return new PartStream(this.#http.stream(path, body, signal), ({ data }) => reader.read(data));
  }

  /** By ids alone: whoever writes the conversation itself would have to write the answer's beginning too. */
  continues({ prompt, said }: Job): boolean {
    return prompt.kind === 'tokens' && said?.ids !== undefined;
  }

  async embed(job: Job, signal: AbortSignal): Promise<Embedding> {
    const input = embeddingInput(job);
    const body = { model: job.model, input, encoding_format: 'base64', cache_salt: saltOf(job) };
    return readEmbedding(await this.#http.json('POST', '/v1/embeddings', body, signal));
  }

  async resetCache(): Promise<void> {
    await this.#http.json('POST', '/reset_prefix_cache', {});
  }

  async healthy(): Promise<boolean> {
    await this.#http.json('GET', '/health');
    return true;
  }

  async report(): Promise<EngineReport | undefined> {
    return (await this.#http.json('GET', '/stator/v1/report')) as EngineReport;
  }

  close(): void {
    this.#http.close();
  }
}

function requestOf(job: Job): { path: string; body: Record<string, unknown> | Uint8Array } {
  const { prompt, sampling, outputTokensMax, shape } = job;
  const extraFields = [
    ...(job.engineData ? ['engine_data'] : []),
    ...(shape.logprobs === undefined ? [] : [TOKEN_LOGPROBS]),
  ];
  const body = {
    model: job.model,
    stream: true,
    stream_options: { include_usage: true },
    ...samplingFields(sampling),
    max_tokens: outputTokensMax,
    stop: job.stop.length > 0 ? job.stop : undefined,
    cache_salt: saltOf(job),
    priority: job.priority === 0 ? undefined : -job.priority, // vLLM's: lower goes first
    nvext: {
      forced_output: forcedOf(job),
      thread: job.thread,
      said_tokens: job.said?.ids?.length,
      said_characters: job.said?.characters,
      extra_fields: extraFields.length > 0 ? extraFields : undefined,
      answer_frame: shape.format === undefined ? undefined : shape.frame,
    },
    n: shape.choices > 1 ? shape.choices : undefined,
    ...formatFields(shape.format),
  };
  if (prompt.kind === 'chat') {
    const { logprobs } = shape;
    const likely = logprobs === undefined ? {} : { logprobs: true, top_logprobs: logprobs };
    const chat = { ...body, ...likely, ...chatFields(prompt.chat) };
    return { path: '/v1/chat/completions', body: chat };
  }
  const { logprobs } = shape;
  const path = '/v1/completions';
  const completion = { ...body, logprobs, return_token_ids: true };
  if (prompt.kind === 'text') return { path, body: { ...completion, prompt: prompt.text } };
  const said = job.said?.ids;
  const ids = said === undefined ? prompt.ids : Uint32Array.from([...prompt.ids, ...said]);
  return { path, body: jsonWithIds(completion, 'prompt', ids) };
}

function forcedOf({ forcedOutput }: Job): string | number[] | undefined {
  return forcedOutput instanceof Uint32Array ? Array.from(forcedOutput) : forcedOutput;
}

function saltOf({ cacheSalt }: Job): string | undefined {
  return cacheSalt === '' ? undefined : cacheSalt;
}
