/** The other end of a worker's socket for one stream of KV; see worker/kv-socket.ts. */
import { connect, type Socket } from 'node:net';
import { GatewayError } from '../model/error.ts';

export interface KvSocket {
  bytes: AsyncIterable<Uint8Array>;
  /** Sends all, no faster than it is taken, and resolves to the JSON that is answered. */
  send(bytes: AsyncIterable<Uint8Array>): Promise<unknown>;
}

/** Throws a `GatewayError` where nobody listens there. */
export async function connectSocket(
  offer: { path: string; token: string },
  signal: AbortSignal,
): Promise<KvSocket> {
  const socket = connect({ path: offer.path, allowHalfOpen: true, signal });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (cause) => reject(lost(cause)));
  });
  socket.on('error', () => socket.destroy()); // Whoever reads or writes hears it.
  socket.write(`${offer.token}\n`);
  return { bytes: received(socket), send: (bytes) => sent(socket, bytes) };
}

async function* received(socket: Socket): AsyncGenerator<Uint8Array> {
  try {
    yield* socket as AsyncIterable<Uint8Array>;
  } finally {
    socket.destroy();
  }
}

async function sent(socket: Socket, bytes: AsyncIterable<Uint8Array>): Promise<unknown> {
  const answered = answerOf(socket);
  answered.catch(() => {}); // It is awaited below; a stream that breaks off is told first.
  try {
    for await (const chunk of bytes) {
      // Who has answered, or left, takes no more.
      if (socket.destroyed || socket.readableEnded) break;
      if (!socket.write(chunk)) await room(socket);
    }
    socket.end();
    return await answered;
  } finally {
    socket.destroy();
  }
}

async function answerOf(socket: Socket): Promise<unknown> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch (error) {
    throw lost(error);
  }
}

function room(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      for (const event of ['drain', 'close', 'end']) socket.off(event, go);
      resolve();
    };
    for (const event of ['drain', 'close', 'end']) socket.once(event, go);
  });
}

function lost(cause: unknown): GatewayError {
  return new GatewayError('engine_lost', 'The engine could not be reached or broke off.', {
    cause,
  });
}
