/**
 * WebSockets (RFC 6455) on the server's port. Whoever asks for one is a call like any other until it is
 * accepted: what its handler throws before is answered with a status.
 *
 * Memory is bounded by limits: so many sockets, so many bytes in a message and in messages that wait.
 * Frames are not compressed: they are short, and compressing costs more than it saves on a local net.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { asGatewayError, GatewayError } from '../model/error.ts';
import type { MessageSocket } from './message-socket.ts';

export interface SocketLimits {
  socketsMax: number;
  /** Of a message, and of all that wait on one socket. */
  messageBytesMax: number;
  messagesMax: number;
  /** Of all messages on all sockets that come, wait or are being answered. */
  waitingBytesMax: number;
  /** A client that does not answer a ping until the next one is gone, and one that is as long in a message. */
  pingUs: number;
}

/** Who asks for a socket. */
export interface SocketCall {
  path: string;
  /** Lower-case names. */
  headers: Readonly<Record<string, string | undefined>>;
  /** Address of the peer. */
  remote: string;
  /** Throws where the socket broke off meanwhile. */
  accept(): Promise<MessageSocket>;
}

/** Throws a `GatewayError` before `accept` to refuse; the socket closes when it returns. */
export type SocketHandler = (call: SocketCall) => Promise<void>;

export class WebSockets {
  readonly #handler: SocketHandler;
  readonly #limits: SocketLimits;
  readonly #server: WebSocketServer;
  readonly #sockets = new Set<OneSocket>();
  readonly #waiting = { bytes: 0 };
  readonly #pings: NodeJS.Timeout;
  #closing = false;

