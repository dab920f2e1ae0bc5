/**
 * A closed loop of clients against a running server: so many sessions live at once, each sends its
 * next call a think time after the last one was answered, and one that ends makes room for the next.
 */
import { Pool } from 'undici';
import { SseReader } from '../wire/sse.ts';

export interface DriveInput {
  url: string;
  sessions: readonly ScriptedSession[];
  /** Sessions at once. */
  live: number;
  /** Told apart from other runs' sessions. */
  run: string;
  /** Laid over each call's body. */
  overlay: (call: { session: string; index: number }) => Record<string, unknown>;
  onProgress: (done: { calls: number; callCount: number; sessions: number }) => void;
}

/** One client's calls, in order. */
export interface ScriptedSession {
  id: string;
  calls: readonly ScriptedCall[];
}

export interface ScriptedCall {
  path: '/v1/chat/completions' | '/v1/completions';
  /** Made when it is sent: prompts of all calls together would fill the memory. */
  body: () => Record<string, unknown>;
  /** After the answer before it, or after the session's begin. */
  thinkMs: number;
}

/** One call as its client saw it; times in milliseconds of one clock. */
export interface CallResult {
  session: string;
  /** Who answered, as the gateway said; '' where it did not. */
  worker: string;
  /** Turned away because of load: asked too much, not answered wrong. */
  refused: boolean;
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
  const callCount = input.sessions.reduce((sum, one) => sum + one.calls.length, 0);
  const queue = [...input.sessions];
  let sessions = 0;
  const client = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      for (let index = 0; index < next.calls.length; index++) {
        const { thinkMs } = next.calls[index];
        if (thinkMs > 0) await new Promise((resolve) => setTimeout(resolve, thinkMs));
        const result = await callOnce(pool, input, next, index);
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
  { run, overlay }: DriveInput,
  { id, calls }: ScriptedSession,
  index: number,
): Promise<CallResult> {
  const { path, body } = calls[index];
  const text = JSON.stringify(merged(body(), overlay({ session: id, index })));
  const result: CallResult = {
    session: id,
    worker: '',
    refused: false,
    sentMs: performance.now(),
    firstMs: undefined,
    endMs: 0,
    promptTokens: 0,
    cachedTokens: 0,
    outputTokens: 0,
    error: undefined,
  };
  const headers = {
    'content-type': 'application/json',
    'x-stator-session-id': `${run}-${id}`,
  };
  try {
    const response = await pool.request({ method: 'POST', path, headers, body: text });
    result.worker = String(response.headers['x-stator-worker'] ?? '');
    if (response.statusCode !== 200) {
      result.refused = [429, 503, 529].includes(response.statusCode);
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

/** `nvext` is laid over field by field. */
function merged(body: Record<string, unknown>, over: Record<string, unknown>) {
  const nvext = { ...(body.nvext as object | undefined), ...(over.nvext as object | undefined) };
  return { ...body, ...over, ...(Object.keys(nvext).length > 0 ? { nvext } : {}) };
}

interface Chunk {
  choices?: { delta?: Record<string, unknown>; text?: string; finish_reason?: string | null }[];
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
      // The first delta of a chat only opens the message; content is what comes after it.
      const said = choice?.delta === undefined ? choice?.text : !('role' in choice.delta);
      if (said) result.firstMs ??= performance.now();
      if (choice?.finish_reason) finished = true;
      if (chunk.usage === undefined) continue;
      result.promptTokens = chunk.usage.prompt_tokens;
      result.outputTokens = chunk.usage.completion_tokens;
      result.cachedTokens = chunk.usage.prompt_tokens_details?.cached_tokens ?? 0;
    }
  }
  if (!finished) result.error ??= 'the stream broke off';
}
