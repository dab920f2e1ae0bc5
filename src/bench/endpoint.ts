/**
 * A server that speaks OpenAI's API, as somebody who wants to replay a trace there has to know it: asked once
 * whether it takes token ids, forced answers and `ignore_eos`, and whether its cache can be emptied.
 */

export interface Endpoint {
  /** Without `/v1`. */
  url: string;
  headers: Record<string, string>;
  model: string;
  /** Ids of plain words, where it takes token ids. */
  ids: Uint32Array | undefined;
  /** Whether `nvext.forced_output` dictates its answers. */
  forced: boolean;
  ignoresEos: boolean;
}

/** The message is one sentence that names cause and mend. */
export class EndpointError extends Error {
  override name = 'EndpointError';
}

/** Short words that byte-pair vocabularies have whole, with the space before them. */
export const PLAIN_WORDS =
  'the of and to in is you that it he was for on are as with his they at be this have from or one had by word but not what all were we when your can said there use an each which she do how their if will up other about out many then them these so some her would make like him into time has look two more write go see number no way could people my than first water been call who oil its now find long down day did get come made may part'.split(
    ' ',
  );

const ANSWER_MS_MAX = 120_000;

export async function meet(
  given: string,
  { key, model: named }: { key?: string; model?: string } = {},
): Promise<Endpoint> {
  const url = given.replace(/\/+$/, '').replace(/\/v1$/, '');
  const headers: Record<string, string> =
    key === undefined ? {} : { authorization: `Bearer ${key}` };
  const server = new Server(url, headers);
  const model = named ?? (await server.firstModel());
  const ids = await server.wordIds(model);
  const prompts: (number[] | string)[] = ids === undefined ? [] : [Array.from(ids.subarray(0, 16))];
  prompts.push(PLAIN_WORDS.slice(0, 16).join(' '));
  let refusal = '';
  for (const prompt of prompts) {
    for (const ignoresEos of [true, false]) {
      const body = { model, prompt, max_tokens: 1, ...(ignoresEos && { ignore_eos: true }) };
      const { status, text } = await server.ask('POST', '/v1/completions', body);
      if (status === 200) {
        const forced = await server.takesForced(model);
        const takesIds = typeof prompt !== 'string';
        return { url, headers, model, ids: takesIds ? ids : undefined, forced, ignoresEos };
      }
      refusal = `${status}: ${text.slice(0, 200)}`;
      if (status === 401 || status === 403) throw new EndpointError(`${url} asks for a key.`);
    }
  }
  throw new EndpointError(`${url} does not serve /v1/completions for ${model}: HTTP ${refusal}`);
}

/** Empties its cache; throws where that cannot be had. */
export async function resetCache({
  url,
  headers,
}: Pick<Endpoint, 'url' | 'headers'>): Promise<void> {
  const { status } = await new Server(url, headers).ask('POST', '/reset_prefix_cache', {});
  if (status === 200) return;
  throw new EndpointError(
    `The cache of ${url} cannot be emptied (/reset_prefix_cache answers ${status}), so one run would find what another left; vLLM has the route with VLLM_SERVER_DEV_MODE=1, Stator for an admin key; or pass --no-reset.`,
  );
}

/** Of a Stator gateway; undefined elsewhere. */
export async function workersBehind({
  url,
  headers,
}: Pick<Endpoint, 'url' | 'headers'>): Promise<number | undefined> {
  const { status, text } = await new Server(url, headers).ask('GET', '/stator/v1/workers');
  if (status !== 200) return undefined;
  const { workers } = objectOf(text) as { workers?: unknown[] };
  return workers?.length;
}

class Server {
  readonly #url: string;
  readonly #headers: Record<string, string>;

  constructor(url: string, headers: Record<string, string>) {
    this.#url = url;
    this.#headers = headers;
  }

  async ask(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; text: string }> {
    try {
      const response = await fetch(this.#url + path, {
        method,
        headers: { ...this.#headers, 'content-type': 'application/json' },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      });
      return { status: response.status, text: await response.text() };
    } catch {
      throw new EndpointError(
        `Nothing answers at ${this.#url}; is it up, and is this its address?`,
      );
    }
  }

  async firstModel(): Promise<string> {
    const { status, text } = await this.ask('GET', '/v1/models');
    if (status === 401 || status === 403) throw new EndpointError(`${this.#url} asks for a key.`);
    const { data } = objectOf(text) as { data?: { id?: unknown }[] };
    const id = Array.isArray(data) ? data[0]?.id : undefined;
    if (status === 200 && typeof id === 'string') return id;
    throw new EndpointError(`${this.#url} names no model at /v1/models; say which with --model.`);
  }

  /** By the server's own tokenizer: vLLM's route, which Stator has too. */
  async wordIds(model: string): Promise<Uint32Array | undefined> {
    const prompt = ` ${PLAIN_WORDS.join(' ')}`;
    const body = { model, prompt, add_special_tokens: false };
    const { status, text } = await this.ask('POST', '/tokenize', body);
    const { tokens } = objectOf(text) as { tokens?: unknown };
    if (status !== 200 || !Array.isArray(tokens)) return undefined;
    const distinct = new Set(tokens.filter((id) => Number.isInteger(id) && id >= 0) as number[]);
    return distinct.size >= PLAIN_WORDS.length / 2 ? Uint32Array.from(distinct) : undefined;
  }

  async takesForced(model: string): Promise<boolean> {
    const forced = PLAIN_WORDS.slice(-4).join(' ');
    const { status, text } = await this.ask('POST', '/v1/completions', {
      ...{ model, prompt: PLAIN_WORDS[0], max_tokens: 16, temperature: 0 },
      nvext: { forced_output: forced },
    });
    const { choices } = objectOf(text) as { choices?: { text?: unknown }[] };
    return status === 200 && Array.isArray(choices) && choices[0]?.text === forced;
  }
}

function objectOf(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {}; // An error page of a proxy, or nothing.
  }
}
