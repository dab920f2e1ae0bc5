/**
 * Stands between two ends of TCP as a firewall does that may forget: what it forgot stays open on both
 * sides and carries nothing any more, and whoever connects anew gets through.
 */
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export interface HalfOpenProxy {
  port: number;
  /** Connections so far. */
  readonly count: number;
  /** Those that stand now are dead from here on, and nobody is told. */
  forget(): void;
}

/** To a port of this machine; it ends with its test. */
export async function halfOpenProxy(t: TestContext, to: number): Promise<HalfOpenProxy> {
  const sockets = new Set<Socket>();
  const live = new Set<Socket>();
  let count = 0;
  const server = createServer((near) => {
    count++;
    const far = dial(to, '127.0.0.1');
    join(near, far);
    join(far, near);
  });
  const join = (from: Socket, into: Socket) => {
    sockets.add(from);
    live.add(from);
    from.on('data', (bytes) => live.has(from) && into.write(bytes));
    from.on('error', () => {});
    from.on('close', () => {
      sockets.delete(from);
      if (live.delete(from)) into.destroy();
    });
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    live.clear();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    get count() {
      return count;
    },
    forget: () => live.clear(),
  };
}
