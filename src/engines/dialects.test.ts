/** What each engine is asked, where that differs from the others. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  type Asked,
  fixture,
  type Introduction,
  introduction,
  play,
  standIn,
} from '../../test/engine-stand-in.ts';
import { plainJob } from '../../test/plain-job.ts';
import type { EngineKind } from '../model/engine-kind.ts';
import { GatewayError } from '../model/error.ts';
import { WorkerConfig } from '../model/fleet-config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import { type Chat, FREE } from '../model/request.ts';
import type { Engine, Job, KnownTokens, Tokens } from '../ports.ts';
import { UPSTREAMS } from './upstreams.ts';

const IDS: Job['prompt'] = { kind: 'tokens', ids: Uint32Array.of(5, 6, 7) };

test('SGLang: pages that are no blocks of ours make no index, and the flag that mends it is named', async (t) => {
  const told = introduction('sglang');
  const settings = told['GET /server_info'] as Record<string, unknown>;
  const fits = await meet(t, 'sglang', told);
  const { port } = new URL(fits.server.url);
  assert.deepEqual(fits.met.events, {
    endpoint: 'tcp://127.0.0.1:5557',
    replay: 'tcp://127.0.0.1:5558',
  });
  assert.ok(port && fits.met.worker.hasEvents);
  assert.equal(fits.met.worker.cacheTokens, 3 * 161_721);
  assert.equal(fits.met.worker.deviceTokens, 161_721);
  const pages = await meet(t, 'sglang', {
    ...told,
    'GET /server_info': { ...settings, page_size: 1 },
  });
  assert.equal(pages.met.events, undefined);
  const mends = pages.met.about.findings?.filter(({ well }) => !well).map(({ says }) => says);
  assert.equal(mends?.length, 1);
  assert.match(mends?.[0] ?? '', /--page-size 16/);
  const bare = { version: '0.4.9', page_size: 16, disable_radix_cache: true, dp_size: 1 };
  const old = await meet(t, 'sglang', {
    ...told,
    'GET /server_info': undefined,
    'GET /get_server_info': bare,
  });
  await assert.rejects(
    async () => take(old.engine, plainJob({ prompt: IDS, cacheSalt: 'tenant' })),
    /too old/,
  );
  const flags = JSON.stringify(old.met.about.findings);
  for (const flag of [
    '--disable-radix-cache',
    '--kv-events-config',
    '--enable-priority-scheduling',
  ]) {
    assert.ok(flags.includes(flag), flag);
  }
});

test('SGLang: salts, priorities and lengths as it reads them', async (t) => {
  const { ask } = await meet(t, 'sglang');
  const body = await ask({ prompt: IDS, cacheSalt: 's', priority: 3 }, 'tokens.sse');
  assert.equal(body.extra_key, 's');
  assert.equal(body.priority, 3);
  assert.equal((body.sampling_params as Record<string, unknown>).max_new_tokens, null);
  const said = { ids: Uint32Array.of(8, 9), text: 'x', tokens: 2, isPlain: true };
  const { engine, server } = await meet(t, 'sglang');
  server.answer = play(fixture('sglang', 'tokens.sse'));
  assert.ok(engine.continues?.(plainJob({ prompt: IDS, said })));
  const done = (await take(engine, plainJob({ prompt: IDS, said }))).at(-1);
  assert.ok(done?.kind === 'done');
  assert.equal(done.usage.promptTokens, 6);
});

test('TensorRT-LLM: only fields it knows; ids of a tenant travel where its salt does, or not at all', async (t) => {
  const { ask, server } = await meet(t, 'trtllm');
  const plain = await ask({ prompt: IDS, priority: 4 }, 'tokens.sse');
  assert.equal(plain.priority, 0.75);
  assert.equal(plain.skip_special_tokens, false);
  let path = '';
  server.answer = (asked) => {
    path = asked.path;
    assert.deepEqual(asked.body.prompt_token_ids, [5, 6, 7]);
    assert.equal(asked.body.cache_salt, 'tenant');
    play(fixture('trtllm', 'chat.sse'))(asked);
  };
  const { engine } = await meet(t, 'trtllm', undefined, server);
  await take(engine, plainJob({ prompt: IDS, cacheSalt: 'tenant' }));
  assert.equal(path, '/v1/chat/completions');
  const old = await meet(t, 'trtllm', {
    ...introduction('trtllm'),
    'GET /openapi.json': undefined,
  });
  assert.ok(!('priority' in (await old.ask({ prompt: IDS, priority: 4 }, 'tokens.sse'))));
  await assert.rejects(
    async () => take(old.engine, plainJob({ prompt: IDS, cacheSalt: 'tenant' })),
    /cannot keep this prompt's KV apart/,
  );
});

test('Ollama: the window with each request, thinking where the model can, no forced calls', async (t) => {
  const { ask, engine } = await meet(t, 'ollama');
  const body = await ask({ prompt: chat({ thinking: true, effort: 'high' }) }, 'chat.ndjson');
  assert.equal((body.options as Record<string, unknown>).num_ctx, 16_384);
  assert.equal(body.think, 'high');
  const told = introduction('ollama');
  const dull = await meet(t, 'ollama', {
    ...told,
    'POST /api/show': { capabilities: ['completion'] },
  });
  assert.ok(!('think' in (await dull.ask({ prompt: chat({ thinking: true }) }, 'chat.ndjson'))));
  const forced = chat({ toolChoice: { kind: 'required' } });
  const shape = { ...FREE, format: { kind: 'calls', tools: [], many: true } } as const;
  for (const job of [{ prompt: forced, shape }, { prompt: IDS }]) {
    await assert.rejects(
      async () => take(engine, plainJob(job)),
      (error: GatewayError) => error instanceof GatewayError && error.code === 'invalid_request',
    );
  }
  const text = await ask({ prompt: { kind: 'text', text: 'as it is' } }, 'chat.ndjson');
  assert.equal(text.raw, true);
});

test('llama.cpp’s server: a thread’s slot goes to a file and comes back; of a busy one it says so', async (t) => {
  const slots: string[] = [];
  const { engine, server, ask } = await meet(t, 'llama-server');
  assert.ok(engine.kv !== undefined);
  const chain = { kind: 'thread', thread: 't', salt: '' } as const;
  assert.equal((await engine.kv.demote(chain, 'disk')).answer, 'missing');
  await ask({ prompt: IDS, thread: 't' }, 'tokens.sse');
  server.answer = ({ path, body, response }) => {
    slots.push(`${path} ${body.filename ?? ''}`);
    response.end(JSON.stringify({ n_saved: 40, n_restored: 40 }));
  };
  assert.equal((await engine.kv.demote(chain, 'host')).answer, 'rejected');
  assert.deepEqual(await engine.kv.demote(chain, 'disk'), {
    ...{ answer: 'accepted', blocks: 2, tokens: 40, sentence: undefined },
  });
  assert.equal((await engine.kv.prefetch(chain, 'device')).tokens, 40);
  assert.equal((await engine.kv.release(chain)).answer, 'accepted');
  assert.equal((await engine.kv.prefetch(chain, 'device')).answer, 'missing');
  assert.equal((await engine.kv.retain(chain, 1)).answer, 'rejected');
  // Emptying is told in its introduction already, and is no job.
  assert.deepEqual(slots, [
    '/slots/0?action=save stator-slot-0.kv',
    '/slots/1?action=restore stator-slot-0.kv',
  ]);
  const unable = { error: { code: 501, message: 'This server does not support slots action.' } };
  const bare = await meet(t, 'llama-server', {
    ...introduction('llama-server'),
    'POST /slots/0?action=restore': unable,
  });
  assert.equal(bare.engine.kv, undefined);
  await assert.rejects(bare.engine.resetCache(), /--slot-save-path/);
});

test('llama.cpp’s server: another tenant’s prompt takes nothing of what lies there', async (t) => {
  const { ask } = await meet(t, 'llama-server');
  const first = await ask({ prompt: IDS, cacheSalt: 'a' }, 'tokens.sse');
  assert.equal(first.cache_prompt, true);
  assert.ok(!('id_slot' in first));
  const second = await ask({ prompt: IDS, cacheSalt: 'b' }, 'tokens.sse');
  assert.equal(second.cache_prompt, false);
  assert.equal(second.id_slot, 1);
});

/** Answers of an engine that was met: what `ask` sends comes back, and gets the recorded stream. */
async function meet(
  t: TestContext,
  kind: EngineKind,
  told: Introduction = introduction(kind),
  at?: Awaited<ReturnType<typeof standIn>>,
) {
  const server = at ?? (await standIn(t, told));
  const upstream = UPSTREAMS[kind]({
    config: WorkerConfig.parse({ url: server.url, kind }),
    silenceUsMax: 60_000_000,
    kvSecret: undefined,
    known: () => (kind === 'ollama' ? undefined : KNOWN),
    compareTokens: async () => ({ checked: 1, differing: 0, reason: '' }),
  });
  const met = await upstream.introduce();
  const engine = upstream.engine('w' as WorkerId);
  t.after(() => {
    engine.close();
    upstream.close();
  });
  const ask = async (changes: Partial<Job>, stream: string) => {
    let asked: Asked | undefined;
    server.answer = (job) => {
      asked = job;
      play(fixture(kind, stream))(job);
    };
    await take(engine, plainJob(changes));
    return asked?.body ?? assert.fail('nothing was asked');
  };
  return { server, engine, met, ask };
}

const KNOWN: KnownTokens = {
  fingerprint: 'f',
  tokens: {
    hasher: { blockTokens: 16 },
    specials: new Map([[2, '<|im_end|>']]),
    endTokens: new Set([2]),
  } as unknown as Tokens,
};

function chat(changes: Partial<Chat>): Job['prompt'] {
  const said: Chat = {
    model: 'm',
    messages: [{ role: 'user', content: [{ kind: 'text', text: 'Hi' }] }],
    tools: [],
    toolChoice: { kind: 'auto' },
    thinking: undefined,
    ...changes,
  };
  return { kind: 'chat', chat: said };
}

async function take(engine: Engine, job: Job): Promise<Part[]> {
  const parts: Part[] = [];
  for await (const part of engine.generate(job, new AbortController().signal)) parts.push(part);
  return parts;
}
