/**
 * A Unix socket for one stream of KV, for who asks on the same machine: nobody else can open its folder
 * (0700), the first to connect takes it, and what he says first must be a token that is good once.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GatewayError } from '../model/error.ts';

export interface SocketOffer {
  path: string;
  /** To be sent first, with a newline. */
  token: string;
}

/** Who asked for a socket connects within, and says the token. */
const OFFER_MS_MAX = 10_000;

/** Resolves when it can be connected to; `taken` gets what follows the token, `lapsed` hears that nobody came. */
export async function offerSocket(given: {
  taken: (socket: Socket, bytes: AsyncIterable<Uint8Array>) => Promise<void>;
  lapsed: () => void;
}): Promise<SocketOffer> {
  if (process.platform === 'win32') {
    throw new GatewayError('invalid_request', 'There are no Unix sockets here; leave via out.');
  }
  const folder = await mkdtemp(join(tmpdir(), 'stator-kv-'));
  const path = join(folder, 's');
  const token = randomBytes(32).toString('hex');
  const server = createServer({ allowHalfOpen: true });
  server.maxConnections = 1;
  try {
    await listen(server, path);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  // Whether it is used or not, nothing of it stays.
  const end = () => {
    clearTimeout(timer);
    server.close();
    void rm(folder, { recursive: true, force: true }).catch(() => {}); // It is in a folder for such.
  };
  const timer = setTimeout(() => {
    end();
    given.lapsed();
  }, OFFER_MS_MAX);
  server.once('connection', (socket) => {
    end();
    void serve(socket, token, given).catch(() => socket.destroy());
  });
  return { path, token };
}

async function serve(
  socket: Socket,
  token: string,
  given: {
    taken: (socket: Socket, bytes: AsyncIterable<Uint8Array>) => Promise<void>;
    lapsed: () => void;
  },
): Promise<void> {
  socket.on('error', () => socket.destroy());
  socket.setTimeout(OFFER_MS_MAX, () => socket.destroy());
  const source = socket.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]();
  const wanted = Buffer.from(`${token}\n`);
  let said = Buffer.alloc(0);
  while (said.length < wanted.length) {
    const next = await source.next().catch(() => undefined);
    if (next === undefined || next.done === true) break;
    said = Buffer.concat([said, next.value]);
  }
  const isHis = said.length >= wanted.length && timingSafeEqual(said.subarray(0, 65), wanted);
  if (!isHis) {
    given.lapsed();
    socket.destroy();
    return;
  }
  await given.taken(socket, rest(said.subarray(wanted.length), source));
}

async function* rest(
  first: Uint8Array,
  source: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (first.length > 0) yield first;
  for (;;) {
    const next = await source.next();
    if (next.done === true) return;
    yield next.value;
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Writes the whole stream, no faster than it is read; rejects where the reader left. */
export async function sendAll(socket: Socket, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of bytes) {
    if (socket.destroyed) throw new GatewayError('client_closed', 'The client left.');
    if (socket.write(chunk)) continue;
    await new Promise<void>((resolve) => {
      const go = () => {
        socket.off('drain', go);
        socket.off('close', go);
        resolve();
      };
      socket.once('drain', go);
      socket.once('close', go);
    });
  }
}
