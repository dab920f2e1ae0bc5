/** A vLLM server over HTTP: token-id prompts where both sides agree on tokens, chats elsewhere. */
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Embedding, Engine, EngineReport, Handoff, Job } from '../ports.ts';
import { readEmbedding } from '../wire/openai-embeddings.ts';
import { UpstreamReader } from '../wire/openai-upstream.ts';
import type { EngineHttp } from './http.ts';
import { PartStream } from './part-stream.ts';
import { RequestHandoff } from './request-handoff.ts';
import { withoutSaid } from './said.ts';
import { loadOf, readVllmMetrics } from './vllm-metrics.ts';
import { type VllmDialect, vllmRequest } from './vllm-request.ts';

export interface VllmEngineGiven {
  worker: WorkerId;
  http: EngineHttp;
  dialect: VllmDialect;
  /** Older ones leave the number out where it is 0. */
  reportsCachedTokens: boolean;
  /** By its metrics, and where those do not say, as it says itself. */
  isAwake: (samples: ReturnType<typeof readVllmMetrics>) => Promise<boolean>;
}

export class VllmEngine implements Engine {
  readonly worker: WorkerId;
  readonly handoff: Handoff;
  readonly #given: VllmEngineGiven;
  readonly #http: EngineHttp;

  constructor(given: VllmEngineGiven) {
    this.worker = given.worker;
    this.#given = given;
    this.#http = given.http;
    const request = (job: Job) => vllmRequest(job, given.dialect);
    this.handoff = new RequestHandoff({ way: { kind: 'vllm' }, http: given.http, request });
  }

  generate(job: Job, signal: AbortSignal): AsyncIterable<Part> {
    const { path, body } = vllmRequest(job, this.#given.dialect);
    const reader = new UpstreamReader(job.shape.choices);
    const saidTokens = job.said?.ids?.length ?? 0;
    return new PartStream(this.#http.stream(path, body, signal), ({ data }) => {
      const parts = withoutSaid(reader.read(data), saidTokens);
      const last = parts.at(-1);
      if (last?.kind === 'done' && this.#given.reportsCachedTokens) last.usage.cachedTokens ??= 0;
      return parts;
    });
  }

  continues({ prompt, said }: Job): boolean {
    return prompt.kind === 'tokens' && said?.ids !== undefined;
  }

  async embed(job: Job, signal: AbortSignal): Promise<Embedding> {
    const { prompt, cacheSalt } = job;
    if (prompt.kind === 'chat') {
      throw new GatewayError('invalid_request', 'Only text or token ids can be embedded.');
    }
    const input = prompt.kind === 'tokens' ? Array.from(prompt.ids) : prompt.text;
    const { model } = this.#given.dialect;
    const salt = cacheSalt === '' ? {} : { cache_salt: cacheSalt };
    const body = { model, input, encoding_format: 'base64', ...salt };
    return readEmbedding(await this.#http.json('POST', '/v1/embeddings', body, signal));
  }

  rank(path: string, body: object, signal: AbortSignal): Promise<unknown> {
    return this.#http.json('POST', path, { ...body, model: this.#given.dialect.model }, signal);
  }

  /** Its route is there in development mode only. */
  async resetCache(): Promise<void> {
    await this.#http.text('POST', '/reset_prefix_cache').catch((error: unknown) => {
      throw new GatewayError(
        'engine_failed',
        `${this.worker} does not empty its cache: vLLM does so when started with VLLM_SERVER_DEV_MODE=1.`,
        { cause: error },
      );
    });
  }

  /** One that sleeps answers, and computes nothing. */
  async healthy(): Promise<boolean> {
    await this.#http.text('GET', '/health');
    const samples = readVllmMetrics(await this.#http.text('GET', '/metrics'));
    return await this.#given.isAwake(samples);
  }

  async report(): Promise<EngineReport | undefined> {
    return loadOf(readVllmMetrics(await this.#http.text('GET', '/metrics')));
  }

  close(): void {
    this.#http.close();
  }
}
