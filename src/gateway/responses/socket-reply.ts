/**
 * A stream of the Responses API as WebSocket messages: each event is one, as JSON. What was refused is a
 * message of type `error` with the status and the headers that it would have had.
 */
import type { Reply } from '../../http/call.ts';
import type { MessageSocket } from '../../http/message-socket.ts';

const BROKEN_OFF = 1011;

export class SocketReply implements Reply {
  readonly #socket: MessageSocket;
  #status = 0;
  #headers: Record<string, string> = {};

  constructor(socket: MessageSocket) {
    this.#socket = socket;
  }

  get headSent(): boolean {
    return this.#status !== 0;
  }

  head(status: number, headers: Record<string, string>): void {
    this.#status = status;
    this.#headers = headers;
  }

  write(data: string | Uint8Array): Promise<void> | undefined {
    let room: Promise<void> | undefined;
    for (const line of String(data).split('\n')) {
      if (!line.startsWith('data: {')) continue;
      room = this.#socket.send(line.slice('data: '.length));
    }
    return room;
  }

  end(text?: string | Uint8Array): void {
    if (text === undefined) return;
    if (this.#status === 200) {
      void this.write(text);
    } else {
      const { 'content-type': _type, 'content-length': _length, ...headers } = this.#headers;
      const { error } = JSON.parse(String(text)) as { error: unknown };
      void this.#socket.send(
        JSON.stringify({ type: 'error', status: this.#status, error, headers }),
      );
    }
  }

  destroy(): void {
    this.#socket.close(BROKEN_OFF, 'the answer broke off');
  }
}
