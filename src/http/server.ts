/** Sockets ↔ calls: the only file that listens on node:http. */
import { randomUUID } from 'node:crypto';
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { GatewayError } from '../model/error.ts';
import { openaiError } from '../wire/openai-error.ts';
import { Bodies } from './bodies.ts';
import type { Call, Reply } from './call.ts';
import { errorHeaders, type Handler } from './router.ts';
import { withoutUpgrade } from './upgrade.ts';
import type { WebSockets } from './web-sockets.ts';

export interface HttpLimits {
  bodyBytesMax: number;
  /** Of all calls that are not over: what a body became is kept about as long as its call. */
  bodiesBytesMax: number;
  headersUsMax: number;
  bodyUsMax: number;
  /** A client that takes nothing of a finished answer for so long loses the rest of it. */
  readerUsMax: number;
  shutdownUsMax: number;
}

export class HttpServer {
  readonly #server: Server;
  readonly #limits: HttpLimits;
  /** What is being answered, by its socket. */
  readonly #answering = new Map<Duplex, ServerResponse>();
  readonly #bodies: Bodies;
  readonly #sockets: WebSockets | undefined;
  #closing = false;

  constructor(handler: Handler, limits: HttpLimits, sockets?: WebSockets) {
    this.#limits = limits;
    this.#sockets = sockets;
    this.#bodies = new Bodies(limits);
    const options = {
      headersTimeout: limits.headersUsMax / 1000,
      requestTimeout: (limits.headersUsMax + limits.bodyUsMax) / 1000,
      connectionsCheckingInterval: limits.headersUsMax / 2000,
      keepAliveTimeout: 65_000,
    };
    this.#server = createServer(options, (request, response) => {
      const { socket } = request;
      this.#answering.set(socket, response);
      response.on('close', () => {
        this.#answering.delete(socket);
        if (this.#closing) setImmediate(() => this.#server.closeIdleConnections());
      });
      const call = callOf(request, response, { bodies: this.#bodies, ...limits });
      handler(call).catch(() => response.destroy());
    });
    if (sockets !== undefined) this.#takeUpgrades(sockets);
    this.#server.on('clientError', (error, socket) => {
      // In the midst of an answer, words of ours would be taken for a part of it.
      const begun = this.#answering.get(socket)?.headersSent === true;
      if (socket.writable && !begun) socket.end(refusalOf(error));
      else socket.destroy();
    });
  }

  /** Resolves to the port; rejects with the error of `listen` (EADDRINUSE, EACCES). */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.removeListener('error', reject);
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** Takes no more calls; those that run may end, but not for ever. */
  close(): Promise<void> {
    this.#closing = true;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#server.closeAllConnections();
        this.#sockets?.terminate();
      }, this.#limits.shutdownUsMax / 1000);
      this.#server.close(() => {
        clearTimeout(timer);
        resolve();
      });
      this.#server.closeIdleConnections();
      this.#sockets?.close();
    });
  }

  #takeUpgrades(sockets: WebSockets): void {
    this.#server.on('upgrade', (request, socket, head) => {
      if (request.headers.upgrade?.toLowerCase() !== 'websocket') {
        // To another protocol, which nobody has to know: Java's client asks for HTTP/2 like this.
        socket.unshift(withoutUpgrade(request, head));
        this.#server.emit('connection', socket);
        return;
      }
      const { pathname } = urlOf(request.url ?? '/');
      void sockets.take({ request, socket, head, path: pathname }, (error) => {
        socket.end(refusal(`${error.status} ${STATUS_CODES[error.status]}`, error));
      });
    });
  }
}

function callOf(
  request: IncomingMessage,
  response: ServerResponse,
  { bodies, readerUsMax }: { bodies: Bodies; readerUsMax: number },
): Call {
  const leaving = new AbortController();
  response.on('close', () => {
    // Whoever asked for the head has all of it, and what streams behind it need not go on.
    if (!response.writableFinished || request.method === 'HEAD') leaving.abort();
  });
  const headers: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  const { pathname, searchParams } = urlOf(request.url ?? '/');
  const requestId = requestIdOf(headers['x-request-id']);
  // The first is OpenAI's clients' name for it, the second Anthropic's.
  response.setHeader('x-request-id', requestId);
  response.setHeader('request-id', requestId);
  return {
    method: request.method ?? 'GET',
    path: pathname,
    query: searchParams,
    headers,
    remote: request.socket.remoteAddress ?? '',
    body: () => bodies.read(request, response),
    stream: () => request,
    signal: leaving.signal,
    requestId,
    reply: new SocketReply(response, readerUsMax / 1000),
  };
}

