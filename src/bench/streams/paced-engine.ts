/**
 * An engine that computes nothing and sends events at an even pace, for benches of what stands before it:
 * what it costs itself is the least there can be, and the same behind everybody. It speaks as our worker
 * does (completions from token ids) and as any server of chat completions does.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { WorkerCard } from '../../model/worker-card.ts';

export interface Pace {
  /** Of each stream, in a second. */
  eventsPerS: number;
  /** Of each answer; an event is a token. */
  events: number;
}

/** Streams are served in turns of so many milliseconds, spread evenly over them. */
const TICK_MS = 5;

const HEAD = '"id":"bench","created":1,"model":"bench"';
const TEXT = ' and';

interface Shape {
  event: string;
  last: string;
}

/** What an event is, in the API that was asked. */
const SHAPES: Record<string, Shape> = {
  '/v1/completions': shape(
    `"text":${JSON.stringify(TEXT)},"logprobs":null,"finish_reason":null,"token_ids":[323]`,
    '"text":"","logprobs":null,"finish_reason":"length","stop_reason":null',
  ),
  '/v1/chat/completions': shape(
    `"delta":{"content":${JSON.stringify(TEXT)}},"logprobs":null,"finish_reason":null`,
    '"delta":{},"logprobs":null,"finish_reason":"length"',
  ),
};

interface Stream {
  response: ServerResponse;
  shape: Shape;
  left: number;
}

export class PacedEngine {
  readonly #server: Server;
  readonly #pace: Pace;
  readonly #card: (url: string) => WorkerCard;
  /** Streams by the turn they are served in. */
  readonly #turns: Set<Stream>[];
  #turn = 0;
  #next = 0;
  #startedMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(given: { pace: Pace; card: (url: string) => WorkerCard }) {
    this.#pace = given.pace;
    this.#card = given.card;
    const turns = Math.max(1, Math.round(1000 / given.pace.eventsPerS / TICK_MS));
    this.#turns = Array.from({ length: turns }, () => new Set());
    this.#server = createServer((request, response) => this.#serve(request, response));
    this.#server.keepAliveTimeout = 60_000;
  }

  /** Resolves to its port on the loopback. */
  start(): Promise<number> {
    this.#startedMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    return new Promise((resolve) => {
      this.#server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  close(): void {
    clearInterval(this.#timer);
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const shape = SHAPES[request.url ?? ''];
    if (shape === undefined) {
      const { port } = this.#server.address() as AddressInfo;
      const answer =
        request.url === '/stator/v1/card' ? this.#card(`http://127.0.0.1:${port}`) : {};
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(answer));
      return;
    }
    request.resume().once('end', () => this.#open(response, shape));
  }

  /** The first event goes out at once, the others in its turn. */
  #open(response: ServerResponse, shape: Shape): void {
    const stream = { response, shape, left: this.#pace.events - 1 };
    const turn = this.#turns[this.#next++ % this.#turns.length];
    turn.add(stream);
    response.once('close', () => turn.delete(stream));
    response.setHeader('content-type', 'text/event-stream; charset=utf-8');
    response.write(shape.event);
  }

  /** As many turns as time has passed for, so that a late timer loses none. */
  #tick(): void {
    const due = Math.floor((performance.now() - this.#startedMs) / TICK_MS);
    for (; this.#turn < due; this.#turn++) {
      const turn = this.#turns[this.#turn % this.#turns.length];
      for (const stream of turn) {
        if (stream.left-- > 0) stream.response.write(stream.shape.event);
        else {
          turn.delete(stream);
          stream.response.end(stream.shape.last);
        }
      }
    }
  }
}

function shape(event: string, last: string): Shape {
  const data = (choice: string, more = '') =>
    `data: {${HEAD},"choices":[{"index":0,${choice}}]${more}}\n\n`;
  const usage = '"usage":{"prompt_tokens":10,"completion_tokens":10,"total_tokens":20}';
  return {
    event: data(event),
    last: `${data(last)}data: {${HEAD},"choices":[],${usage}}\n\ndata: [DONE]\n\n`,
  };
}
