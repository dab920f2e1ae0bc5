/**
 * The proxy that clients are told to use: it refuses everything, and says what was asked for. So nothing
 * but this machine is ever spoken to, by those that honour the environment; names cannot be guessed from
 * a timeout.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export class Outside {
  readonly #server: Server;
  #asked = new Set<string>();

  private constructor(server: Server) {
    this.#server = server;
    const refuse = (host: string | undefined) => this.#asked.add(host ?? 'an unnamed host');
    server.on('request', (request, reply) => {
      refuse(request.headers.host);
      reply.writeHead(403).end();
    });
    server.on('connect', (request, socket) => {
      refuse(request.url);
      // Whoever was refused may be gone before it is told so.
      socket.on('error', () => socket.destroy());
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    });
  }

  static async open(): Promise<Outside> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.unref();
    return new Outside(server);
  }

  /** What makes a child process use it, and speak to this machine directly. */
  get environment(): Record<string, string> {
    const { port } = this.#server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}`;
    const names = ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'];
    const here = '127.0.0.1,localhost';
    return {
      ...Object.fromEntries(names.map((name) => [name, url])),
      no_proxy: here,
      NO_PROXY: here,
    };
  }

  /** Hosts that were asked for since the last call. */
  take(): string[] {
    const asked = [...this.#asked];
    this.#asked = new Set();
    return asked;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
