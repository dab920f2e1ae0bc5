/**
 * The least a gateway in this language can be: node:http in, undici out, bytes passed on as they come.
 * What Stator's gateway costs is measured beside it.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';

export class BarePipe {
  readonly #server: Server;
  readonly #pool: Pool;

  constructor(engine: string) {
    this.#pool = new Pool(engine, { connections: null, headersTimeout: 0, bodyTimeout: 0 });
    this.#server = createServer((request, response) => {
      const { url = '/', method = 'POST', headers } = request;
      this.#pool
        .stream(
          {
            path: url,
            method,
            headers: { 'content-type': headers['content-type'] ?? 'application/json' },
            body: request,
          },
          ({ statusCode, headers: { 'content-type': type } }) => {
            response.writeHead(statusCode, { 'content-type': String(type) });
            return response;
          },
        )
        .catch(() => response.destroy());
    });
    this.#server.keepAliveTimeout = 60_000;
  }

  /** Resolves to its port on the loopback. */
  start(): Promise<number> {
    return new Promise((resolve) => {
      this.#server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
    void this.#pool.destroy();
  }
}
