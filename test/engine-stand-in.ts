/** Stands in for an engine: says what the engine says when it is met, and answers jobs as a test wants. */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

/** One job that reached it. */
export interface Asked {
  path: string;
  headers: IncomingHttpHeaders;
  body: Record<string, unknown>;
  response: ServerResponse;
  /** Resolves when its connection is over, whoever ended it. */
  closed: Promise<void>;
}

export interface StandIn {
  url: string;
  /** Headers of whatever was asked, in order. */
  seen: IncomingHttpHeaders[];
  /** In place of what the next jobs get. */
  answer: (asked: Asked) => void;
  close(): Promise<void>;
}

/** By method and path: JSON, or text where it is a string; an object with an `error` has status 400. */
export type Introduction = Record<string, unknown>;

const FOLDER = 'test/fixtures/engines';

export function fixture(kind: string, name: string): string {
  return readFileSync(`${FOLDER}/${kind}/${name}`, 'utf8');
}

export function introduction(kind: string): Introduction {
  return JSON.parse(fixture(kind, 'introduction.json')) as Introduction;
}

/** What is not in `known` is a job. */
export async function standIn(t: TestContext, known: Introduction): Promise<StandIn> {
  const server = createServer((request, response) => {
    it.seen.push(request.headers);
    const closed = new Promise<void>((resolve) => response.on('close', resolve));
    let text = '';
    request.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
    request.on('end', () => {
      const told = known[`${request.method} ${request.url}`];
      if (told === undefined) {
        if (request.method === 'GET') return response.writeHead(404).end('{"detail":"Not Found"}');
        const body = JSON.parse(text === '' ? '{}' : text) as Record<string, unknown>;
        const { headers, url: path = '' } = request;
        return it.answer({ path, headers, body, response, closed });
      }
      const isError = typeof told === 'object' && told !== null && 'error' in told;
      response.writeHead(isError ? 400 : 200);
      response.end(typeof told === 'string' ? told : JSON.stringify(told));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const it: StandIn = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: [],
    answer: ({ response }) => response.writeHead(500).end('{}'),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  t.after(() => it.close());
  return it;
}

/** The whole of a stream, cut into pieces wherever it happens. */
export function play(text: string): (asked: Asked) => void {
  return ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += 17) response.write(bytes.subarray(at, at + 17));
    response.end();
  };
}

export function refuse(status: number, body: string, headers = {}): (asked: Asked) => void {
  return ({ response }) => response.writeHead(status, headers).end(body);
}
