/**
 * The Responses API over a WebSocket at /v1/responses, as Codex and OpenAI's SDKs speak it: a
 * `response.create` message is a request, one after the other, and its events are the messages that
 * come back. A turn that names the connection's last response brings only what is new.
 *
 * Measured with Codex 0.169: a server without it costs 6.5 s at the start of each session (seven tries),
 * one that refuses with 426 costs 0.2 s; with it a turn sends 19 KB, tools mostly, in place of 40 KB and
 * all that was said, and a prompt is sent ahead while the user still types.
 */
import { randomUUID } from 'node:crypto';
import type { Call, Reply } from '../../http/call.ts';
import type { MessageSocket } from '../../http/message-socket.ts';
import { errorHeaders } from '../../http/router.ts';
import type { SocketCall, SocketHandler } from '../../http/web-sockets.ts';
import { asGatewayError, GatewayError } from '../../model/error.ts';
import type { Clock, Sink } from '../../ports.ts';
import { type Json, object, wrong } from '../../wire/fields.ts';
import { openaiError } from '../../wire/openai-error.ts';
import type { ResponseObject } from '../../wire/responses-items.ts';
import { unansweredResponse } from '../../wire/responses-object.ts';
import type { Access } from '../access.ts';
import type { Serve } from '../serve.ts';
import type { ResponseRecord } from './chain-record.ts';
import { keptWire } from './kept-wire.ts';
import { type LatestTurn, LatestTurns } from './latest-turns.ts';
import { noteInternal } from './noted.ts';
import { type Responses, wholeRecord } from './responses.ts';
import { SocketReply } from './socket-reply.ts';
import type { Turn } from './turn.ts';

export interface ResponsesSocketParts {
  access: Access;
  serve: Serve;
  responses: Responses;
  clock: Clock;
  sink: Sink;
  /** Last turns of all connections. */
  latestBytesMax: number;
}

export class ResponsesSocket {
  readonly #parts: ResponsesSocketParts;
  readonly #latest: LatestTurns;

  constructor(parts: ResponsesSocketParts) {
    this.#parts = parts;
    this.#latest = new LatestTurns(parts.latestBytesMax);
  }

  readonly handle: SocketHandler = async (call) => {
    const { access } = this.#parts;
    if (call.path !== '/v1/responses') {
      throw new GatewayError('not_found', `There is no WebSocket at ${call.path.slice(0, 200)}.`);
    }
    // Only browsers send it, and they ask nobody before they connect to other sites.
    if (call.headers.origin !== undefined) access.sameSite(call);
    access.caller(call);
    const socket = await call.accept();
    const latest = this.#latest.connection();
    try {
      for await (const text of socket.messages())
        await this.#message(text, { call, socket, latest });
    } finally {
      latest.forget();
    }
  };

  async #message(
    text: string,
    { call, socket, latest }: { call: SocketCall; socket: MessageSocket; latest: LatestTurn },
  ): Promise<void> {
    const requestId = randomUUID();
    const reply = new SocketReply(socket);
    try {
      const { type, ...sent } = messageOf(text);
      // Codex tells what it has read; nothing is held back for it.
      if (type === 'response.processed') return;
      if (type !== 'response.create') throw wrong('type', 'must be response.create');
      const one = callOf(call, { sent, socket, reply, requestId });
      const body = { ...sent, stream: true, background: false };
      const turn = await this.#parts.responses.read(one, body, latest);
      let isKept = false;
      const keep = (record: ResponseRecord) => {
        isKept = true;
        const bytes = text.length + JSON.stringify(record.response.output).length;
        latest.keep({ ...turn, record, bytes });
      };
      if (turn.generates) await this.#parts.responses.answer(one, turn, keep);
      else this.#prepare(one, turn, keep);
      // What a turn failed to continue is kept no more, as OpenAI's guide to WebSockets has it.
      if (!isKept) latest.forget();
    } catch (thrown) {
      noteInternal(this.#parts.sink, thrown);
      if (reply.headSent) return reply.destroy();
      refuse(reply, asGatewayError(thrown), requestId);
    }
  }

  /** Nothing is asked for but to be ready: the prompt is computed while the client goes on. */
  #prepare(call: Call, turn: Turn, keep: (record: ResponseRecord) => void): void {
    const { serve, clock } = this.#parts;
    const wire = keptWire(turn, () => {});
    const ask = wire.parse(turn.body);
    const nowS = Math.floor(clock.wallMs() / 1000);
    const opening = { id: turn.id, createdS: nowS, model: ask.model, promptTokens: undefined };
    const begun = unansweredResponse(ask, opening, { status: 'in_progress', output: [] });
    const response: ResponseObject = {
      ...begun,
      status: 'completed',
      completed_at: nowS,
      usage: NO_USAGE,
    };
    keep(wholeRecord(turn, response));
    const events = [
      { type: 'response.created', sequence_number: 0, response: begun },
      { type: 'response.completed', sequence_number: 1, response },
    ];
    call.reply.head(200, {});
    call.reply.end(events.map((event) => `data: ${JSON.stringify(event)}\n`).join(''));
    // One token, because an engine gives no fewer.
    const body = { ...turn.body, max_output_tokens: 1, stream: false };
    const identified = () => {};
    void serve.handle({ ...call, reply: new NoReply() }, wire, { body, identified });
  }
}

const NO_USAGE = {
  input_tokens: 0,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: 0,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 0,
};

/** Of an answer that nobody reads. */
class NoReply implements Reply {
  headSent = false;

  head(): void {
    this.headSent = true;
  }

  write(): undefined {}

  end(): void {}

  destroy(): void {}
}

function messageOf(text: string): Json {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    throw new GatewayError('invalid_json', 'The message is not valid JSON.');
  }
  return object(message, 'the message');
}

/** A message as the request that it would have been. */
function callOf(
  { path, headers, remote }: SocketCall,
  given: { sent: Json; socket: MessageSocket; reply: Reply; requestId: string },
): Call {
  const { sent, socket, reply, requestId } = given;
  return {
    method: 'POST',
    path,
    query: new URLSearchParams(),
    headers: { ...headers, ...headersIn(sent.client_metadata) },
    remote,
    body: async () => Buffer.from(JSON.stringify(sent)),
    async *stream() {
      yield Buffer.from(JSON.stringify(sent));
    },
    signal: socket.signal,
    requestId,
    reply,
  };
}

/** What Codex sends as headers of a request, and on a connection with each message. */
function headersIn(metadata: unknown): Record<string, string> {
  const headers: Record<string, string> = {};
  if (typeof metadata !== 'object' || metadata === null) return headers;
  for (const [field, value] of Object.entries(metadata)) {
    const name = field.replaceAll('_', '-');
    const isSaid = name.startsWith('x-codex-') || name === 'thread-id' || name === 'session-id';
    if (isSaid && typeof value === 'string') headers[name] = value;
  }
  return headers;
}

function refuse(reply: Reply, error: GatewayError, requestId: string): void {
  reply.head(error.status, errorHeaders(requestId, error));
  reply.end(JSON.stringify(openaiError(error)));
}
