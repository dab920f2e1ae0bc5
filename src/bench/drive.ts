/**
 * A closed loop of clients against a running gateway: so many sessions live at once, each sends its
 * next call when the last one was answered, and one that ends makes room for the next.
 */
import { Pool } from 'undici';
import { SseReader } from '../wire/sse.ts';
import type { Session } from './sessions.ts';

export interface DriveInput {
  url: string;
  model: string;
  sessions: readonly ScriptedSession[];
  /** Sessions at once. */
  live: number;
  /** Told apart from other runs' sessions. */
  run: string;
  onProgress: (done: { calls: number; callCount: number; sessions: number }) => void;
}

export interface ScriptedSession {
  session: Session;
  /** Answers to force, one a call. */
  answers: readonly string[];
}

/** One call as its client saw it; times in milliseconds of one clock. */
export interface CallResult {
  session: string;
  sentMs: number;
  firstMs: number | undefined;
  endMs: number;
  promptTokens: number;
  cachedTokens: number;
  outputTokens: number;
  /** What went wrong, in one sentence. */
  error: string | undefined;
}

export async function drive(input: DriveInput): Promise<CallResult[]> {
  const pool = new Pool(input.url, { connections: input.live, headersTimeout: 0, bodyTimeout: 0 });
  const results: CallResult[] = [];
  const callCount = input.sessions.reduce((sum, one) => sum + one.answers.length, 0);
  const queue = [...input.sessions];
  let sessions = 0;
  const client = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      for (let i = 0; i < next.answers.length; i++) {
        const result = await callOnce(pool, input, next, i);
        results.push(result);
        input.onProgress({ calls: results.length, callCount, sessions });
        if (result.error !== undefined) break;
      }
      sessions++;
    }
  };
  try {
    await Promise.all(Array.from({ length: input.live }, client));
  } finally {
    await pool.close();
  }
  return results;
}

async function callOnce(
  pool: Pool,
  { model, run }: DriveInput,
  { session, answers }: ScriptedSession,
  index: number,
): Promise<CallResult> {
  const result: CallResult = {
    session: session.id,
    sentMs: performance.now(),
    firstMs: undefined,
    endMs: 0,
    promptTokens: 0,
    cachedTokens: 0,
    outputTokens: 0,
    error: undefined,
  };
  const body = JSON.stringify({
    model,
    messages: session.calls[index].messages,
    tools: session.tools.length > 0 ? session.tools : undefined,
    stream: true,
    stream_options: { include_usage: true },
    temperature: 0,
    nvext: { forced_output: answers[index] },
  });
  const headers = {
    'content-type': 'application/json',
    'x-stator-session-id': `${run}-${session.id}`,
  };
  try {
    const path = '/v1/chat/completions';
    const response = await pool.request({ method: 'POST', path, headers, body });
    if (response.statusCode !== 200) {
      result.error = `HTTP ${response.statusCode}: ${(await response.body.text()).slice(0, 300)}`;
    } else {
      await readStream(response.body, result);
    }
  } catch (error) {
    result.error = (error as Error).message;
  }
  result.endMs = performance.now();
  return result;
}

interface Chunk {
  choices?: { delta?: Record<string, unknown>; finish_reason?: string | null }[];
  usage?: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details?: { cached_tokens?: number };
  };
  error?: { message: string };
}

async function readStream(body: AsyncIterable<Uint8Array>, result: CallResult): Promise<void> {
  const reader = new SseReader(8 * 1024 * 1024);
  let finished = false;
  for await (const bytes of body) {
    for (const { data } of reader.push(bytes)) {
      if (data === '[DONE]') continue;
      const chunk = JSON.parse(data) as Chunk;
      if (chunk.error !== undefined) result.error = chunk.error.message;
      const choice = chunk.choices?.[0];
      // The first delta only opens the message; content is what comes after it.
      const content = choice?.delta !== undefined && !('role' in choice.delta);
      if (content) result.firstMs ??= performance.now();
      if (choice?.finish_reason) finished = true;
      if (chunk.usage === undefined) continue;
      result.promptTokens = chunk.usage.prompt_tokens;
      result.outputTokens = chunk.usage.completion_tokens;
      result.cachedTokens = chunk.usage.prompt_tokens_details?.cached_tokens ?? 0;
    }
  }
  if (!finished) result.error ??= 'the stream broke off';
}
