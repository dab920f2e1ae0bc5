/** Sockets ↔ calls: the only file that listens on node:http. */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { GatewayError } from '../model/error.ts';
import { openaiError } from '../wire/openai-error.ts';
import type { Call, Reply } from './call.ts';
import { errorHeaders, type Handler } from './router.ts';

export interface HttpLimits {
  bodyBytesMax: number;
  headersUsMax: number;
  bodyUsMax: number;
  shutdownUsMax: number;
}

export class HttpServer {
  readonly #server: Server;
  readonly #limits: HttpLimits;
  /** What is being answered, by its socket. */
  readonly #answering = new Map<Duplex, ServerResponse>();
  #closing = false;

  constructor(handler: Handler, limits: HttpLimits) {
    this.#limits = limits;
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
      const call = callOf(request, response, limits);
      handler(call).catch(() => response.destroy());
    });
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
      const timer = setTimeout(
        () => this.#server.closeAllConnections(),
        this.#limits.shutdownUsMax / 1000,
      );
      this.#server.close(() => {
        clearTimeout(timer);
        resolve();
      });
      this.#server.closeIdleConnections();
    });
  }
}

function callOf(request: IncomingMessage, response: ServerResponse, limits: HttpLimits): Call {
  const leaving = new AbortController();
  response.on('close', () => {
    if (!response.writableFinished) leaving.abort();
  });
  const headers: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  const { pathname, searchParams } = urlOf(request.url ?? '/');
  const requestId = requestIdOf(headers['x-request-id']);
  response.setHeader('x-request-id', requestId);
  return {
    method: request.method ?? 'GET',
    path: pathname,
    query: searchParams,
    headers,
    remote: request.socket.remoteAddress ?? '',
    body: () => readBody(request, limits.bodyBytesMax),
    stream: () => request,
    signal: leaving.signal,
    requestId,
    reply: new SocketReply(response),
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

async function readBody(request: IncomingMessage, bytesMax: number): Promise<Uint8Array> {
  const tooLarge = () =>
    new GatewayError('body_too_large', `The body is larger than ${bytesMax} bytes.`);
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > bytesMax) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request) {
      bytes += (chunk as Buffer).length;
      if (bytes > bytesMax) throw tooLarge();
      chunks.push(chunk as Buffer);
    }
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw new GatewayError('client_closed', 'The client left before its request was whole.');
  }
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
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

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  get headSent(): boolean {
    return this.#response.headersSent;
  }

  head(status: number, headers: Record<string, string>): void {
    // A body that was not read to its end would be taken for the next request: the socket ends here.
    const { req } = this.#response;
    const unread = hasBody(req) && !req.complete;
    this.#response.writeHead(status, unread ? { ...headers, connection: 'close' } : headers);
  }

  write(data: string | Uint8Array): Promise<void> | undefined {
    const response = this.#response;
    if (response.destroyed || response.write(data)) return undefined;
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
    this.#response.end(text);
    this.#response.req.resume();
  }
}
