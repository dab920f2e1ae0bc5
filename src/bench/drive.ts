/**
 * Clients against a running server. Closed loop: so many sessions live at once, and one that ends makes room for
 * the next. Open loop: sessions begin when they were recorded to begin, whatever the server can take. Within a
 * session each call is sent when what it waits for has happened.
 */
import { Pool } from 'undici';
import { SseReader } from '../wire/sse.ts';

/** `speedup`: recorded gaps are so many times shorter. */
export type Load = { kind: 'closed'; live: number } | { kind: 'open'; speedup: number };

export interface DriveInput {
  /** Without `/v1`. */
  url: string;
  headers: Record<string, string>;
  sessions: readonly ScriptedSession[];
  load: Load;
  /** Told apart from other runs' sessions. */
  run: string;
  /** Laid over each call's body. */
  overlay: (call: { session: string; index: number }) => Record<string, unknown>;
  onProgress: (done: { calls: number; callCount: number; sessions: number }) => void;
}

/** The calls of one client and its sub-agents. */
export interface ScriptedSession {
  id: string;
  /** When an open loop begins it, after its own begin. */
  startMs: number;
  calls: readonly ScriptedCall[];
}

export interface ScriptedCall {
  /** The agent or sub-agent that calls; a session of one thread needs no name for it. */
  thread?: string;
  path: '/v1/chat/completions' | '/v1/completions';
  /** Made when it is sent: prompts of all calls together would fill the memory. */
  body: () => Record<string, unknown>;
  /** All must be met, and they lead in no circle; a call without any is sent when its session begins. */
  waits: readonly ScriptedWait[];
}

/** Met so long after another call of the session was sent, or was answered. */
export interface ScriptedWait {
  on: number;
  delayMs: number;
  onDispatch: boolean;
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
  /** Undefined where the server did not tell. */
  cachedTokens: number | undefined;
  outputTokens: number;
  /** `max_tokens`; undefined where the answer may be as long as it likes. */
  outputTokensMax: number | undefined;
  /** What went wrong, in one sentence. */
  error: string | undefined;
}

/** A server that is silent for longer is taken as lost. */
const SILENCE_MS_MAX = 600_000;

/** After a call that failed, its session ends: what came later would say less than it did. */
export async function drive(input: DriveInput): Promise<CallResult[]> {
  const { url, load, onProgress } = input;
  const limits = { headersTimeout: SILENCE_MS_MAX, bodyTimeout: SILENCE_MS_MAX };
  const pool = new Pool(new URL(url).origin, { connections: null, ...limits });
  const results: CallResult[] = [];
  const callCount = input.sessions.reduce((sum, one) => sum + one.calls.length, 0);
  let sessions = 0;
  const one = async (session: ScriptedSession, pace: number) => {
    await play(session, pace, async (index) => {
      const result = await callOnce(pool, input, session, index);
      results.push(result);
      onProgress({ calls: results.length, callCount, sessions });
      return result.error === undefined;
    });
    sessions++;
  };
  try {
    if (load.kind === 'closed') {
      const queue = [...input.sessions];
      const client = async () => {
        for (let next = queue.shift(); next !== undefined; next = queue.shift()) await one(next, 1);
      };
      await Promise.all(Array.from({ length: load.live }, client));
    } else {
      const beganMs = performance.now();
      const arrive = async (session: ScriptedSession) => {
        await until(beganMs + session.startMs / load.speedup);
        await one(session, 1 / load.speedup);
      };
      await Promise.all(input.sessions.map(arrive));
    }
  } finally {
    await pool.close();
  }
  return results;
}

/** `send` resolves to whether the call was answered; `pace` is laid on every gap. */
async function play(
  { calls }: ScriptedSession,
  pace: number,
  send: (index: number) => Promise<boolean>,
): Promise<void> {
  const beganMs = performance.now();
  const sent = calls.map(() => moment());
  const ended = calls.map(() => moment());
  let broken = false;
  const one = async ({ waits }: ScriptedCall, index: number) => {
    const met = waits.map(async ({ on, delayMs, onDispatch }) => {
      const atMs = await (onDispatch ? sent : ended)[on].came;
      return atMs + delayMs * pace;
    });
    const dueMs = Math.max(beganMs, ...(await Promise.all(met)));
    if (!broken) await until(dueMs);
    sent[index].come();
    if (!broken && !(await send(index))) broken = true;
    ended[index].come();
  };
  await Promise.all(calls.map(one));
}

function moment(): { came: Promise<number>; come(): void } {
  let come = () => {};
  const came = new Promise<number>((resolve) => {
    come = () => resolve(performance.now());
  });
  return { came, come };
}

async function until(atMs: number): Promise<void> {
  const leftMs = atMs - performance.now();
  if (leftMs > 0) await new Promise((resolve) => setTimeout(resolve, leftMs));
}

async function callOnce(
  pool: Pool,
  { url, run, overlay, headers: own }: DriveInput,
  { id, calls }: ScriptedSession,
  index: number,
): Promise<CallResult> {
  const { path, body, thread } = calls[index];
  const asked = merged(body(), overlay({ session: id, index }));
  const text = JSON.stringify(asked);
  const { max_tokens: most } = asked as { max_tokens?: number };
  const result: CallResult = {
    session: id,
    worker: '',
    refused: false,
    sentMs: performance.now(),
    firstMs: undefined,
    endMs: 0,
    promptTokens: 0,
    cachedTokens: undefined,
    outputTokens: 0,
    outputTokensMax: most,
    error: undefined,
  };
  const headers = {
    ...own,
    'content-type': 'application/json',
    'x-stator-session-id': `${run}-${id}${thread === undefined ? '' : `-${thread}`}`,
  };
  try {
    const base = new URL(url).pathname.replace(/\/$/, '');
    const request = { method: 'POST' as const, path: base + path, headers, body: text };
    const response = await pool.request(request);
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

interface Choice {
  delta?: Record<string, unknown>;
  text?: string;
  finish_reason?: string | null;
}

interface Chunk {
  choices?: Choice[];
  usage?: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details?: { cached_tokens?: number } | null;
  } | null;
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
      if (choice !== undefined && saysSomething(choice)) result.firstMs ??= performance.now();
      if (choice?.finish_reason) finished = true;
      if (!chunk.usage) continue;
      result.promptTokens = chunk.usage.prompt_tokens;
      result.outputTokens = chunk.usage.completion_tokens;
      result.cachedTokens = chunk.usage.prompt_tokens_details?.cached_tokens ?? undefined;
    }
  }
  if (!finished) result.error ??= 'the stream broke off';
}

/** The first delta of a chat only opens the message; some servers name the role in every one. */
function saysSomething({ delta, text }: Choice): boolean {
  if (delta === undefined) return text !== undefined && text !== '';
  if (!('role' in delta)) return true;
  return [delta.content, delta.reasoning_content, delta.tool_calls].some(
    (said) => said !== undefined && said !== null && said !== '',
  );
}
