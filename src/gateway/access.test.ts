import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Call } from '../http/call.ts';
import { GatewayError } from '../model/error.ts';
import { Access, isLoopback } from './access.ts';

const KEYS = [
  { key: 'key-of-alice', tenant: 'alice', admin: false },
  { key: 'key-of-admin', tenant: 'ops', admin: true },
];

const FAR = '203.0.113.9';

test('with keys, only a key lets in, and as its own tenant', () => {
  const access = accessOf(KEYS);
  const alice = { tenant: 'alice', admin: false };
  for (const headers of [
    { authorization: 'Bearer key-of-alice' },
    { authorization: 'bearer   key-of-alice ' },
    { 'x-api-key': 'key-of-alice' },
    // Claude Code may send both; the one that is known counts.
    { authorization: 'Bearer made-up', 'x-api-key': 'key-of-alice' },
  ] as Record<string, string>[]) {
    assert.deepEqual(access.caller(call(headers, FAR)), alice);
  }
  for (const headers of [
    {},
    { authorization: 'key-of-alice' },
    { authorization: 'Bearer key-of-alic' },
    { authorization: 'Bearer key-of-alice2' },
    { authorization: 'Bearer ' },
    { 'x-api-key': '' },
    { 'x-tenant-id': 'alice' },
  ] as Record<string, string>[]) {
    assert.throws(() => access.caller(call(headers, '127.0.0.1')), is('unauthorized'));
  }
});

test('a key that is taken away lets nobody in any more, and the last of them is not everybody', () => {
  const access = accessOf(KEYS);
  const asks = (key: string) => access.caller(call({ 'x-api-key': key }, FAR)).tenant;
  access.trust({ keys: [{ ...KEYS[1], key: 'key-of-another' }], trustedProxies: [] });
  for (const { key } of KEYS) assert.throws(() => asks(key), is('unauthorized'));
  assert.equal(asks('key-of-another'), 'ops');
  assert.throws(() => access.caller(call({}, '127.0.0.1')), is('unauthorized'));
});

test('x-tenant-id counts from trusted proxies, and from this machine for whoever may see all', () => {
  const access = accessOf(KEYS, ['203.0.113.1', '127.0.0.9']);
  const headers = { 'x-api-key': 'key-of-alice', 'x-tenant-id': 'bob' };
  const admins = { 'x-api-key': 'key-of-admin', 'x-tenant-id': 'bob' };
  const tenant = (remote: string, sent = headers) => access.caller(call(sent, remote)).tenant;
  for (const remote of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1']) {
    assert.equal(tenant(remote, admins), 'bob', remote);
    assert.equal(accessOf([]).caller(call(headers, remote)).tenant, 'bob', remote);
    // A proxy here may pass on whatever clients elsewhere send.
    assert.equal(tenant(remote), 'alice', remote);
  }
  for (const remote of ['203.0.113.1', '127.0.0.9']) assert.equal(tenant(remote), 'bob', remote);
  for (const remote of [FAR, '::ffff:203.0.113.9', '10.0.0.1', '', '127.0.0.1.example.org']) {
    assert.equal(tenant(remote), 'alice', remote);
    assert.equal(tenant(remote, admins), 'ops', remote);
    assert.equal(isLoopback(remote), false);
  }
  assert.equal(access.caller(call(headers, '203.0.113.1')).admin, false);
  const long = { 'x-api-key': 'key-of-alice', 'x-tenant-id': 'é'.repeat(65) };
  assert.throws(() => access.caller(call(long, '203.0.113.1')), is('invalid_request'));
  assert.equal(access.caller(call(long, FAR)).tenant, 'alice');
});

test('admin routes answer our own page and no other one', () => {
  const access = accessOf([]);
  const allowed: Record<string, string>[] = [
    { host: 'localhost:8000' },
    { host: 'LOCALHOST:8000', origin: 'http://localhost:8000' },
    { host: '127.0.0.1', origin: 'http://127.0.0.1' },
    { host: '[::1]:8000', origin: 'http://[::1]:8000' },
    { host: 'gpu-box:8000' },
  ];
  for (const headers of allowed) assert.equal(access.admin(call(headers)).admin, true);
  const refused: Record<string, string>[] = [
    {},
    // A name that an attacker's DNS points here.
    { host: 'rebound.example.org:8000' },
    { host: 'localhost.example.org' },
    { host: 'localhost:8000@example.org' },
    { host: 'localhost:8000', origin: 'https://example.org' },
    { host: 'localhost:8000', origin: 'http://localhost:3000' },
    { host: 'localhost:8000', origin: 'null' },
    { host: 'localhost:8000', origin: '' },
    { host: 'localhost:8000', origin: 'http://localhost:8000.example.org' },
    { host: 'localhost:8000', origin: 'ftp://localhost:8000' },
  ];
  for (const headers of refused) {
    assert.throws(() => access.admin(call(headers)), is('forbidden'), JSON.stringify(headers));
  }
});

test('a key that is no admin’s may not drive admin routes', () => {
  const access = accessOf(KEYS);
  const host = 'localhost:8000';
  assert.equal(access.admin(call({ host, 'x-api-key': 'key-of-admin' })).tenant, 'ops');
  assert.throws(() => access.admin(call({ host, 'x-api-key': 'key-of-alice' })), is('forbidden'));
  assert.throws(() => access.admin(call({ host })), is('unauthorized'));
});

function accessOf(keys: typeof KEYS, trustedProxies: string[] = []): Access {
  return new Access({ keys, trustedProxies, host: 'GPU-box' });
}

function call(headers: Record<string, string>, remote = '127.0.0.1'): Call {
  return { headers, remote } as unknown as Call;
}

function is(code: string): (error: Error) => boolean {
  return (error) => error instanceof GatewayError && error.code === code;
}