  constructor(handler: SocketHandler, limits: SocketLimits) {
    this.#handler = handler;
    this.#limits = limits;
    this.#server = new WebSocketServer({
      noServer: true,
      maxPayload: limits.messageBytesMax,
      perMessageDeflate: false,
      clientTracking: false,
    });
    this.#pings = setInterval(() => this.#ping(), limits.pingUs / 1000).unref();
  }

  get size(): number {
    return this.#sockets.size;
  }

  /** Answers an upgrade request, whatever comes; `refuse` writes an error to the bare socket. */
  async take(
    given: { request: IncomingMessage; socket: Duplex; head: Buffer; path: string },
    refuse: (error: GatewayError) => void,
  ): Promise<void> {
    const { request, socket, head, path } = given;
    let accepted: OneSocket | undefined;
    const gone = () => socket.destroy();
    socket.on('error', gone);
    try {
      if (this.#closing) throw new GatewayError('shutting_down', 'Stator is stopping.');
      await this.#handler({
        path,
        headers: headersOf(request),
        remote: request.socket.remoteAddress ?? '',
        accept: async () => {
          socket.off('error', gone);
          accepted = await this.#accept(request, socket, head);
          return accepted;
        },
      });
      accepted?.close(NORMAL, '');
    } catch (thrown) {
      if (accepted !== undefined) accepted.close(INTERNAL, 'Stator met an error of its own');
      else if (!socket.destroyed) refuse(asGatewayError(thrown));
    }
  }

  /** Takes no more; each socket ends after the message that is being answered. */
  close(): void {
    this.#closing = true;
    clearInterval(this.#pings);
    for (const socket of this.#sockets) socket.stop();
  }

  /** Breaks off what did not end. */
  terminate(): void {
    for (const socket of this.#sockets) socket.terminate();
  }

  #accept(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<OneSocket> {
    // The one status that makes Codex fall back to plain requests at once.
    if (this.#sockets.size >= this.#limits.socketsMax) {
      const most = this.#limits.socketsMax;
      throw new GatewayError(
        'no_sockets',
        `All ${most} WebSockets are in use; send plain requests, which are answered the same way.`,
      );
    }
    return new Promise((resolve, reject) => {
      const lost = () => reject(new GatewayError('client_closed', 'The client left.'));
      socket.once('close', lost);
      this.#server.handleUpgrade(request, socket, head, (ws) => {
        socket.off('close', lost);
        const one = new OneSocket({ ws, socket, limits: this.#limits, all: this.#waiting });
        ws.on('close', () => this.#sockets.delete(one));
        this.#sockets.add(one);
        if (this.#closing) one.stop();
        resolve(one);
      });
    });
  }

  #ping(): void {
    for (const socket of this.#sockets) socket.ping();
  }
}

const NORMAL = 1000;
const GOING_AWAY = 1001;
const TEXT_ONLY = 1003;
const POLICY = 1008;
const INTERNAL = 1011;
const TRY_LATER = 1013;

/** So many bytes may lie between us and the client before a writer waits. */
const UNSENT_BYTES_MAX = 64 * 1024;

/** What a ping or a pong of a client has besides its data: a head and a mask. */
const CONTROL_HEAD_BYTES = 6;

class OneSocket implements MessageSocket {
  readonly #ws: WebSocket;
  readonly #limits: SocketLimits;
  readonly #leaving = new AbortController();
  readonly #waiting: string[] = [];
  #waitingBytes = 0;
  /** Of a message that is not whole: whoever sends one slowly holds it in our memory. */
  #comingBytes = 0;
  /** Since the last chunk: a message became whole, and what was no part of one. */
  #isWhole = false;
  #controlBytes = 0;
  /** On all sockets: what comes, waits or is being answered. */
  readonly #all: { bytes: number };
  #wake = () => {};
  #isStopped = false;
  #isDropped = false;
  #answersPings = true;
  #wasComing = false;

  constructor(given: {
    ws: WebSocket;
    socket: Duplex;
    limits: SocketLimits;
    all: { bytes: number };
  }) {
    const { ws, socket } = given;
    this.#ws = ws;
    this.#limits = given.limits;
    this.#all = given.all;
    ws.on('message', (data, isBinary) => {
      this.#isWhole = true;
      this.#wasComing = false;
      this.#comes(-this.#comingBytes);
      if (isBinary) return this.close(TEXT_ONLY, 'send text');
      this.#take(data as Buffer);
    });
    ws.on('ping', (data) => {
      this.#controlBytes += data.length + CONTROL_HEAD_BYTES;
    });
    ws.on('pong', (data) => {
      this.#answersPings = true;
      this.#controlBytes += data.length + CONTROL_HEAD_BYTES;
    });
    // After ws has read it. What begins behind a message's end is less than a chunk, and not counted.
    socket.on('data', (chunk: Buffer) => {
      const more = chunk.length - this.#controlBytes;
      if (!this.#isWhole) this.#comes(Math.max(more, -this.#comingBytes));
      this.#isWhole = false;
      this.#controlBytes = 0;
    });
    // What follows is a close.
    ws.on('error', () => {});
    ws.on('close', () => {
      this.#drop();
      this.#leaving.abort();
      this.#wake();
    });
  }

  get signal(): AbortSignal {
    return this.#leaving.signal;
  }

  async *messages(): AsyncGenerator<string> {
    while (!this.signal.aborted) {
      const next = this.#waiting.shift();
      if (next !== undefined) {
        const bytes = Buffer.byteLength(next);
        this.#waitingBytes -= bytes;
        try {
          yield next;
        } finally {
          this.#all.bytes -= bytes;
        }
      } else {
        if (this.#isStopped) return this.close(GOING_AWAY, 'Stator is stopping');
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  #take(message: Buffer): void {
    if (this.#isDropped) return;
    const { messageBytesMax, messagesMax, waitingBytesMax } = this.#limits;
    const { length } = message;
    const isTooMuch = this.#waitingBytes + length > messageBytesMax;
    if (isTooMuch || this.#waiting.length >= messagesMax) {
      return this.close(POLICY, 'too many messages wait; send the next one when one is answered');
    }
    if (this.#all.bytes + length > waitingBytesMax) {
      return this.close(TRY_LATER, 'too many messages wait on other connections; try again soon');
    }
    this.#waiting.push(message.toString('utf8'));
    this.#waitingBytes += length;
    this.#all.bytes += length;
    this.#wake();
  }

  /** Whatever it has sent counts no more: nobody else is to go for what is freed in a moment. */
  #drop(): void {
    this.#isDropped = true;
    this.#all.bytes -= this.#waitingBytes + this.#comingBytes;
    this.#waitingBytes = 0;
    this.#comingBytes = 0;
    this.#waiting.length = 0;
  }

  #comes(bytes: number): void {
    if (this.#isDropped) return;
    this.#comingBytes += bytes;
    this.#all.bytes += bytes;
    if (bytes <= 0 || this.#all.bytes <= this.#limits.waitingBytesMax) return;
    this.#drop();
    this.close(TRY_LATER, 'too many messages come on all connections; try again soon');
    // Not when the client has answered: until then it may send on.
    setImmediate(() => this.terminate());
  }

  send(text: string): Promise<void> | undefined {
    const ws = this.#ws;
    if (ws.readyState !== ws.OPEN) return undefined;
    if (ws.bufferedAmount < UNSENT_BYTES_MAX) {
      ws.send(text, () => {});
      return undefined;
    }
    // Called with an error where the socket closed: then nobody waits for room.
    return new Promise((resolve) => ws.send(text, () => resolve()));
  }

  close(code: number, reason: string): void {
    this.#ws.close(code, reason);
  }

  /** After what is being answered now. */
  stop(): void {
    this.#isStopped = true;
    this.#wake();
  }

  ping(): void {
    const isComing = this.#comingBytes > 0;
    if (!this.#answersPings || (isComing && this.#wasComing)) return this.terminate();
    this.#answersPings = false;
    this.#wasComing = isComing;
    this.#ws.ping();
  }

  terminate(): void {
    this.#ws.terminate();
  }
}

function headersOf({ headers }: IncomingMessage): Record<string, string | undefined> {
  const joined: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(headers)) {
    joined[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return joined;
}
