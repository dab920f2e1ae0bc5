/** Our own worker over HTTP: vLLM's dialect with token-id prompts, plus KV control and reports. */
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Engine, EngineReport, Job } from '../ports.ts';
import { chatFields, UpstreamReader } from '../wire/openai-upstream.ts';
import { EngineHttp } from './http.ts';

/** Proves to a worker that whoever changes its cache was told so at its start. */
export const KV_SECRET_HEADER = 'x-stator-kv-secret';

export class StatorEngine implements Engine {
  readonly worker: WorkerId;
  readonly #http: EngineHttp;

  constructor(given: {
    worker: WorkerId;
    url: string;
    silenceUsMax: number;
    /** For routes that change its cache. */
    kvSecret: string | undefined;
  }) {
    this.worker = given.worker;
    const { url, silenceUsMax, kvSecret } = given;
    const headers: Record<string, string> = {};
    if (kvSecret !== undefined) headers[KV_SECRET_HEADER] = kvSecret;
    this.#http = new EngineHttp({ url, silenceUsMax, headers });
  }

  async *generate(job: Job, signal: AbortSignal): AsyncGenerator<Part> {
    const { path, body } = requestOf(job);
    const reader = new UpstreamReader();
    for await (const { data } of this.#http.stream(path, body, signal)) {
      yield* reader.read(data);
    }
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

function requestOf(job: Job): { path: string; body: Record<string, unknown> } {
  const { prompt, sampling, outputTokensMax } = job;
  const body = {
    model: job.model,
    stream: true,
    stream_options: { include_usage: true },
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK,
    min_p: sampling.minP,
    repetition_penalty: sampling.repetitionPenalty,
    frequency_penalty: sampling.frequencyPenalty,
    presence_penalty: sampling.presencePenalty,
    seed: sampling.seed,
    max_tokens: outputTokensMax,
    stop: job.stop.length > 0 ? job.stop : undefined,
    cache_salt: job.cacheSalt === '' ? undefined : job.cacheSalt,
    priority: job.priority,
    nvext: {
      forced_output: job.forcedOutput,
      extra_fields: job.engineData ? ['engine_data'] : undefined,
    },
  };
  if (prompt.kind === 'chat') {
    return { path: '/v1/chat/completions', body: { ...body, ...chatFields(prompt.chat) } };
  }
  const input = prompt.kind === 'tokens' ? Array.from(prompt.ids) : prompt.text;
  return { path: '/v1/completions', body: { ...body, prompt: input, return_token_ids: true } };
}
