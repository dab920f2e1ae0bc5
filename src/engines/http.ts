/** HTTP to an engine: one pool, streams of server-sent events, and errors in our words. */
import { Readable } from 'node:stream';
import { type Dispatcher, Pool } from 'undici';
import { certificateProblem } from '../base/certificate.ts';
import { GatewayError } from '../model/error.ts';
import { type Refusal, refusalOf } from '../wire/upstream-error.ts';
import { EventStream } from './event-stream.ts';

/** So much waits to be sent. */
const UPLOAD_BYTES = 256 * 1024;

/** Health, reports and the like are answered at once, or the engine is stuck. */
const QUESTION_MS_MAX = 2_000;

export interface EngineTrust {
  /** Certificates that issue others, PEM; undefined: those that Node trusts. */
  ca: string | undefined;
  /** What its certificate names it, where its address does not. */
  serverName: string | undefined;
}

export interface EngineHttpGiven {
  /** All paths are below it. */
  url: string;
  /** An engine that sends nothing for so long is taken as lost. */
  silenceUsMax: number;
  headers: Record<string, string>;
  /** Whom its certificate is trusted from; undefined: those whom this machine trusts. */
  trust?: EngineTrust | undefined;
  /** What a refusal means, where it is not what it means to most. */
  refused?: ((refusal: Refusal) => GatewayError) | undefined;
}

export class EngineHttp {
  readonly #pool: Pool;
  /** Of the address, before every path. */
  readonly #base: string;
  readonly #headers: Record<string, string>;
  readonly #refused: (refusal: Refusal) => GatewayError;

  constructor(given: EngineHttpGiven) {
    const timeout = Math.ceil(given.silenceUsMax / 1000);
    const { origin, pathname } = new URL(given.url);
    this.#base = pathname.replace(/\/+$/, '');
    this.#refused = given.refused ?? refusalOf;
    this.#pool = new Pool(origin, {
      connections: null,
      headersTimeout: timeout,
      bodyTimeout: timeout,
      keepAliveTimeout: 30_000,
      ...(given.trust && { connect: connectOf(given.trust) }),
    });
    this.#headers = given.headers;
  }

  /**
   * Lists of events that came together; `body` is JSON already where it is bytes. `framing`: server-sent
   * events, or JSON values each on a line of its own.
   */
  stream(
    path: string,
    body: object,
    signal: AbortSignal,
    framing: 'events' | 'lines' = 'events',
  ): EventStream {
    const headers = { ...this.#headers, 'content-type': 'application/json' };
    const refused = this.#refused;
    const stream = new EventStream({ signal, refused, lost, framing });
    const json = body instanceof Uint8Array ? body : JSON.stringify(body);
    const options = { method: 'POST', path: this.#base + path, headers, body: json } as const;
    this.#pool.dispatch(options, stream);
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

  /** An answer that need not be JSON, nor anything at all. */
  async text(
    method: 'GET' | 'POST',
    path: string,
    signal: AbortSignal = AbortSignal.timeout(QUESTION_MS_MAX),
  ): Promise<string> {
    const { body } = await this.#send(method, path, undefined, signal);
    try {
      return await body.text();
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
      response = await this.#pool.request({
        ...{ method, headers, body, signal },
        path: this.#base + path,
      });
    } catch (error) {
      throw lost(error);
    }
    if (response.statusCode === 200) return response;
    const said = await response.body.text().catch(() => '');
    const { statusCode: status, headers } = response;
    throw this.#refused({ status, body: said, retryAfter: headers['retry-after'] });
  }
}

function connectOf({ ca, serverName }: EngineTrust) {
  return { ...(ca !== undefined && { ca }), ...(serverName && { servername: serverName }) };
}

function lost(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  const { code } = error as { code?: unknown };
  // Trying again mends none of these, and only who reads of it can.
  const problem = certificateProblem(code);
  const sentence =
    problem === undefined
      ? 'The engine could not be reached or broke off.'
      : `The engine cannot be trusted: ${problem}.`;
  const isUnreached = code === 'ECONNREFUSED' || code === 'UND_ERR_CONNECT_TIMEOUT';
  return new GatewayError('engine_lost', sentence, { cause: error, isUnreached });
}
