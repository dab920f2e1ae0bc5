/** Sockets ↔ calls: the only file that listens on node:http. */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { GatewayError } from '../model/error.ts';
import type { Call, Reply } from './call.ts';
import type { Handler } from './router.ts';

export interface HttpLimits {
  bodyBytesMax: number;
  headersUsMax: number;
  bodyUsMax: number;
  shutdownUsMax: number;
}

export class HttpServer {
  readonly #server: Server;
  readonly #limits: HttpLimits;

  constructor(handler: Handler, limits: HttpLimits) {
    this.#limits = limits;
    const options = {
      headersTimeout: limits.headersUsMax / 1000,
      requestTimeout: (limits.headersUsMax + limits.bodyUsMax) / 1000,
      keepAliveTimeout: 65_000,
    };
    this.#server = createServer(options, (request, response) => {
      const call = callOf(request, response, limits);
      handler(call).catch(() => response.destroy());
    });
    this.#server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
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
  const url = new URL(request.url ?? '/', 'http://stator');
  return {
    method: request.method ?? 'GET',
    path: url.pathname,
    query: url.searchParams,
    headers,
    remote: request.socket.remoteAddress ?? '',
    body: () => readBody(request, limits.bodyBytesMax),
    signal: leaving.signal,
    requestId: requestIdOf(headers['x-request-id']),
    reply: new SocketReply(response),
  };
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
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > bytesMax) throw tooLarge();
    chunks.push(chunk as Buffer);
  }
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
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
    this.#response.writeHead(status, req.complete ? headers : { ...headers, connection: 'close' });
  }

  write(text: string): Promise<void> | undefined {
    const response = this.#response;
    if (response.destroyed || response.write(text)) return undefined;
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
