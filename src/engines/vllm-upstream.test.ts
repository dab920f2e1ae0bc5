/** How a vLLM server is met: what it tells, what a prompt shows, and what is said of it. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  type Asked,
  introduction,
  play,
  type StandIn,
  standIn,
} from '../../test/engine-stand-in.ts';
import { plainJob } from '../../test/plain-job.ts';
import { WorkerConfig } from '../model/fleet-config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Finding } from '../model/worker.ts';
import type { Introduction, KnownTokens, Tokens, Upstream } from '../ports.ts';
import { VllmUpstream } from './vllm-upstream.ts';

test('a server with everything on is described by what it says, and all is well', async (t) => {
  const { met } = await meet(t, {});
  const { models, blockTokens, contextTokens, slots, cacheTokens, hasEvents } = met.worker;
  assert.deepEqual(
    { models, blockTokens, contextTokens, slots, hasEvents },
    { models: ['demo'], blockTokens: 32, contextTokens: 15_000, slots: 8, hasEvents: true },
  );
  // As it says itself; a block of the 500 is never given out.
  assert.equal(cacheTokens, 15_991);
  assert.deepEqual(met.adapters, []);
  assert.equal(met.about.tokensMode, 'exact');
  assert.equal(met.about.fingerprint, 'f');
  assert.deepEqual(unwell(met), []);
});

test('events are heard at the host where the server is, whatever it binds', async (t) => {
  const { met, server } = await meet(t, {});
  assert.deepEqual(met.events, {
    endpoint: 'tcp://127.0.0.1:18111',
    replay: 'tcp://127.0.0.1:18112',
  });
  assert.match(server.url, /127\.0\.0\.1/);
  const named = await meet(t, {
    config: { events: 'tcp://elsewhere:1', replay: 'tcp://elsewhere:2' },
  });
  assert.deepEqual(named.met.events, {
    endpoint: 'tcp://elsewhere:1',
    replay: 'tcp://elsewhere:2',
  });
});

const MISTAKES: [string, Partial<Changes>, string, RegExp][] = [
  [
    'no events',
    { sources: {} },
    'event source',
    /add --kv-events-config '\{"enable_kv_cache_events"/,
  ],
  [
    'an address to which it connects',
    { sources: { 0: { ...sourceOf(), endpoint: 'tcp://127.0.0.1:5557' } } },
    'event source',
    /"endpoint":"tcp:\/\/\*:5557"/,
  ],
  [
    'nobody to ask again',
    { sources: { 0: { ...sourceOf(), replay_endpoint: null } } },
    'event replay',
    /"replay_endpoint":"tcp:\/\/\*:5558"/,
  ],
  ['no cached tokens told', { details: null }, 'usage', /--enable-prompt-tokens-details/],
  [
    'no prefix caching',
    {
      metrics: (text) =>
        text.replace('enable_prefix_caching="True"', 'enable_prefix_caching="False"'),
    },
    'prefix caching',
    /--enable-prefix-caching/,
  ],
  ['first come, first served', { policy: 'fcfs' }, 'priority', /--scheduling-policy priority/],
  [
    'other blocks',
    { metrics: (text) => text.replace(/block_size="32"/g, 'block_size="128"') },
    'block size',
    /blockTokens: 128 .*--block-size 32/,
  ],
  ['another tokenizer', { differing: 3 }, 'tokenizer', /3 of 40 texts differ .*models\[\]\.path/],
  [
    'several ranks behind one address',
    { metrics: (text) => `${text}\n${RANK_1}`, sources: { 0: sourceOf(), 1: sourceOf() } },
    'event source',
    /2 data-parallel ranks .*--data-parallel-external-lb/,
  ],
  [
    'too old to say where events are',
    { sources: undefined },
    'event source',
    /under events: and replay:/,
  ],
];

for (const [mistake, changes, check, mend] of MISTAKES) {
  test(`${mistake}: named with its mend, and nothing else is`, async (t) => {
    const { met } = await meet(t, changes);
    const found = unwell(met);
    assert.deepEqual(
      found.map((finding) => finding.check),
      [check],
    );
    assert.match(found[0].says, mend);
    assert.doesNotMatch(found[0].says, /\n/);
  });
}

test('events that would be misread are not listened to', async (t) => {
  const blocks = (text: string) => text.replace(/block_size="32"/g, 'block_size="128"');
  for (const changes of [{ metrics: blocks }, { differing: 1 }, { sources: {} }]) {
    const { met } = await meet(t, changes);
    assert.equal(met.events, undefined);
    assert.equal(met.worker.hasEvents, false);
  }
});

test('priority is sent only where it means something, and where it is not refused', async (t) => {
  const seen: unknown[] = [];
  for (const changes of [{}, { policy: 'fcfs' }, { policy: undefined }, REFUSING]) {
    const { upstream, server } = await meet(t, changes);
    server.answer = (asked) => {
      seen.push(asked.body.priority);
      play('data: [DONE]\n\n')(asked);
    };
    const engine = upstream.engine('w' as WorkerId);
    for await (const _ of engine.generate(plainJob({ priority: 3 }), new AbortController().signal));
    engine.close();
  }
  assert.deepEqual(seen, [-3, undefined, -3, undefined]);
});

test('it is asked all of it once; another start is another run, and is asked again', async (t) => {
  const { upstream, met, server } = await meet(t, {});
  const before = server.seen.length;
  assert.equal((await upstream.introduce()).run, met.run);
  assert.equal(server.seen.length, before + 1);
  const restarted = (text: string) =>
    text.replace(/^process_start_time_seconds .*$/m, 'process_start_time_seconds 1.8e+09');
  const { met: anew } = await meet(t, { metrics: restarted });
  assert.notEqual(anew.run, met.run);
});

test('adapters are told apart from models; of several models one must be named', async (t) => {
  const models = (...ids: [string, string | null][]) => ({
    data: ids.map(([id, parent]) => ({ id, parent, max_model_len: 4096 })),
  });
  const { met } = await meet(t, { models: models(['demo', null], ['sql', 'demo']) });
  assert.deepEqual([met.worker.models, met.adapters], [['demo'], ['sql']]);
  const two = models(['demo', null], ['other', null]);
  await assert.rejects(meet(t, { models: two }), /serves 2 models .*engineModel:/);
  const named = await meet(t, { models: two, config: { engineModel: 'other', model: 'mine' } });
  assert.deepEqual(named.met.worker.models, ['mine']);
});

test('one that sleeps is not met, and says how it wakes', async (t) => {
  const asleep = (text: string) =>
    text.replace('sleep_state="awake"} 1.0', 'sleep_state="awake"} 0.0');
  await assert.rejects(meet(t, { metrics: asleep }), /sleeps.*wake_up/);
});

test('an older one is asked whether it sleeps, if it has a route for that, and is met once it wakes', async (t) => {
  const old = (text: string) => text.replace(/^.*engine_sleep_state.*$/gm, '');
  const { upstream, told, server } = await meet(t, { metrics: old, sleep: { is_sleeping: false } });
  const engine = upstream.engine('w' as WorkerId);
  told['GET /health'] = '';
  assert.equal(await engine.healthy(), true);
  told['GET /is_sleeping'] = { is_sleeping: true };
  assert.equal(await engine.healthy(), false, 'it gets nothing');
  await assert.rejects(upstream.introduce(), /sleeps/);
  told['GET /is_sleeping'] = { is_sleeping: false };
  assert.equal(await engine.healthy(), true);
  await upstream.introduce();
  engine.close();
  const { upstream: without, server: other } = await meet(t, { metrics: old });
  const before = other.seen.length;
  await without.introduce();
  assert.equal(other.seen.length, before + 1, 'what is not there is not asked for again');
  assert.ok(server.seen.length > 0);
});

interface Changes {
  metrics: (text: string) => string;
  /** Of KV events; undefined: the route is not there. */
  sources: object | undefined;
  models: object;
  policy: string | undefined;
  /** Of usage in answers. */
  details: object | null;
  differing: number;
  refusesPriority: boolean;
  config: object;
  /** What it says of sleeping; undefined: it has no such route. */
  sleep: object;
}

