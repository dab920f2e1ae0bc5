/** A gateway in one process for tests of this folder: the real walk, exact tokens, an engine that says what it is told. */
import assert from 'node:assert/strict';
import { Prng } from '../../base/prng.ts';
import type { Call, Reply } from '../../http/call.ts';
import { type Route, router } from '../../http/router.ts';
import { Kernel } from '../../kernel/kernel.ts';
import { Config } from '../../model/config.ts';
import { GatewayError } from '../../model/error.ts';
import type { TenantId, WorkerId } from '../../model/ids.ts';
import type { Part } from '../../model/part.ts';
import type { Receipt } from '../../model/receipt.ts';
import type { Worker, WorkerAbout } from '../../model/worker.ts';
import type { Engine, Job, Note } from '../../ports.ts';
import { SimClock } from '../../sim/clock.ts';
import { IncrementalEncoder } from '../../tokens/prompt-encoder.ts';
import { toyTokens } from '../../tokens/toy-tokens.test.ts';
import type { Json } from '../../wire/fields.ts';
import { Access } from '../access.ts';
import { Host } from '../host.ts';
import { Identities } from '../identities.ts';
import { Models } from '../models.ts';
import { Normalizer } from '../normalize/normalizer.ts';
import { Patience } from '../patience.ts';
import { Receipts } from '../receipts.ts';
import { Runaway } from '../runaway.ts';
import { Serve } from '../serve.ts';
import { Keeping } from '../sessions/keeping.ts';
import { Sessions } from '../sessions/sessions.ts';
import { Conversations } from './conversations.ts';
import { ResponseStore } from './response-store.ts';
import { Responses } from './responses.ts';
import { ResponsesSocket } from './responses-socket.ts';
import { MemoryShelf, type Shelf } from './shelf.ts';

const tokens = toyTokens();

export class Rig {
  readonly clock = new SimClock();
  /** What the engine was asked, oldest first. */
  readonly jobs: Job[] = [];
  readonly receipts: Receipt[] = [];
  readonly warnings: string[] = [];
  /** What it answers next, a word at a time; `wait` until the request is aborted, or `go` is called. */
  answers: (string[] | 'wait' | 'fail')[] = [];
  go = () => {};
  readonly encoder: IncrementalEncoder;
  readonly store: ResponseStore | undefined;
  readonly responses: Responses;
  readonly socket: ResponsesSocket;
  readonly #handler: (call: Call) => Promise<void>;

  constructor(given: { shelf?: Shelf; stores?: boolean; latestBytesMax?: number } = {}) {
    const { clock } = this;
    const config = Config.parse({});
    const { limits, normalise } = config;
    const settings = { bytesMax: 1e7, hereMax: 1e6 };
    this.encoder = new IncrementalEncoder({ tokens, elsewhere: undefined, settings });
    const known = new Map([['m', { tokens, prompts: this.encoder, fingerprint: 'f' }]]);
    const models = new Models({ known });
    const sink = { note: (note: Note) => this.#note(note) };
    const policy = { policy: 'round-robin', ...limits };
    const kernel = new Kernel({ settings: policy, rng: new Prng(1) });
    const host = new Host({ kernel, clock, sink });
    const access = new Access({ keys: [], trustedProxies: [], host: 'localhost' });
    const keeping = new Keeping({ kvOf: () => undefined, sink });
    const generate = (job: Job, signal: AbortSignal) => this.#generate(job, signal);
    const engine = { worker: WORKER.id, generate } as unknown as Engine;
    const serve = new Serve({
      speculation: 'never',
      fallbackUs: limits.fallbackUs,
      ...{ access, models, host, clock, sink },
      normalizer: new Normalizer(normalise),
      engines: { engine: () => engine, ended: () => {}, givenUp: () => undefined },
      rng: new Prng(1),
      receipts: new Receipts(limits),
      identities: new Identities({
        ...limits,
        rng: new Prng(Date.now()).fork('lineage'),
        kinOf: () => undefined,
      }),
      patience: new Patience(limits),
      sessions: new Sessions({ ...limits, clock, host, keeping, changed: () => {} }),
      runaway: new Runaway({ bounds: {}, spentOf: () => 0, sink }),
    });
    const about = { model: 'm', tokensMode: 'exact', fingerprint: 'f', demo: false } as WorkerAbout;
    models.changed({ kind: 'up', worker: WORKER, engine, events: undefined, about });
    host.tell({ kind: 'workerJoined', worker: WORKER });
    this.store = given.stores === false ? undefined : this.#storeOn(given.shelf);
    const backgroundLimits = { jobsMax: 2, eventBytesMax: 100_000 };
    const parts = { access, serve, clock };
    const { store } = this;
    this.responses = new Responses({ ...parts, store, limits: backgroundLimits });
    const { latestBytesMax = 1e6 } = given;
    this.socket = new ResponsesSocket({
      ...parts,
      sink,
      responses: this.responses,
      latestBytesMax,
    });
    const talks = store && new Conversations({ access, store, clock }).routes();
    const routes: [string, Route][] = [...this.responses.routes(), ...(talks ?? [])];
    this.#handler = router(new Map(routes));
  }

  /** Answers with the reply when the call is over. */
  async call(
    method: string,
    target: string,
    given: { body?: unknown; tenant?: string; headers?: Record<string, string> } = {},
  ): Promise<MemoryReply> {
    const { reply, over } = this.open(method, target, given);
    await over;
    return reply;
  }

  open(
    method: string,
    target: string,
    { body, tenant, headers }: { body?: unknown; tenant?: string; headers?: object } = {},
  ) {
    const leaving = new AbortController();
    const reply = new MemoryReply();
    const { pathname, searchParams } = new URL(target, 'http://x');
    const bytes = new TextEncoder().encode(JSON.stringify(body) ?? '');
    const call: Call = {
      ...{ method, path: pathname, query: searchParams, remote: '127.0.0.1', reply },
      headers: { 'x-tenant-id': tenant, ...headers },
      body: async () => bytes,
      stream: () => new Blob([bytes]).stream(),
      signal: leaving.signal,
      requestId: 'request',
    };
    return { reply, over: this.#handler(call), leave: () => leaving.abort() };
  }

  /** A response that was asked for without a stream. */
  async create(body: Json, tenant?: string): Promise<Json> {
    const reply = await this.call('POST', '/v1/responses', {
      body: { model: 'm', ...body },
      tenant,
    });
    assert.equal(reply.status, 200, reply.text);
    return reply.json();
  }

  passUs(us: number): void {
    const endUs = this.clock.nowUs() + us;
    this.clock.after(us, () => {});
    while (this.clock.nowUs() < endUs) this.clock.step();
  }

  /** The text of the prompt that the engine was asked last. */
  prompt(): string {
    const { prompt } = this.jobs.at(-1) ?? assert.fail('nothing was asked');
    assert.ok(prompt.kind === 'tokens');
    const decoder = tokens.decoder();
    let text = '';
    for (const id of prompt.ids) {
      const special = tokens.specials.get(id);
      text += special === undefined ? decoder.push(id) : decoder.flush() + special;
    }
    return text + decoder.flush();
  }

  #storeOn(shelf: Shelf = new MemoryShelf()): ResponseStore {
    const { clock } = this;
    const complain = (sentence: string) => this.warnings.push(sentence);
    const limits = {
      bytesMax: 1e8,
      chainsMax: 100,
      tenantBytesMax: 1e7,
      tenantChainsMax: 50,
      chainBytesMax: 1e6,
      keepMs: 1000,
      sweepUs: 1e6,
      recentBytesMax: 1e5,
    };
    return new ResponseStore({ shelf, clock, complain, limits });
  }

  #note(note: Note): void {
    if (note.kind === 'request') this.receipts.push(note.receipt);
    if (note.kind === 'warning') assert.fail(note.sentence);
  }

