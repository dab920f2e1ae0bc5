/** One request's whole walk, with the real kernel and engines that do what each test says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../base/prng.ts';
import type { Call, Reply } from '../http/call.ts';
import { Kernel } from '../kernel/kernel.ts';
import { Config } from '../model/config.ts';
import { type ErrorCode, GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Receipt } from '../model/receipt.ts';
import type { Worker, WorkerAbout } from '../model/worker.ts';
import type { Engine, Job, Note } from '../ports.ts';
import { SimClock } from '../sim/clock.ts';
import { anthropicMessages } from '../wire/anthropic-messages.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import { SseReader } from '../wire/sse.ts';
import type { Wire } from '../wire/wire.ts';
import { Access } from './access.ts';
import { Host } from './host.ts';
import { Identities } from './identities.ts';
import { Models } from './models.ts';
import { Normalizer } from './normalize/normalizer.ts';
import { Patience } from './patience.ts';
import { Receipts } from './receipts.ts';
import { Runaway } from './runaway.ts';
import { Serve } from './serve.ts';
import { Keeping } from './sessions/keeping.ts';
import { Sessions } from './sessions/sessions.ts';

type Act = Part | ErrorCode | 'end' | 'wait';

const text = (said: string): Part => ({ kind: 'text', text: said, tokens: 1 });
const usage = { promptTokens: 5, outputTokens: 2, cachedTokens: undefined };
const DONE: Part = { kind: 'done', finish: { kind: 'stop' }, usage };

test('an engine that is lost before its first part is replaced, and nobody hears of it', async () => {
  const rig = new Rig({ a: ['engine_lost'], b: [text('hel'), text('lo'), DONE] });
  for (const stream of [false, true]) {
    const reply = await rig.ask({ stream }, { prefer: 'a' });
    assert.equal(reply.status, 200);
    assert.equal(reply.content(), 'hello');
    assert.equal(reply.headers['x-stator-worker'], 'b');
  }
  assert.ok(rig.suspected.includes('a'));
  const receipt = rig.last();
  assert.deepEqual([receipt.actual.status, receipt.worker], ['done', 'b']);
  // The engine does not tell its cached tokens, so they are predicted, not reported as none.
  assert.equal(receipt.actual.cachedTokens, null);
  rig.assertSettled();
});

test('after the first part an answer ends in exactly one error, and is not begun again', async () => {
  for (const act of ['engine_lost', 'end', 'engine_failed'] as const) {
    const rig = new Rig({ a: [text('hel'), act] });
    const streamed = await rig.ask({ stream: true });
    assert.equal(streamed.status, 200);
    assert.equal(streamed.events().filter((data) => data.includes('"error"')).length, 1);
    assert.equal(rig.last().actual.status, 'failed');
    const whole = await rig.ask({ stream: false });
    assert.equal(whole.status, 502);
    assert.equal(rig.asked, 2);
    rig.assertSettled();
  }
});

test('what is the request’s own fault is said at once, in the wire’s own words', async () => {
  const rig = new Rig({ a: ['context_length_exceeded'], b: ['context_length_exceeded'] });
  const reply = await rig.ask({});
  assert.equal(reply.status, 400);
  assert.equal(rig.asked, 1);
  const unknown = await rig.ask({ model: 'other' }, { wire: anthropicMessages });
  assert.equal(unknown.status, 404);
  const body = JSON.parse(unknown.text) as { type: string; error: { type: string } };
  assert.deepEqual([body.type, body.error.type], ['error', 'not_found_error']);
  rig.assertSettled();
});

test('where every attempt fails, the refusal says when to come back', async () => {
  const rig = new Rig({ a: ['engine_failed'], b: ['queue_full'] });
  const reply = await rig.ask({ stream: true });
  assert.ok(reply.status >= 500);
  assert.match(reply.headers['retry-after'], /^[1-9]\d*$/);
  assert.ok(rig.asked <= Config.parse({}).limits.attemptsMax);
  rig.assertSettled();
});

test('a client that leaves midway stops its engine and gives its place back', async () => {
  const rig = new Rig({ a: [text('hel'), 'wait'] });
  const asking = rig.open({ stream: true });
  await settle();
  asking.leave();
  await asking.answered;
  assert.equal(rig.aborted, 1);
  const { status, error } = rig.last().actual;
  assert.deepEqual([status, error], ['cancelled', 'client_closed']);
  assert.deepEqual(rig.suspected, []);
  rig.assertSettled();
});

test('a client that leaves while it waits for a place is forgotten', async () => {
  const rig = new Rig({});
  rig.up('a', ['wait'], 1);
  const open = Array.from({ length: 8 }, () => rig.open({ stream: true }));
  await settle();
  assert.ok(rig.host.state().waiting > 0);
  for (const asking of open.toReversed()) asking.leave();
  await Promise.all(open.map(({ answered }) => answered));
  assert.equal(rig.requests.length, 8);
  rig.assertSettled();
});

test('receipts are their tenant’s own', async () => {
  const rig = new Rig({ a: [text('x'), DONE] });
  const reply = await rig.ask({}, { tenant: 'alice' });
  const id = reply.headers['x-stator-receipt'];
  const find = (tenant: string) => rig.receipts.find({ tenant: tenant as never, admin: true }, id);
  assert.equal(find('alice')?.tenant, 'alice');
  assert.equal(find('bob'), undefined);
});

test('ids of clients come back only as far as a header may hold them', async () => {
  const rig = new Rig({ a: [text('x'), DONE] });
  const reply = await rig.ask({}, { session: 'größe\r\nset-cookie: x' });
  assert.equal(reply.headers['x-stator-session'], 'gr??e??set-cookie: x');
});

test('whatever engines and clients do, each request ends once and no place stays taken', async () => {
  const act = fc.constantFrom<Act>(
    text('x'),
    text('y'),
    DONE,
    'end',
    'wait',
    'engine_lost',
    'queue_full',
  );
  const script = fc.array(act, { minLength: 1, maxLength: 4 });
  const client = fc.record({ stream: fc.boolean(), leaves: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(script, script, fc.array(client, { maxLength: 6 }), async (a, b, clients) => {
      const rig = new Rig({ a, b });
      const open = clients.map(({ stream }) => rig.open({ stream }));
      await settle();
      for (const [i, { leaves }] of clients.entries()) if (leaves) open[i].leave();
      await settle();
      for (const { leave } of open) leave();
      await Promise.all(open.map(({ answered }) => answered));
      for (const { reply } of open) assert.equal(reply.heads, reply.ends, 'one head, one end');
      assert.equal(rig.requests.length, clients.length);
      for (const { receipt } of rig.requests) assert.notEqual(receipt.actual.status, 'running');
      rig.assertSettled();
    }),
    { numRuns: 100 },
  );
});

class Rig {
  readonly clock = new SimClock();
  readonly host: Host;
  readonly receipts = new Receipts({ receiptsMax: 100, receiptsBytesMax: 1e6 });
  readonly requests: Extract<Note, { kind: 'request' }>[] = [];
  readonly suspected: string[] = [];
  asked = 0;
  aborted = 0;
  readonly #engines = new Map<string, Engine>();
  readonly #models = new Models({ known: new Map() });
  readonly #serve: Serve;

  constructor(engines: Record<string, Act[]>) {
    const { limits } = Config.parse({});
    const kernel = new Kernel({
      settings: { policy: 'round-robin', ...limits },
      rng: new Prng(1),
    });
    const { clock } = this;
    const sink = {
      note: (note: Note) => {
        if (note.kind === 'request') this.requests.push(note);
        if (note.kind !== 'warning' || /failed at most of what/.test(note.sentence)) return;
        assert.fail(note.sentence);
      },
    };
    this.host = new Host({ kernel, clock, sink });
    const keeping = new Keeping({ kvOf: () => undefined, sink });
    this.#serve = new Serve({
      speculation: 'never',
      fallbackUs: limits.fallbackUs,
      access: new Access({ keys: [], trustedProxies: [], host: 'localhost' }),
      models: this.#models,
      normalizer: new Normalizer(Config.parse({}).normalise),
      host: this.host,
      engines: {
        engine: (worker) => this.#engines.get(worker),
        ended: (worker, fault) => {
          if (fault?.code === 'engine_lost') this.suspected.push(worker);
        },
        givenUp: () => undefined,
      },
      clock,
      rng: new Prng(1),
      receipts: this.receipts,
      identities: new Identities({
        ...limits,
        rng: new Prng(1).fork('lineage'),
        kinOf: () => undefined,
      }),
      sessions: new Sessions({ ...limits, clock, host: this.host, keeping, changed: () => {} }),
      runaway: new Runaway({ bounds: { repeatsMax: 3 }, spentOf: () => 0, sink }),
      patience: new Patience(limits),
      sink,
    });
    for (const [name, acts] of Object.entries(engines)) this.up(name, acts, 4);
  }

  up(name: string, acts: readonly Act[], requestsMax: number): void {
    const worker: Worker = {
      id: name as WorkerId,
      models: ['m'],
      blockTokens: 16,
      contextTokens: 10_000,
      slots: 4,
      requestsMax,
      cacheTokens: 20_000,
      hasEvents: false,
      prefill: { perTokenUs: 100, perTokenContextUs: 0 },
      decode: { stepUs: 500, perSequenceUs: 300 },
    };
    const engine = {
      worker: worker.id,
      generate: (job: Job, signal: AbortSignal) => this.#play(acts, job, signal),
    } as unknown as Engine;
    this.#engines.set(name, engine);
    const about = { model: 'm', tokensMode: 'passThrough', demo: false } as WorkerAbout;
    this.#models.changed({ kind: 'up', worker, engine, events: undefined, about });
    this.host.tell({ kind: 'workerJoined', worker });
  }

  open(
    body: Record<string, unknown>,
    given: { wire?: Wire; tenant?: string; session?: string } = {},
  ) {
    const leaving = new AbortController();
    const reply = new MemoryReply();
    const wire = given.wire ?? openaiChat;
    const messages = [{ role: 'user', content: 'hi' }];
    const bytes = JSON.stringify({ model: 'm', max_tokens: 50, messages, ...body });
    const call: Call = {
      method: 'POST',
      path: '/',
      query: new URLSearchParams(),
      headers: { 'x-tenant-id': given.tenant, 'x-stator-session-id': given.session },
      remote: '127.0.0.1',
      body: async () => new TextEncoder().encode(bytes),
      stream: () => new Blob([bytes]).stream(),
      signal: leaving.signal,
      requestId: 'request',
      reply,
    };
    const answered = this.#serve.handle(call, wire);
    return { reply, answered, leave: () => leaving.abort() };
  }

  /** `prefer`: asks again until that engine was tried. */
  async ask(
    body: Record<string, unknown>,
    given: { wire?: Wire; tenant?: string; session?: string; prefer?: string } = {},
  ): Promise<MemoryReply> {
    for (let i = 0; i < 3; i++) {
      const { reply, answered } = this.open(body, given);
      await answered;
      const tried = this.requests.at(-1)?.receipt.attempts.map(({ worker }) => worker) ?? [];
      if (given.prefer === undefined || tried.includes(given.prefer)) return reply;
    }
    return assert.fail(`${given.prefer} was never tried`);
  }

  last(): Receipt {
    const note = this.requests.at(-1);
    assert.ok(note !== undefined);
    return note.receipt;
  }

  assertSettled(): void {
    this.host.check();
    const { running, waiting, workers } = this.host.state();
    assert.deepEqual([running, waiting], [0, 0]);
    for (const { requests } of workers) assert.equal(requests, 0);
  }

  async *#play(acts: readonly Act[], _job: Job, signal: AbortSignal): AsyncGenerator<Part> {
    this.asked++;
    const abort = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    for (const act of acts) {
      if (signal.aborted) return;
      if (act === 'end') return;
      if (act === 'wait') {
        await abort;
        this.aborted++;
        throw new GatewayError('engine_lost', 'The connection was closed.');
      }
      if (typeof act === 'string') throw new GatewayError(act, 'As the test says.');
      yield act;
      if (act.kind === 'done') return;
    }
  }
}

class MemoryReply implements Reply {
  status = 0;
  headers: Record<string, string> = {};
  text = '';
  heads = 0;
  ends = 0;

  get headSent(): boolean {
    return this.heads > 0;
  }

  head(status: number, headers: Record<string, string>): void {
    this.status = status;
    this.headers = headers;
    this.heads++;
  }

  write(more: string): undefined {
    this.text += more;
  }

  end(more?: string | Uint8Array): void {
    if (typeof more === 'string') this.text += more;
    this.ends++;
  }

  destroy(): void {
    this.ends++;
  }

  events(): string[] {
    return [...new SseReader(1e6).push(new TextEncoder().encode(this.text))].map(
      ({ data }) => data,
    );
  }

  content(): string {
    const isStream = this.headers['content-type'].startsWith('text/event-stream');
    const bodies = isStream ? this.events().filter((data) => data !== '[DONE]') : [this.text];
    return bodies
      .map((body) => {
        const { choices } = JSON.parse(body) as {
          choices: { delta?: { content?: string }; message?: { content: string } }[];
        };
        return choices[0]?.message?.content ?? choices[0]?.delta?.content ?? '';
      })
      .join('');
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}