const REFUSING: Partial<Changes> = { policy: undefined, refusesPriority: true };
const RANK_1 =
  'vllm:cache_config_info{block_size="32",enable_prefix_caching="True",engine="1",num_gpu_blocks="500"} 1.0';

/** Of a recorded server, with changes. */
async function meet(t: TestContext, changes: Partial<Changes>) {
  const told = introduction('vllm');
  const metrics = String(told['GET /metrics']);
  told['GET /metrics'] = changes.metrics?.(metrics) ?? metrics;
  if ('sources' in changes) replace(told, 'GET /kv_event_sources', changes.sources);
  if (changes.models !== undefined) told['GET /v1/models'] = changes.models;
  if (changes.sleep !== undefined) told['GET /is_sleeping'] = changes.sleep;
  if ('policy' in changes) {
    const { policy } = changes;
    const info = policy && { vllm_config: { scheduler_config: { policy, max_num_seqs: 8 } } };
    replace(told, 'GET /server_info?config_format=json', info);
  }
  const server: StandIn = await standIn(t, told);
  server.answer = probed(changes);
  const upstream: Upstream = new VllmUpstream({
    config: WorkerConfig.parse({ url: server.url, kind: 'vllm', ...changes.config }),
    silenceUsMax: 60_000_000,
    kvSecret: undefined,
    known: () => KNOWN,
    compareTokens: async () => ({
      checked: 40,
      differing: changes.differing ?? 0,
      reason: 'first on "a"',
    }),
  });
  t.after(() => upstream.close());
  const met: Introduction = await upstream.introduce();
  return { server, upstream, met, told };
}

/** Of its own prompt; an older server takes no priority where it does not schedule by it. */
function probed({ details = { cached_tokens: 32 }, refusesPriority }: Partial<Changes>) {
  return ({ body, response }: Asked) => {
    if (refusesPriority && body.priority !== undefined) {
      response.writeHead(400).end('{"message":"Priority scheduling is not enabled"}');
      return;
    }
    response.end(JSON.stringify({ usage: { prompt_tokens: 33, prompt_tokens_details: details } }));
  };
}

function replace(told: Record<string, unknown>, route: string, by: unknown): void {
  if (by === undefined) delete told[route];
  else told[route] = by;
}

function unwell({ about }: Introduction): Finding[] {
  return (about.findings ?? []).filter(({ well }) => !well);
}

function sourceOf() {
  return {
    ...{ enable_kv_cache_events: true, publisher: 'zmq', topic: 'kv-events' },
    ...{ endpoint: 'tcp://*:18111', replay_endpoint: 'tcp://127.0.0.1:18112' },
  };
}

const KNOWN: KnownTokens = {
  fingerprint: 'f',
  tokens: { hasher: { blockTokens: 32 } } as unknown as Tokens,
};
