/** HTTP to an engine: one pool, streams of server-sent events, and errors in our words. */
import { Readable } from 'node:stream';
import { type Dispatcher, Pool } from 'undici';
import { GatewayError } from '../model/error.ts';
import { EventStream } from './event-stream.ts';

/** So much waits to be sent. */
const UPLOAD_BYTES = 256 * 1024;

/** Health, reports and the like are answered at once, or the engine is stuck. */
const QUESTION_MS_MAX = 2_000;

export class EngineHttp {
  readonly #pool: Pool;
  readonly #headers: Record<string, string>;

  /** `silenceUsMax`: an engine that sends nothing for so long is taken as lost. */
  constructor(given: { url: string; silenceUsMax: number; headers: Record<string, string> }) {
    const timeout = Math.ceil(given.silenceUsMax / 1000);
    this.#pool = new Pool(given.url, {
      connections: null,
      headersTimeout: timeout,
      bodyTimeout: timeout,
      keepAliveTimeout: 30_000,
    });
    this.#headers = given.headers;
  }

  /** Lists of events that came together; `body` is JSON already where it is bytes. */
  stream(path: string, body: object, signal: AbortSignal): EventStream {
    const headers = { ...this.#headers, 'content-type': 'application/json' };
    const stream = new EventStream({ signal, refused, lost });
    const json = body instanceof Uint8Array ? body : JSON.stringify(body);
    this.#pool.dispatch({ method: 'POST', path, headers, body: json }, stream);
    return stream;
  }

  /** `signal`: for what takes as long as it takes; other questions are answered in short time. */
  async json(
    method: 'GET' | 'POST',
    path: string,
    body?: unknown,
    signal: AbortSignal = AbortSignal.timeout(QUESTION_MS_MAX),
  ): Promise<unknown> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await this.#send(method, path, text, signal);
    try {
      return await response.body.json();
    } catch (error) {
      throw lost(error);
    }
  }

  /** A body as it comes; `json` reads all of it instead. */
  async download(
    path: string,
    question: unknown,
    signal: AbortSignal,
  ): Promise<{ isJson: boolean; json(): Promise<unknown>; bytes: AsyncIterable<Uint8Array> }> {
    const { headers, body } = await this.#send('POST', path, JSON.stringify(question), signal);
    const isJson = String(headers['content-type']).startsWith('application/json');
    return { isJson, json: () => body.json(), bytes: body };
  }

  /** Sends bytes as they are made, and resolves to the answer. */
  async upload(
    path: string,
    bytes: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<unknown> {
    const body = Readable.from(bytes, { objectMode: false, highWaterMark: UPLOAD_BYTES });
    try {
      return await (await this.#send('POST', path, body, signal)).body.json();
    } catch (error) {
      throw lost(error);
    }
  }

  close(): void {
    void this.#pool.destroy();
  }

  async #send(
    method: 'GET' | 'POST',
    path: string,
    body: string | Readable | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Dispatcher.ResponseData> {
    let response: Dispatcher.ResponseData;
    try {
      const type = body instanceof Readable ? 'application/octet-stream' : 'application/json';
      const headers = { ...this.#headers, 'content-type': type };
      response = await this.#pool.request({ method, path, headers, body, signal });
    } catch (error) {
      throw lost(error);
    }
    if (response.statusCode === 200) return response;
    const said = await response.body.text().catch(() => '');
    throw refused(response.statusCode, said, response.headers['retry-after']);
  }
}

function lost(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  return new GatewayError('engine_lost', 'The engine could not be reached or broke off.', {
    cause: error,
  });
}

/** What an engine refuses because of the request is the client's to know; the rest is the engine's. */
function refused(status: number, body: string, retryAfter: unknown): GatewayError {
  const { message, code, param } = readError(body);
  if (BUSY.has(status)) {
    const retryAfterUs = secondsOf(retryAfter) * 1e6;
    return new GatewayError('queue_full', `The engine is busy: ${message}`, { retryAfterUs });
  }
  if (status >= 500) return new GatewayError('engine_failed', `The engine failed: ${message}`);
  if (code === 'context_length_exceeded') return new GatewayError(code, message);
  if (status === 403) return new GatewayError('forbidden', message);
  if (status === 404)
    return new GatewayError('engine_failed', `The engine answered 404: ${message}`);
  return new GatewayError('invalid_request', message, { param });
}

const BUSY: ReadonlySet<number> = new Set([429, 503, 529]);

/** A date, or nothing, is as good as soon. */
function secondsOf(retryAfter: unknown): number {
  const text = String(retryAfter);
  return /^\d{1,5}$/.test(text) ? Number(text) : 0;
}

function readError(body: string): { message: string; code: unknown; param: string | undefined } {
  try {
    const { error } = JSON.parse(body) as { error?: Record<string, unknown> };
    const { message, code, param } = error ?? {};
    return {
      message: typeof message === 'string' ? message : 'it gave no reason',
      code,
      param: typeof param === 'string' ? param : undefined,
    };
  } catch {
    return { message: 'it gave no reason', code: undefined, param: undefined };
  }
}