/** A path, or a whole address as proxies send it; what is neither finds no route. */
function urlOf(target: string): { pathname: string; searchParams: URLSearchParams } {
  const text = target.startsWith('/') ? `http://stator${target}` : target;
  if (URL.canParse(text)) return new URL(text);
  return { pathname: target, searchParams: new URLSearchParams() };
}

/** Echoed where it is a name; anything else gets one of ours. */
function requestIdOf(sent: string | undefined): string {
  return sent !== undefined && /^[\w.:-]{1,128}$/.test(sent) ? sent : randomUUID();
}

/** What never became a call: refused on the bare socket, in the shape of every other error. */
function refusalOf({ code }: NodeJS.ErrnoException): string {
  let status = '400 Bad Request';
  let error = new GatewayError('invalid_request', 'This is not HTTP/1.1 that can be read.');
  if (code === 'HPE_HEADER_OVERFLOW') {
    status = '431 Request Header Fields Too Large';
    error = new GatewayError('invalid_request', 'The headers are longer than this server reads.');
  } else if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    status = '408 Request Timeout';
    error = new GatewayError('request_timeout', 'The request did not arrive in the time it has.');
  }
  return refusal(status, error);
}

function refusal(status: string, error: GatewayError): string {
  const body = JSON.stringify(openaiError(error));
  const headers = {
    ...errorHeaders(randomUUID(), error),
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status}\r\n${lines.join('')}\r\n${body}`;
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

class SocketReply implements Reply {
  readonly #response: ServerResponse;
  readonly #readerMsMax: number;
  /** Nothing of a body may follow, which to the route is a GET's. */
  readonly #isHeadOnly: boolean;
  /** Chunks of the answer get their frames here: one string a write costs the system less than three. */
  #isFraming = false;

  constructor(response: ServerResponse, readerMsMax: number) {
    this.#response = response;
    this.#readerMsMax = readerMsMax;
    this.#isHeadOnly = response.req.method === 'HEAD';
  }

  get headSent(): boolean {
    return this.#response.headersSent;
  }

  head(status: number, headers: Record<string, string>): void {
    // A body that was not read to its end would be taken for the next request: the socket ends here.
    const response = this.#response;
    const { req } = response;
    const unread = hasBody(req) && !req.complete;
    const isStream = headers['content-type']?.startsWith('text/event-stream') === true;
    this.#isFraming = isStream && req.httpVersion === '1.1' && !this.#isHeadOnly;
    response.writeHead(status, {
      ...headers,
      ...(unread && { connection: 'close' }),
      ...(this.#isFraming && { 'transfer-encoding': 'chunked' }),
    });
    if (this.#isFraming) response.chunkedEncoding = false;
    if (this.#isHeadOnly) this.#finish();
  }

  write(data: string | Uint8Array): Promise<void> | undefined {
    const response = this.#response;
    if (response.destroyed) return undefined;
    // Of a head alone, until it is over.
    if (!this.#isHeadOnly && response.write(this.#framed(data))) return undefined;
    return new Promise((resolve) => {
      const go = () => {
        response.off('drain', go);
        response.off('close', go);
        resolve();
      };
      response.once('drain', go);
      response.once('close', go);
    });
  }

  destroy(): void {
    this.#response.destroy();
  }

  end(text?: string | Uint8Array): void {
    if (!this.#isHeadOnly) this.#finish(text);
  }

  #finish(text?: string | Uint8Array): void {
    const response = this.#response;
    // Nobody waits any more for this client to read: the socket must not, either.
    response.setTimeout(this.#readerMsMax, () => {
      if (!response.writableFinished) response.destroy();
    });
    if (!this.#isFraming) response.end(text);
    else response.end(`${text === undefined ? '' : this.#framed(text)}${LAST_CHUNK}`);
    response.req.resume();
  }

  /** Streams of events are text. */
  #framed(data: string | Uint8Array): string | Uint8Array {
    if (!this.#isFraming || data.length === 0) return data;
    return `${Buffer.byteLength(data).toString(16)}\r\n${data}\r\n`;
  }
}

const LAST_CHUNK = '0\r\n\r\n';
