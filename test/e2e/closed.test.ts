/** What is reachable, and what lies on disk: CONTRACT's "Safe by default", for a gateway without keys. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { call, get, post, streamChat } from './client.ts';
import { FOLDER, marked, procFile, SMALL, type Stack, startUp } from './stack.ts';

const cache = join(FOLDER, 'own-cache');

let stack: Stack;
before(async () => {
  stack = await startUp(SMALL, { env: { STATOR_CACHE: cache } });
});

const onlyLinux = process.platform === 'linux' ? false : 'sockets are read from /proc, on Linux';

test('nothing listens but on this machine’s own address', { skip: onlyLinux }, async () => {
  const pids = marked();
  assert.equal(pids.length, 3, 'the gateway and two workers');
  const inodes = new Set(pids.flatMap(socketsOf));
  const listening = ['tcp', 'tcp6'].flatMap((table) =>
    procFile(process.pid, `net/${table}`)
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === '0A' && inodes.has(fields[9])),
  );
  // The gateway one; a worker one for HTTP, two for its KV events.
  assert.equal(listening.length, 7);
  for (const [, address] of listening) {
    const [ip] = address.split(':');
    assert.ok(ip === '0100007F' || ip === '00000000000000000000000001000000', address);
  }
});

test('the cache folder and its files are their owner’s only', async () => {
  if (process.platform === 'win32') return;
  assert.equal(statSync(cache).mode & 0o777, 0o700);
  const entries = readdirSync(cache, { recursive: true, withFileTypes: true });
  assert.ok(entries.some(({ name }) => name.endsWith('.gguf')));
  for (const entry of entries) {
    const { mode } = statSync(join(entry.parentPath, entry.name));
    assert.equal(mode & 0o777, entry.isFile() ? 0o600 : 0o700, entry.name);
  }
});

test('a worker’s cache is emptied by whoever started it, and by nobody else', async () => {
  const messages = [{ role: 'user', content: 'Keep this in mind for a while. '.repeat(30) }];
  const first = await streamChat(stack.url, { messages, max_tokens: 4 });
  const worker = first.headers['x-stator-worker'];
  const { url } = (await stack.cards()).get(String(worker)) ?? assert.fail('it is up');
  for (const secret of [undefined, 'x', '']) {
    const headers = secret === undefined ? undefined : { 'x-stator-kv-secret': secret };
    const { status, body } = await post(`${url}/reset_prefix_cache`, {}, headers);
    assert.equal(status, 403, JSON.stringify(body));
  }
  const second = await streamChat(stack.url, { messages, max_tokens: 4 });
  assert.ok((second.cachedTokens ?? 0) > 200, 'it is still there');
  assert.equal((await post(`${stack.url}/reset_prefix_cache`, {})).status, 200);
  const third = await streamChat(stack.url, { messages, max_tokens: 4 });
  assert.equal(third.cachedTokens, 0, 'now it is gone');
});

test('a foreign page or a foreign Host drives nothing, keys or not', async () => {
  const headers = { origin: 'https://evil.example' };
  const sent = { policy: 'random' };
  assert.equal((await post(`${stack.url}/stator/v1/policies`, sent, headers)).status, 403);
  assert.equal((await post(`${stack.url}/reset_prefix_cache`, {}, headers)).status, 403);
  assert.equal((await get(`${stack.url}/stator/v1/snapshot`, headers)).status, 403);
  assert.equal((await get(`${stack.url}/`, headers)).status, 403);
  assert.equal((await stack.snapshot()).policy, 'stator');
});

test('no URL in a request is fetched', async () => {
  const messages = [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'What is this?' },
        { type: 'image_url', image_url: { url: `${stack.url}/metrics?fetched` } },
      ],
    },
  ];
  const metric = async () =>
    /stator_requests_total.*/.exec((await get(`${stack.url}/metrics`)).text)?.[0];
  await metric();
  const { status } = await post(`${stack.url}/v1/chat/completions`, { model: 'demo', messages });
  // It may be refused or answered without the image, as long as nobody went for it.
  assert.ok(status === 200 || status === 400, String(status));
});

test('the tenant of a header counts, since it comes from this machine', async () => {
  const headers = { 'x-tenant-id': 'guest' };
  const messages = [{ role: 'user', content: 'Whose is this? '.repeat(60) }];
  const ask = (given: { headers?: Record<string, string> }) =>
    streamChat(stack.url, { messages, max_tokens: 4 }, given);
  await ask({});
  assert.equal((await ask({ headers })).cachedTokens, 0);
  const again = await ask({ headers });
  assert.ok((again.cachedTokens ?? 0) > 100);
  const receipt = `${stack.url}/stator/v1/receipts/${again.headers['x-stator-receipt']}`;
  assert.equal((await get(receipt)).status, 404);
  assert.equal((await call('GET', receipt, { headers })).status, 200);
});

/** Inodes of the sockets a process holds. */
function socketsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      return []; // It was closed meanwhile.
    }
  });
}

test('the demo model that was written is the one that is served', () => {
  const file = readdirSync(cache).find((name) => name.endsWith('.gguf')) ?? assert.fail();
  assert.equal(readFileSync(join(cache, file)).subarray(0, 4).toString(), 'GGUF');
});