  async *#generate(job: Job, signal: AbortSignal): AsyncGenerator<Part> {
    this.jobs.push(job);
    const answer = this.answers.shift() ?? ['answer ', `${this.jobs.length}`];
    if (answer === 'fail') throw new GatewayError('invalid_request', 'As the test says.');
    if (answer === 'wait') {
      yield { kind: 'text', text: 'begun', tokens: 1 };
      await new Promise<void>((resolve) => {
        this.go = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
      if (signal.aborted) throw new GatewayError('engine_lost', 'The connection was closed.');
    }
    const words = answer === 'wait' ? [' and ended'] : answer;
    for (const text of words) yield { kind: 'text', text, tokens: 1 };
    const promptTokens = job.prompt.kind === 'tokens' ? job.prompt.ids.length : 0;
    const usage = { promptTokens, outputTokens: words.length, cachedTokens: 0 };
    yield { kind: 'done', finish: { kind: 'stop' }, usage };
  }
}

const WORKER: Worker = {
  id: 'w' as WorkerId,
  models: ['m'],
  blockTokens: 16,
  contextTokens: 10_000,
  slots: 4,
  requestsMax: 8,
  cacheTokens: 20_000,
  hasEvents: false,
  prefill: { perTokenUs: 100, perTokenContextUs: 0 },
  decode: { stepUs: 500, perSequenceUs: 300 },
};

export const TENANT = 'default' as TenantId;

export class MemoryReply implements Reply {
  status = 0;
  headers: Record<string, string> = {};
  text = '';
  isOver = false;
  isBroken = false;

  get headSent(): boolean {
    return this.status !== 0;
  }

  head(status: number, headers: Record<string, string>): void {
    this.status = status;
    this.headers = headers;
  }

  write(more: string): undefined {
    this.text += more;
  }

  end(more?: string | Uint8Array): void {
    if (more !== undefined) this.text += String(more);
    this.isOver = true;
  }

  destroy(): void {
    this.isOver = true;
    this.isBroken = true;
  }

  json(): Json {
    return JSON.parse(this.text) as Json;
  }

  /** Of a stream. */
  events(): Json[] {
    const lines = this.text.split('\n').filter((line) => line.startsWith('data: {'));
    return lines.map((line) => JSON.parse(line.slice('data: '.length)) as Json);
  }

  code(): unknown {
    return (this.json().error as Json | undefined)?.code;
  }
}

export async function until(isSo: () => unknown): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}
