/**
 * Ollama over its own routes. It takes no token ids and tells nothing of its cache, so prompts pass
 * through. The window is asked for with each request: by default it is small, and Ollama cuts what is
 * longer without a word; another window would load the model anew.
 */
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Embedding, Engine, Job } from '../ports.ts';
import { OllamaReader, ollamaChatFields, ollamaFormat } from '../wire/ollama.ts';
import { looseCount, looseList, looseObject } from '../wire/upstream-json.ts';
import type { EngineHttp } from './http.ts';
import { embeddingInput, type Fields, refuseForced } from './openai-request.ts';
import { PartStream } from './part-stream.ts';

export interface OllamaDialect {
  /** Its name of the model. */
  model: string;
  contextTokens: number;
  /** Whether the model can be asked to think. */
  thinks: boolean;
}

export class OllamaEngine implements Engine {
  readonly worker: WorkerId;
  readonly #http: EngineHttp;
  readonly #dialect: OllamaDialect;

  constructor(given: { worker: WorkerId; http: EngineHttp; dialect: OllamaDialect }) {
    this.worker = given.worker;
    this.#http = given.http;
    this.#dialect = given.dialect;
  }

  generate(job: Job, signal: AbortSignal): AsyncIterable<Part> {
    const { path, body } = this.#request(job);
    const reader = new OllamaReader();
    const lines = this.#http.stream(path, body, signal, 'lines');
    return new PartStream(lines, ({ data }) => reader.read(data));
  }

  async embed(job: Job, signal: AbortSignal): Promise<Embedding> {
    const input = embeddingInput(job);
    if (typeof input !== 'string') throw noIds();
    const body = { model: this.#dialect.model, input };
    const answer = looseObject(await this.#http.json('POST', '/api/embed', body, signal));
    const [vector] = looseList(answer.embeddings);
    if (!Array.isArray(vector)) {
      throw new GatewayError('engine_failed', 'The engine answered with no embedding.');
    }
    const promptTokens = looseCount(answer.prompt_eval_count) ?? 0;
    const usage = { promptTokens, outputTokens: 0, cachedTokens: undefined };
    return { vector: Float32Array.from(vector.map(Number)), usage, note: undefined };
  }

  /** By letting go of the model: it is loaded anew for the next request. */
  async resetCache(): Promise<void> {
    const body = { model: this.#dialect.model, keep_alive: 0, stream: false };
    await this.#http.json('POST', '/api/generate', body);
  }

  async healthy(): Promise<boolean> {
    await this.#http.json('GET', '/api/version');
    return true;
  }

  /** It does not tell. */
  async report(): Promise<undefined> {
    return undefined;
  }

  close(): void {
    this.#http.close();
  }

  #request(job: Job): { path: string; body: Fields } {
    refuseForced(job, 'Ollama');
    const { prompt, shape } = job;
    const refused = (claim: string, param: string) =>
      new GatewayError('invalid_request', `Ollama ${claim}.`, { param });
    if (shape.choices > 1) throw refused('gives one answer to a prompt', 'n');
    if (shape.logprobs !== undefined)
      throw refused('is not asked for log probabilities', 'logprobs');
    if (prompt.kind === 'tokens') throw noIds();
    const { model, thinks } = this.#dialect;
    const format = ollamaFormat(shape.format);
    const body = {
      model,
      stream: true,
      ...(format !== undefined && { format }),
      options: this.#options(job),
      // Newer ones say that a prompt is too long instead of cutting it.
      truncate: false,
      shift: false,
    };
    if (prompt.kind === 'text') {
      return { path: '/api/generate', body: { ...body, prompt: prompt.text, raw: true } };
    }
    return { path: '/api/chat', body: { ...body, ...ollamaChatFields(prompt.chat, { thinks }) } };
  }

  #options({ sampling, stop, outputTokensMax }: Job): Fields {
    return {
      num_ctx: this.#dialect.contextTokens,
      num_predict: outputTokensMax ?? -1,
      temperature: sampling.temperature,
      top_p: sampling.topP,
      top_k: sampling.topK,
      min_p: sampling.minP,
      repeat_penalty: sampling.repetitionPenalty,
      frequency_penalty: sampling.frequencyPenalty,
      presence_penalty: sampling.presencePenalty,
      ...(sampling.seed !== undefined && { seed: sampling.seed }),
      ...(stop.length > 0 && { stop }),
    };
  }
}

function noIds(): GatewayError {
  return new GatewayError('invalid_request', 'Ollama takes no token ids; send text.', {
    param: 'prompt',
  });
}
