/** With engines that are servers on loopback and say what the real ones do. */
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { plainJob } from '../../test/plain-job.ts';
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Engine, Job } from '../ports.ts';
import { EngineHttp } from './http.ts';
import { SglangEngine } from './sglang.ts';
import { TrtllmEngine } from './trtllm.ts';
import { VllmEngine } from './vllm.ts';

type Body = Record<string, unknown>;

const NEVER = new AbortController().signal;
const IDS = Uint32Array.of(5, 6, 7);
const JOB = plainJob({ prompt: { kind: 'tokens', ids: IDS }, outputTokensMax: 50, stop: ['x'] });

test('vLLM: one token is asked for whole, and its parameters go to whoever answers', async (t) => {
  const remote = { do_remote_prefill: true, remote_engine_id: 'e', remote_block_ids: [1, 2] };
  const usage = { prompt_tokens: 3, prompt_tokens_details: { cached_tokens: 2 } };
  const { engine, asked } = await vllm(t, ({ kv_transfer_params: params, stream }) =>
    stream === true ? STREAM : { choices: [], usage, kv_transfer_params: params && remote },
  );
  const prefilled = await prefill(engine, JOB);
  assert.equal(prefilled.usage.cachedTokens, 2);
  const [first] = asked;
  assert.deepEqual([first.max_tokens, first.stream, first.prompt], [1, false, [5, 6, 7]]);
  assert.ok(first.stop === undefined && first.stream_options === undefined);
  assert.equal((first.kv_transfer_params as Body).do_remote_decode, true);
  await answer(engine, { ...JOB, ticket: prefilled.ticket });
  assert.deepEqual(asked[1].kv_transfer_params, remote);
  assert.equal(asked[1].max_tokens, 50);
  await answer(engine, JOB);
  assert.equal(asked[2].kv_transfer_params, undefined, 'where there is no ticket');
});

test('an engine that was not started for it is named as the one at fault', async (t) => {
  const { engine } = await vllm(t, () => ({ choices: [], kv_transfer_params: null }));
  await assert.rejects(prefill(engine, JOB), (error) => {
    assert.ok(error instanceof GatewayError && error.retryable);
    assert.match(error.message, /--kv-transfer-config/);
    return true;
  });
});

test('SGLang: both requests name one room, and nobody waits for the first before the second', async (t) => {
  let meet = () => {};
  const met = new Promise<void>((resolve) => {
    meet = resolve;
  });
  const { http, asked } = await server(t, async (body) => {
    if (body.stream === false) await met;
    else meet();
    return body.stream === false ? {} : STREAM;
  });
  const can = { priority: undefined, takesSeed: true, takesSalt: true };
  const dialect = { model: 'm', pageTokens: 1, ...can };
  const meeting = { host: '10.0.0.1', port: 8998 };
  const engine = new SglangEngine({ worker: 'w' as WorkerId, http, dialect, meeting });
  const { ticket, done } = await prefill(engine, JOB);
  await answer(engine, { ...JOB, ticket });
  await done;
  const rooms = asked.map(({ bootstrap_host: host, bootstrap_room: room }) => [host, room]);
  assert.deepEqual(rooms[0], rooms[1]);
  assert.equal(rooms[0][0], '10.0.0.1');
  assert.ok(Number.isSafeInteger(rooms[0][1]));
  const other = await prefill(engine, JOB);
  await other.done;
  assert.notEqual(asked[2].bootstrap_room, asked[0].bootstrap_room);
  const alone = new SglangEngine({ worker: 'w' as WorkerId, http, dialect });
  assert.equal(alone.handoff, undefined, 'one that was started for all of it');
});

test('TensorRT-LLM: the context phase, then the generation phase from where that came to', async (t) => {
  const params = { request_type: 'context_only', ctx_request_id: 7, encoded_opaque_state: 'AA' };
  const { http, asked } = await server(t, ({ stream }) =>
    stream === true ? STREAM : { choices: [{ disaggregated_params: params }] },
  );
  const fields = new Set(
    'model prompt max_tokens stream stream_options temperature disaggregated_params'.split(' '),
  );
  const dialect = { model: 'm', completion: fields, chat: fields, endTexts: [] };
  const engine = new TrtllmEngine({ worker: 'w' as WorkerId, http, dialect });
  const { ticket } = await prefill(engine, JOB);
  assert.deepEqual(asked[0].disaggregated_params, { request_type: 'context_only' });
  await answer(engine, { ...JOB, ticket });
  assert.deepEqual(asked[1].disaggregated_params, { ...params, request_type: 'generation_only' });
});

const STREAM = 'stream';

function prefill({ handoff }: Engine, job: Job) {
  assert.ok(handoff !== undefined);
  return handoff.prefill(job, NEVER);
}

async function answer(engine: Engine, job: Job): Promise<Part[]> {
  const parts: Part[] = [];
  for await (const part of engine.generate(job, NEVER)) parts.push(part);
  return parts;
}

async function vllm(t: TestContext, say: (body: Body) => unknown) {
  const { http, asked } = await server(t, say);
  const can = { takesPriority: false, hasStructuredOutputs: true, takesKvHints: false };
  const dialect = { model: 'm', ...can };
  const worker = 'w' as WorkerId;
  const isAwake = async () => true;
  const given = { worker, http, dialect, isAwake, reportsCachedTokens: true };
  return { asked, engine: new VllmEngine(given) };
}

/** Says what `say` makes of each body: JSON, or a stream that ends at once. */
async function server(t: TestContext, say: (body: Body) => unknown) {
  const asked: Body[] = [];
  const reply = (response: ServerResponse, said: unknown) => {
    if (said !== STREAM) return void response.end(JSON.stringify(said));
    const choices = [{ index: 0, text: 'x', finish_reason: 'stop' }];
    response.setHeader('content-type', 'text/event-stream');
    response.write(`data: ${JSON.stringify({ choices })}\n\n`);
    response.end('data: [DONE]\n\n');
  };
  const listening = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
    request.on('end', async () => {
      const body = JSON.parse(text) as Body;
      asked.push(body);
      reply(response, await say(body));
    });
  });
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  const { port } = listening.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const http = new EngineHttp({ url, silenceUsMax: 10_000_000, headers: {} });
  t.after(() => {
    http.close();
    listening.close();
  });
  return { http, asked };
}
