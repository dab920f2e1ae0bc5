/** The raw API as a client without a library sees it: requests, replies, streams, broken streams. */
import assert from 'node:assert/strict';
import { request } from 'node:http';

const REPLY_MS_MAX = 90_000;

export interface Reply<T> {
  status: number;
  headers: Headers;
  text: string;
  body: T;
}

export type HeaderFields = Record<string, string>;

export async function call<T = unknown>(
  method: string,
  url: string,
  given: { body?: unknown; headers?: HeaderFields } = {},
): Promise<Reply<T>> {
  const body =
    given.body === undefined || typeof given.body === 'string'
      ? (given.body as string | undefined)
      : JSON.stringify(given.body);
  const response = await fetch(url, {
    method,
    body,
    headers: { 'content-type': 'application/json', ...given.headers },
    signal: AbortSignal.timeout(REPLY_MS_MAX),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json');
  const parsed = (isJson && text !== '' ? JSON.parse(text) : undefined) as T;
  return { status: response.status, headers: response.headers, text, body: parsed };
}

export const get = <T = unknown>(url: string, headers?: HeaderFields) =>
  call<T>('GET', url, { headers });
export const post = <T = unknown>(url: string, body: unknown, headers?: HeaderFields) =>
  call<T>('POST', url, { body, headers });

export interface OpenStream {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  events: AsyncGenerator<SseEvent>;
  /** Breaks the connection off, as a client that dies does. */
  destroy(): void;
}

export interface SseEvent {
  event: string | undefined;
  data: string;
}

/** Over a socket of its own, so that it can be broken off. */
export function openStream(
  url: string,
  body: unknown,
  headers: HeaderFields = {},
): Promise<OpenStream> {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? 'GET' : 'POST';
    const options = {
      method,
      agent: false as const,
      headers: { 'content-type': 'application/json', ...headers },
      timeout: REPLY_MS_MAX,
    };
    const outgoing = request(url, options, (response) => {
      const { statusCode: status = 0, headers } = response;
      const events = eventsOf(response.setEncoding('utf8'));
      resolve({ status, headers, events, destroy: () => outgoing.destroy() });
    });
    outgoing.on('error', reject);
    outgoing.on('timeout', () => outgoing.destroy(new Error('the server says nothing')));
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function* eventsOf(chunks: AsyncIterable<string>): AsyncGenerator<SseEvent> {
  let rest = '';
  for await (const chunk of chunks) {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const field = (name: string) =>
        block
          .split('\n')
          .filter((line) => line.startsWith(`${name}: `))
          .map((line) => line.slice(name.length + 2));
      const data = field('data').join('\n');
      if (data !== '') yield { event: field('event')[0], data };
    }
  }
  assert.equal(rest, '', 'a stream ends with a whole event');
}

/** One streamed answer, of whichever wire, reduced to what both have. */
export interface Streamed {
  status: number;
  headers: OpenStream['headers'];
  text: string;
  reasoning: string;
  toolCalls: { id: string; name: string; arguments: string }[];
  /** Why it ended; undefined where it did not. */
  finish: string | undefined;
  promptTokens: number | undefined;
  cachedTokens: number | undefined;
  outputTokens: number | undefined;
  /** Error events in the stream, or the body of a refusal. */
  errors: { type: string; message: string }[];
  /** The connection ended before the stream did. */
  broken: boolean;
  /** Events after which nothing may come: [DONE], message_stop or an error. */
  ends: number;
}

type Told = { type: string; message: string };
type ChatChunk = {
  error?: Told;
  choices?: {
    delta: {
      content?: string;
      reasoning_content?: string;
      tool_calls?: {
        index: number;
        id?: string;
        function: { name?: string; arguments?: string };
      }[];
    };
    finish_reason: string | null;
  }[];
  usage?: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details?: { cached_tokens: number };
  };
};

/** Each text as it comes goes to `onText`; what it returns, if it is a promise, is awaited. */
export async function streamChat(
  url: string,
  body: object,
  given: { headers?: HeaderFields; onText?: (text: string) => unknown } = {},
): Promise<Streamed> {
  const stream = await openStream(
    `${url}/v1/chat/completions`,
    { model: 'demo', stream: true, stream_options: { include_usage: true }, ...body },
    given.headers,
  );
  return await collected(stream, async ({ data }, answer) => {
    if (data === '[DONE]') {
      answer.ends++;
      return;
    }
    const chunk = JSON.parse(data) as ChatChunk;
    if (chunk.error !== undefined) answer.errors.push(chunk.error);
    if (chunk.usage !== undefined) {
      answer.promptTokens = chunk.usage.prompt_tokens;
      answer.outputTokens = chunk.usage.completion_tokens;
      answer.cachedTokens = chunk.usage.prompt_tokens_details?.cached_tokens;
    }
    const choice = chunk.choices?.[0];
    if (choice === undefined) return;
    answer.finish = choice.finish_reason ?? answer.finish;
    answer.reasoning += choice.delta.reasoning_content ?? '';
    for (const call of choice.delta.tool_calls ?? []) {
      answer.toolCalls[call.index] ??= { id: '', name: '', arguments: '' };
      const open = answer.toolCalls[call.index];
      open.id += call.id ?? '';
      open.name += call.function.name ?? '';
      open.arguments += call.function.arguments ?? '';
    }
    const text = choice.delta.content ?? '';
    answer.text += text;
    if (text !== '') await given.onText?.(text);
  });
}

type MessagesEvent = {
  type: string;
  error?: Told;
  message?: { usage: Record<string, number> };
  content_block?: { type: string; id?: string; name?: string };
  delta?: { text?: string; thinking?: string; partial_json?: string; stop_reason?: string };
  usage?: Record<string, number>;
};

export async function streamMessages(
  url: string,
  body: object,
  given: { headers?: HeaderFields; onText?: (text: string) => unknown } = {},
): Promise<Streamed> {
  const stream = await openStream(
    `${url}/v1/messages`,
    { model: 'demo', max_tokens: 2000, stream: true, ...body },
    given.headers,
  );
  return await collected(stream, async ({ event, data }, answer) => {
    const told = JSON.parse(data) as MessagesEvent;
    assert.equal(told.type, event, 'an event is named by its type');
    if (told.type === 'message_stop' || told.type === 'error') answer.ends++;
    if (told.error !== undefined) answer.errors.push(told.error);
    const usage = told.usage ?? told.message?.usage;
    if (usage !== undefined) {
      const cached = usage.cache_read_input_tokens;
      if (cached !== undefined) {
        answer.cachedTokens = cached;
        answer.promptTokens = cached + usage.input_tokens;
      }
      answer.outputTokens = usage.output_tokens;
    }
    const block = told.content_block;
    if (block?.type === 'tool_use') {
      answer.toolCalls.push({ id: block.id ?? '', name: block.name ?? '', arguments: '' });
    }
    const { delta } = told;
    answer.finish = delta?.stop_reason ?? answer.finish;
    answer.reasoning += delta?.thinking ?? '';
    const call = answer.toolCalls[answer.toolCalls.length - 1];
    if (delta?.partial_json !== undefined) call.arguments += delta.partial_json;
    const text = delta?.text ?? '';
    answer.text += text;
    if (text !== '') await given.onText?.(text);
  });
}

async function collected(
  stream: OpenStream,
  take: (event: SseEvent, answer: Streamed) => Promise<void>,
): Promise<Streamed> {
  const { status, headers, events } = stream;
  const answer: Streamed = {
    status,
    headers,
    text: '',
    reasoning: '',
    toolCalls: [],
    finish: undefined,
    promptTokens: undefined,
    cachedTokens: undefined,
    outputTokens: undefined,
    errors: [],
    broken: false,
    ends: 0,
  };
  if (status !== 200) {
    stream.destroy();
    return answer;
  }
  for await (const event of untilBroken(events, answer)) await take(event, answer);
  return answer;
}

async function* untilBroken(
  events: AsyncGenerator<SseEvent>,
  answer: Streamed,
): AsyncGenerator<SseEvent> {
  try {
    yield* events;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
    answer.broken = true;
  }
}

/** The stream ended as its protocol says: once, whole or with one error. */
export function assertCleanEnd(answer: Streamed): void {
  assert.equal(answer.broken, false, 'the stream is not broken off');
  assert.equal(answer.ends, 1, 'exactly one end');
  const outcomes = answer.errors.length + (answer.finish === undefined ? 0 : 1);
  assert.equal(outcomes, 1, `either a finish or one error: ${JSON.stringify(answer)}`);
}
