/**
 * Asks a server for completions of token ids, streamed, as `/v1/completions` of OpenAI, and takes the
 * time of each piece of text. The same for our worker and for a rival: what differs is a few fields.
 */
import { type IncomingMessage, request } from 'node:http';
import { SseReader } from '../wire/sse.ts';

export interface ServerAnswer {
  text: string;
  /** Of its pieces, since the request was sent; the first is TTFT. */
  piecesMs: number[];
  endMs: number;
  usage: ServerUsage | undefined;
}

export interface ServerUsage {
  promptTokens: number;
  outputTokens: number;
  cachedTokens: number;
}

export interface ServerAsk {
  ids: readonly number[] | Uint32Array;
  /** Tokens of the answer, whatever the model likes. */
  tokens: number;
  /** Breaks the request off; the answer is what came until then. */
  signal?: AbortSignal;
  /** Hears each piece's time since the request was sent. */
  onPiece?: (ms: number) => void;
}

const EVENT_BYTES_MAX = 1024 * 1024;

type Event = {
  error?: { message?: string };
  choices?: { text: string }[];
  usage?: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details?: { cached_tokens?: number } | null;
  } | null;
};

export class ServerClient {
  readonly url: string;
  readonly #fields: (tokens: number) => Record<string, unknown>;

  /** `fields` are what this server needs so that an answer has so many tokens. */
  constructor(url: string, fields: (tokens: number) => Record<string, unknown>) {
    this.url = url;
    this.#fields = fields;
  }

  /** Throws where the server refuses or fails. */
  async ask({ ids, tokens, signal, onPiece }: ServerAsk): Promise<ServerAnswer> {
    const body = JSON.stringify({
      prompt: Array.from(ids),
      max_tokens: tokens,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      ...this.#fields(tokens),
    });
    const answer: ServerAnswer = { text: '', piecesMs: [], endMs: 0, usage: undefined };
    const startMs = performance.now();
    const sinceMs = () => performance.now() - startMs;
    try {
      const response = await this.#post(body, signal);
      if (response.statusCode !== 200) throw new Error(await refusalOf(response));
      const reader = new SseReader(EVENT_BYTES_MAX);
      for await (const chunk of response) {
        for (const { data } of reader.push(chunk as Buffer)) {
          if (data !== '[DONE]') take(answer, JSON.parse(data) as Event, { sinceMs, onPiece });
        }
      }
    } catch (error) {
      if (signal?.aborted !== true) throw error;
    }
    answer.endMs = sinceMs();
    return answer;
  }

  /** A connection for each: servers close idle ones, just as the next request is on its way. */
  #post(body: string, signal: AbortSignal | undefined): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const headers = {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      };
      const options = { method: 'POST', agent: false as const, headers, signal };
      request(`${this.url}/v1/completions`, options, resolve).on('error', reject).end(body);
    });
  }
}

function take(
  answer: ServerAnswer,
  { error, choices, usage }: Event,
  { sinceMs, onPiece }: { sinceMs: () => number; onPiece: ServerAsk['onPiece'] },
): void {
  if (error !== undefined) throw new Error(error.message ?? 'the server failed');
  const text = choices?.[0]?.text ?? '';
  if (text !== '') {
    const ms = sinceMs();
    answer.text += text;
    answer.piecesMs.push(ms);
    onPiece?.(ms);
  }
  if (usage === undefined || usage === null) return;
  answer.usage = {
    promptTokens: usage.prompt_tokens,
    outputTokens: usage.completion_tokens,
    cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
  };
}

async function refusalOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return `the server answers ${response.statusCode}: ${text.slice(0, 300)}`;
}
