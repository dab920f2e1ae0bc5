/** A worker over loopback as the gateway's engine drives it, and as anybody else might. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { plainJob } from '../../test/plain-job.ts';
import { ConnectionReset } from '../engines/scripted.ts';
import { StatorEngine } from '../engines/stator.ts';
import { router } from '../http/router.ts';
import { HttpServer } from '../http/server.ts';
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { WorkerCard } from '../model/worker-card.ts';
import type { Engine, EngineReport, Job } from '../ports.ts';
import { toyTokens } from '../tokens/toy-tokens.test.ts';
import { KvEventLog } from '../wire/kv-event-log.ts';
import { workerRoutes } from './routes.ts';

const DONE: Part = {
  kind: 'done',
  finish: { kind: 'stop' },
  usage: { promptTokens: 7, outputTokens: 3, cachedTokens: 4 },
};

test('a job arrives at the worker as the gateway sent it, and its answer comes back as it was', async (t) => {
  const said: Part[] = [
    { kind: 'text', text: 'the 日本\n\n"', tokens: 2, ids: [5, 6] },
    { kind: 'text', text: '😀', tokens: 1, ids: [7] },
    DONE,
  ];
  const { engine, jobs } = await serve(t, async function* () {
    yield* said;
  });
  const job = jobOf({
    sampling: {
      temperature: 0.3,
      topP: 0.9,
      topK: 40,
      minP: 0.05,
      repetitionPenalty: 1.1,
      frequencyPenalty: 0.2,
      presencePenalty: -0.2,
      seed: 42,
    },
    outputTokensMax: 17,
    shape: {
      choices: 1,
      logprobs: 3,
      format: { kind: 'schema', schema: { type: 'object', properties: { b: {}, a: {} } } },
      frame: {
        reasoning: { open: '<think>', close: '</think>', isOpen: true },
        calls: { open: '<tool_call>\n', close: '\n</tool_call>', marker: '<tool_call>' },
      },
    },
    stop: ['\n\n', 'END'],
    cacheSalt: 'tenant/salt',
    priority: 3,
    forcedOutput: 'forced',
    engineData: true,
  });
  const parts = await take(engine.generate(job, signal()));
  const { id: _id, tenant: _tenant, ...sent } = job;
  const { id: _other, tenant: _none, ...got } = jobs[0];
  assert.deepEqual(got, sent);
  assert.equal(
    parts.map((part) => (part.kind === 'text' ? part.text : '')).join(''),
    'the 日本\n\n"😀',
  );
  const ids = parts.flatMap((part) => (part.kind === 'text' ? (part.ids ?? []) : []));
  assert.deepEqual(ids, [5, 6, 7]);
  assert.deepEqual(parts.at(-1), DONE);
});

test('vectors come back as they were, whether text or ids were sent', async (t) => {
  const { engine, url } = await serve(t);
  const job = jobOf({ prompt: { kind: 'tokens', ids: Uint32Array.from([7, 8]) } });
  const { vector, usage, note } = await engine.embed(job, signal());
  assert.deepEqual([[...vector], usage.promptTokens, note], [[7, 0.5], 2, 'A note.']);
  const body = JSON.stringify({ model: 'm', input: [[9], [4, 5]] });
  const response = await fetch(`${url}/v1/embeddings`, { method: 'POST', body });
  const { data } = (await response.json()) as { data: { embedding: number[] }[] };
  assert.deepEqual(
    data.map(({ embedding }) => embedding),
    [
      [9, 0.5],
      [4, 0.5],
    ],
  );
  const unknown = JSON.stringify({ model: 'other', input: 'x' });
  const refused = await fetch(`${url}/v1/embeddings`, { method: 'POST', body: unknown });
  assert.equal(refused.status, 404);
});

test('an error before the first part is thrown by its kind, after it the stream ends in it', async (t) => {
  const failing = await serve(t, async function* () {
    yield { kind: 'error', error: new GatewayError('queue_full', 'Full.') };
  });
  await assert.rejects(take(failing.engine.generate(jobOf(), signal())), is('queue_full'));
  const midway = await serve(t, async function* () {
    yield { kind: 'text', text: 'a', tokens: 1, ids: [1] };
    yield { kind: 'error', error: new GatewayError('engine_failed', 'It broke.') };
  });
  const parts = await take(midway.engine.generate(jobOf(), signal()));
  assert.deepEqual(
    parts.map(({ kind }) => kind),
    ['text', 'error'],
  );
  const reset = await serve(t, async function* () {
    yield { kind: 'text', text: 'a', tokens: 1, ids: [1] };
    throw new ConnectionReset('gone');
  });
  await assert.rejects(take(reset.engine.generate(jobOf(), signal())), is('engine_lost'));
});

test('when the caller leaves, the engine hears of it', async (t) => {
  let heard = () => {};
  const aborted = new Promise<void>((resolve) => {
    heard = resolve;
  });
  const { engine } = await serve(t, async function* (_job, leaving) {
    yield { kind: 'text', text: 'a', tokens: 1, ids: [1] };
    await new Promise<void>((resolve) => leaving.addEventListener('abort', () => resolve()));
    heard();
  });
  const leaving = new AbortController();
  await assert.rejects(async () => {
    for await (const _ of engine.generate(jobOf(), leaving.signal)) leaving.abort();
  });
  await aborted;
});

test('only whoever knows the secret may empty the cache', async (t) => {
  const { engine, url, resets } = await serve(t);
  const attempts: Record<string, string>[] = [
    {},
    { 'x-stator-kv-secret': 'secreT' },
    { 'x-stator-kv-secret': '' },
  ];
  for (const headers of attempts) {
    const response = await fetch(`${url}/reset_prefix_cache`, { method: 'POST', headers });
    assert.equal(response.status, 403);
    await response.arrayBuffer();
  }
  assert.equal(resets(), 0);
  await engine.resetCache();
  assert.equal(resets(), 1);
});

test('no body, however odd, is taken for a failure of ours', async (t) => {
  const { url } = await serve(t, async function* () {
    yield DONE;
  });
  const bodies = [
    'null',
    '[]',
    '3',
    '"x"',
    '{}',
    '{"prompt":3}',
    '{"tokens":[-1]}',
    '{"tokens":[1.5]}',
    '{"tokens":[999999]}',
    '{"tokens":"x"}',
    '{"mod',
  ];
  const paths = ['/tokenize', '/detokenize', '/v1/completions', '/v1/chat/completions'];
  for (const path of paths) {
    for (const body of bodies) {
      const response = await fetch(url + path, { method: 'POST', body });
      const answer = (await response.json()) as { error?: { message: string } };
      assert.ok([400, 404].includes(response.status), `${path} ${body}: ${response.status}`);
      assert.ok((answer.error?.message ?? '').length > 10);
    }
  }
});

test('a model that is not here is not answered in another one’s name', async (t) => {
  const { url } = await serve(t);
  const body = JSON.stringify({ model: 'other', prompt: 'x' });
  const response = await fetch(`${url}/v1/completions`, { method: 'POST', body });
  assert.equal(response.status, 404);
  assert.match(await response.text(), /model_not_found/);
});

test('text becomes ids and text again', async (t) => {
  const { url } = await serve(t);
  const post = async (path: string, body: unknown) =>
    (await fetch(url + path, { method: 'POST', body: JSON.stringify(body) })).json();
  const prompt = 'the other king 日本語 😀 <|im_end|>';
  const { tokens, count } = (await post('/tokenize', { prompt })) as {
    tokens: number[];
    count: number;
  };
  assert.equal(count, tokens.length);
  const { prompt: again } = (await post('/detokenize', { tokens })) as { prompt: string };
  assert.equal(again.replace('<|im_end|>', '').trim(), 'the other king 日本語 😀');
  const messages = [{ role: 'user', content: 'the king' }];
  const chat = (await post('/tokenize', { model: 'm', messages })) as { count: number };
  assert.ok(chat.count > 0);
});

test('metrics carry vLLM’s names and the report’s figures', async (t) => {
  const { url, engine } = await serve(t);
  const text = await (await fetch(`${url}/metrics`)).text();
  assert.match(text, /^vllm:num_requests_running\{engine="0",model_name="m"\} 2$/m);
  assert.match(text, /^vllm:prefix_cache_hits_total\{engine="0",model_name="m"\} 60$/m);
  assert.match(text, /^vllm:kv_cache_usage_perc\{engine="0",model_name="m"\} 0\.08$/m);
  assert.deepEqual(await engine.report(), REPORT);
  assert.equal(await engine.healthy(), true);
});

const REPORT: EngineReport = {
  running: 2,
  waiting: 1,
  slots: [{ busy: true, tokens: 32 }],
  cachedBlocks: 10,
  hostBlocks: 4,
  diskBlocks: 0,
  diskBytes: 0,
  stepsTotal: 9,
  engineUsTotal: 1000,
  promptTokensTotal: 100,
  cachedTokensTotal: 60,
  outputTokensTotal: 30,
};

async function serve(t: TestContext, generate: Engine['generate'] = () => assert.fail('unasked')) {
  const jobs: Job[] = [];
  let resets = 0;
  const inner: Engine = {
    worker: 'w' as WorkerId,
    generate: (job, leaving) => {
      jobs.push(job);
      return generate(job, leaving);
    },
    embed: async ({ prompt }) => {
      const ids = prompt.kind === 'tokens' ? prompt.ids : new Uint32Array([1, 2, 3]);
      const usage = { promptTokens: ids.length, outputTokens: 0, cachedTokens: undefined };
      return { vector: Float32Array.from([ids[0], 0.5]), usage, note: 'A note.' };
    },
    resetCache: async () => {
      resets++;
    },
    healthy: async () => true,
    report: async () => REPORT,
    close: () => {},
  };
  const card = {
    stator: '0',
    model: { name: 'm', contextTokens: 400 },
    cache: { blockTokens: 16, slots: 1, kvTokens: 640 },
  } as WorkerCard;
  const routes = workerRoutes({
    engine: inner,
    tokens: toyTokens(),
    card: () => card,
    foreignRender: undefined,
    kvSecret: 'secret',
    events: new KvEventLog({ batchesMax: 10, nowS: () => 0 }),
  });
  const server = new HttpServer(router(routes), {
    bodyBytesMax: 100_000,
    bodiesBytesMax: 1_000_000,
    readerUsMax: 10_000_000,
    headersUsMax: 10_000_000,
    bodyUsMax: 10_000_000,
    shutdownUsMax: 100_000,
  });
  const url = `http://127.0.0.1:${await server.listen('127.0.0.1', 0)}`;
  const engine = new StatorEngine({
    worker: 'w' as WorkerId,
    url,
    silenceUsMax: 10_000_000,
    kvSecret: 'secret',
  });
  t.after(async () => {
    engine.close();
    await server.close();
  });
  return { engine, url, jobs, resets: () => resets };
}

function jobOf(changes: Partial<Job> = {}): Job {
  return plainJob({ prompt: { kind: 'tokens', ids: Uint32Array.of(1, 2, 3) }, ...changes });
}

async function take(parts: AsyncIterable<Part>): Promise<Part[]> {
  const taken: Part[] = [];
  for await (const part of parts) taken.push(part);
  return taken;
}

function signal(): AbortSignal {
  return new AbortController().signal;
}

function is(code: string): (error: Error) => boolean {
  return (error) => error instanceof GatewayError && error.code === code;
}
