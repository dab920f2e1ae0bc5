import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../base/prng.ts';
import type { Call } from '../http/call.ts';
import { Kernel } from '../kernel/kernel.ts';
import { Config } from '../model/config.ts';
import { GatewayError } from '../model/error.ts';
import type { TenantId, WorkerId } from '../model/ids.ts';
import type { Engine } from '../ports.ts';
import { SimClock } from '../sim/clock.ts';
import type { Access } from './access.ts';
import { Account } from './account.ts';
import type { Accounts } from './accounts.ts';
import { Host } from './host.ts';
import type { Models } from './models.ts';
import { Patience } from './patience.ts';
import { arrivalOf } from './prompt.ts';
import { Ranking } from './ranking.ts';

const BODY = { model: 'm', query: 'q', documents: ['a', 'b'], top_n: 1 };

test('what is to be ranked goes to an engine as it came, and its answer comes back', async () => {
  const asked: unknown[] = [];
  const rank = async (path: string, body: object) => {
    asked.push([path, body]);
    return { results: [{ index: 1, relevance_score: 0.9 }] };
  };
  const { status, body } = await ranked({ rank });
  assert.deepEqual(asked, [['/v2/rerank', BODY]]);
  assert.deepEqual([status, body], [200, { results: [{ index: 1, relevance_score: 0.9 }] }]);
});

test('an engine that fails is replaced, and one that does not rank is named', async () => {
  let asked = 0;
  const rank = async () => {
    if (++asked === 1) throw new GatewayError('engine_failed', 'It failed.');
    return { results: [] };
  };
  assert.equal((await ranked({ rank })).status, 200);
  assert.equal(asked, 2);
  const refused = await ranked({});
  assert.equal(refused.status, 400);
  assert.match(JSON.stringify(refused.body), /neither rerank nor score/);
  assert.equal((await ranked({ rank }, { documents: [] })).status, 400, 'no model is named');
});

/** By one of two such engines. */
async function ranked(engine: Partial<Engine>, given: object = BODY) {
  const { limits } = Config.parse({});
  const clock = new SimClock();
  const kernel = new Kernel({ settings: { policy: 'stator', ...limits }, rng: new Prng(1) });
  const host = new Host({ kernel, clock, sink: { note: () => {} } });
  for (const id of ['a', 'b'] as WorkerId[]) {
    const worker = {
      ...{ id, models: ['m'], blockTokens: 16, contextTokens: 1000, slots: 2, requestsMax: 8 },
      ...{ cacheTokens: 1000, hasEvents: false },
      prefill: { perTokenUs: 100, perTokenContextUs: 0 },
      decode: { stepUs: 5000, perSequenceUs: 300 },
    };
    host.tell({ kind: 'workerJoined', worker });
  }
  const open: Accounts['open'] = (of) =>
    new Account({
      ...{ id: 'r', requestId: 'q', atIso: '', arrivedUs: 0, wire: 'rerank', policy: 'stator' },
      ...{ who: of.who, tokensKnown: false, normalised: [], notes: [] },
      arrival: arrivalOf('r' as never, of),
    });
  const model = { name: 'm', tokens: undefined, prompts: undefined };
  const ranking = new Ranking(
    {
      ...{ host, clock, patience: new Patience(limits) },
      access: { caller: () => ({ tenant: 't' as TenantId }) } as unknown as Access,
      models: { find: () => ({ ...model, demo: false, contextTokens: 1000 }) } as unknown as Models,
      engines: { engine: () => engine as Engine, ended: () => {}, givenUp: () => undefined },
    },
    { open, close: () => {} } as unknown as Accounts,
  );
  const reply = { status: 0, body: '', headSent: false };
  const call = {
    ...{ method: 'POST', path: '/v2/rerank', headers: {}, requestId: 'q' },
    body: async () => new TextEncoder().encode(JSON.stringify(given)),
    signal: new AbortController().signal,
    reply: {
      head: (status: number) => Object.assign(reply, { status, headSent: true }),
      write: async (text: string | Uint8Array) => {
        reply.body += typeof text === 'string' ? text : new TextDecoder().decode(text);
      },
      end: (text: string | Uint8Array = '') => {
        reply.body += typeof text === 'string' ? text : new TextDecoder().decode(text);
      },
    },
  } as unknown as Call;
  const route = new Map(ranking.routes()).get('POST /v2/rerank');
  assert.ok(route !== undefined);
  await route(call);
  host.check();
  assert.equal(host.state().running, 0);
  return { status: reply.status, body: JSON.parse(reply.body) as unknown };
}
