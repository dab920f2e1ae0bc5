/** An engine that does what a test says, and `stator serve` in front of it. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after } from 'node:test';
import type { WorkerCard } from '../../src/model/worker-card.ts';
import { workerCard } from '../worker-card.ts';
import { Stack, until, write } from './stack.ts';

/** One request that reached the engine. */
export interface EngineCall {
  /** Of the last message. */
  prompt: string;
  response: ServerResponse;
  /** Its connection is over, whoever ended it. */
  isClosed: boolean;
}

export class FakeEngine {
  /** In order of arrival; what is to become of each the test decides. */
  readonly calls: EngineCall[] = [];
  readonly #server: Server;
  url = '';

  /** `stepUs`: what it says its answers take per token. Made beside the tests, it ends after them. */
  constructor(given: { slots: number; stepUs: number }) {
    after(() => {
      this.#server.close();
      this.#server.closeAllConnections();
    });
    this.#server = createServer((request, response) => {
      if (request.url !== '/v1/chat/completions') {
        const isCard = request.url === '/stator/v1/card';
        response.end(isCard ? JSON.stringify(this.#card(given)) : '{}');
        return;
      }
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      request.on('end', () => {
        const { messages } = JSON.parse(body) as { messages: { content: string }[] };
        const prompt = messages.at(-1)?.content ?? '';
        const call: EngineCall = { prompt, response, isClosed: false };
        response.on('close', () => {
          call.isClosed = true;
        });
        this.calls.push(call);
      });
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  /** The n-th request, counted from 0, when it has come. */
  async call(index: number): Promise<EngineCall> {
    await until(`the engine is asked ${index + 1} times`, () => this.calls.length > index);
    return this.calls[index];
  }

  #card({ slots, stepUs }: { slots: number; stepUs: number }): WorkerCard {
    const card = workerCard();
    return {
      ...card,
      // Nobody's, so that nobody looks for it.
      pid: 999_999_999,
      url: this.url,
      events: null,
      tokens: { ...card.tokens, mode: 'passThrough' },
      cache: { ...card.cache, slots },
      pace: { ...card.pace, stepUs },
    };
  }
}

/** `limits`: lines of stator.yaml below `limits:`. */
export async function serveBefore(
  engine: FakeEngine,
  limits: Record<string, number>,
): Promise<Stack> {
  const lines = Object.entries(limits).map(([name, value]) => `  ${name}: ${value}`);
  const config = ['listen: {port: 0}', `workers: [{url: '${engine.url}'}]`, 'limits:', ...lines];
  const path = write(`serve-${randomUUID()}.yaml`, config.join('\n'));
  const stack = new Stack(['serve', '-c', path]);
  await until('it says where it serves', () => {
    if (stack.hasEnded) assert.fail(`serve ended at once: ${stack.stderr}`);
    stack.url = /serves on (http\S+)/.exec(stack.stdout)?.[1] ?? '';
    return stack.url !== '';
  });
  await until('the engine is known', async () => (await stack.snapshot()).workers.length === 1);
  return stack;
}

/** Begins its answer, so that its client knows that it runs. */
export function begin({ response }: EngineCall): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(chunkOf('begun'));
}

/** Says it is done; begins where it had not yet. */
export function finish(call: EngineCall): void {
  if (!call.response.headersSent) begin(call);
  const usage = { prompt_tokens: 5, completion_tokens: 1 };
  const last = { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage };
  call.response.end(`data: ${JSON.stringify(last)}\n\ndata: [DONE]\n\n`);
}

export function chunkOf(text: string): string {
  const choice = { index: 0, delta: { content: text }, finish_reason: null };
  return `data: ${JSON.stringify({ choices: [choice] })}\n\n`;
}
