import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Call, Reply } from '../../http/call.ts';
import { router } from '../../http/router.ts';
import { Access } from '../access.ts';
import { type SessionRoutesParts, sessionRoutes } from './session-routes.ts';
import type { Sessions } from './sessions.ts';

const KEYS = [
  { key: 'key-of-alice', tenant: 'alice', admin: false },
  { key: 'key-of-bob', tenant: 'bob', admin: false },
  { key: 'key-of-admin', tenant: 'ops', admin: true },
];

test('each tenant sees its own sessions, an admin all of them', async () => {
  const rig = new Rig({ alice: ['a/1', 'both'], bob: ['both'] });
  const names = async (who: string, headers = {}) => {
    const { body } = await rig.call(who, 'GET', '', headers);
    return (body as { sessions: { tenant: string; session: string }[] }).sessions.map(
      ({ tenant, session }) => `${tenant}:${session}`,
    );
  };
  assert.deepEqual(await names('alice'), ['alice:a/1', 'alice:both']);
  assert.deepEqual(await names('bob'), ['bob:both']);
  assert.deepEqual(await names('admin'), ['alice:a/1', 'alice:both', 'bob:both']);
  // Whoever speaks for a tenant sees what that one sees.
  assert.deepEqual(await names('admin', { 'x-tenant-id': 'bob' }), ['bob:both']);
});

test('another tenant’s session is as good as none, to read and to end', async () => {
  const rig = new Rig({ alice: ['a/1'], bob: ['b'] });
  const path = `/${encodeURIComponent('a/1')}`;
  for (const [who, status] of [
    ['alice', 200],
    ['bob', 404],
    ['admin', 200],
  ] as const) {
    const { status: got, body } = await rig.call(who, 'GET', path);
    assert.equal(got, status, who);
    if (status === 200) assert.equal((body as { session: string }).session, 'a/1');
  }
  assert.equal((await rig.call('bob', 'POST', `${path}/end`)).status, 404);
  assert.deepEqual(rig.ended, []);
  const { status, body } = await rig.call('alice', 'POST', `${path}/end`);
  assert.deepEqual([status, body], [200, { ended: 'a/1', released: [], running: 0 }]);
  assert.equal((await rig.call('admin', 'POST', '/b/end')).status, 200);
  assert.deepEqual(rig.ended, ['alice:a/1', 'bob:b']);
});

test('what is malformed, unknown or from another page is refused', async () => {
  const rig = new Rig({ alice: ['a'] });
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'limit=', 'after=-1']) {
    assert.equal((await rig.call('alice', 'GET', `?${query}`)).status, 400, query);
  }
  for (const path of ['/nobody', '/%zz', '/', '/a/other']) {
    assert.equal((await rig.call('alice', 'GET', path)).status, 404, path);
  }
  for (const path of ['/a', '/end', '/nobody/end']) {
    assert.equal((await rig.call('alice', 'POST', path)).status, 404, path);
  }
  const origin = { origin: 'http://evil.example' };
  assert.equal((await rig.call('alice', 'GET', '', origin)).status, 403);
  assert.equal((await rig.call('nobody', 'GET', '')).status, 401);
});

class Rig {
  readonly ended: string[] = [];
  readonly #handle: ReturnType<typeof router>;

  constructor(owned: Record<string, string[]>) {
    const has = (tenant: string, name: string) => owned[tenant]?.includes(name) === true;
    const rows = (tenant: string) =>
      (owned[tenant] ?? []).map((session) => ({ tenant, session, threads: [] }));
    const sessions: Pick<Sessions, 'list' | 'find' | 'ownerOf' | 'end'> = {
      list: (tenant) => {
        const tenants = tenant === undefined ? Object.keys(owned) : [tenant];
        return { sessions: tenants.flatMap(rows), next: null };
      },
      find: (tenant, name) => (has(tenant, name) ? [{ session: name } as never] : undefined),
      ownerOf: (name) => Object.keys(owned).find((tenant) => has(tenant, name)) as never,
      end: async (tenant, name) => {
        if (!has(tenant, name)) return undefined;
        this.ended.push(`${tenant}:${name}`);
        return { released: [], running: 0 };
      },
    };
    const access = new Access({ keys: KEYS, trustedProxies: [], host: 'localhost' });
    const parts: Pick<SessionRoutesParts, 'access' | 'restored' | 'sessions'> = {
      ...{ access, restored: Promise.resolve() },
      sessions: sessions as Sessions,
    };
    this.#handle = router(sessionRoutes(parts as SessionRoutesParts));
  }

  async call(who: string, method: string, rest: string, headers: Record<string, string> = {}) {
    const reply = new MemoryReply();
    const url = new URL(`/stator/v1/sessions${rest}`, 'http://localhost');
    const call: Pick<Call, 'method' | 'path' | 'query' | 'headers' | 'remote' | 'requestId'> = {
      ...{ method, path: url.pathname, query: url.searchParams, remote: '127.0.0.1' },
      headers: { host: 'localhost', authorization: `Bearer key-of-${who}`, ...headers },
      requestId: 'request',
    };
    await this.#handle({ ...call, reply } as unknown as Call);
    return { status: reply.status, body: JSON.parse(reply.text) as unknown };
  }
}

class MemoryReply implements Reply {
  status = 0;
  text = '';

  get headSent(): boolean {
    return this.status > 0;
  }

  head(status: number): void {
    this.status = status;
  }

  write(text: string): undefined {
    this.text += text;
  }

  end(text?: string | Uint8Array): void {
    if (typeof text === 'string') this.text += text;
  }

  destroy(): void {}
}
