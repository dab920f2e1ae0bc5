/** What is reachable, and what lies on disk: CONTRACT's "Safe by default", for a gateway without keys. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { call, get, post, streamChat } from './client.ts';
import { FOLDER, marked, procFile, SMALL, type Stack, startUp, until } from './stack.ts';

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
  // What a running request uses stays, and its last step may be running yet.
  await until('nothing runs', () => stack.isIdle());
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

test('no URL in a request is fetched, whatever it is called', async () => {
  let visits = 0;
  const bait = createServer((_, response) => {
    visits++;
    response.end('GIF89a');
  });
  await new Promise<void>((resolve) => bait.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(bait.address() as AddressInfo).port}/image.gif`;
  await get(url);
  const blocks = [
    ['/v1/chat/completions', { type: 'image_url', image_url: { url } }],
    ['/v1/chat/completions', { type: 'file', file: { file_data: url, filename: url } }],
    ['/v1/messages', { type: 'image', source: { type: 'url', url } }],
    ['/v1/messages', { type: 'document', source: { type: 'url', url } }],
    ['/v1/responses', { type: 'input_image', image_url: url }],
    ['/v1/responses', { type: 'input_file', file_url: url }],
  ] as const;
  for (const [path, block] of blocks) {
    const text = { type: path === '/v1/responses' ? 'input_text' : 'text', text: 'What is this?' };
    const turns = [{ role: 'user', content: [text, block] }];
    const sent = { model: 'demo', max_tokens: 16, messages: turns, input: turns };
    const { status } = await post(stack.url + path, sent);
    // It may be refused or answered without it, as long as nobody goes for it.
    assert.ok(status === 200 || (status >= 400 && status < 500), `${path}: ${status}`);
  }
  const fields = { nvext: { routing: { worker: url } }, url, webhook_url: url, metadata: { url } };
  const messages = [{ role: 'user', content: url }];
  await post(`${stack.url}/v1/chat/completions`, {
    model: 'demo',
    max_tokens: 4,
    messages,
    ...fields,
  });
  assert.equal(visits, 1, 'the test’s own visit');
  bait.close();
  bait.closeAllConnections();
});

test('workers come from the configuration only: no request adds one', async () => {
  const url = 'http://127.0.0.1:9';
  const known = (await stack.snapshot()).workers.length;
  for (const method of ['POST', 'PUT', 'PATCH']) {
    for (const path of ['/stator/v1/workers', '/stator/v1/workers/add', '/stator/v1/workers/x']) {
      const { status } = await call(method, stack.url + path, { body: { url, worker: url } });
      assert.ok(status === 404 || status === 405, `${method} ${path}: ${status}`);
    }
  }
  assert.equal((await stack.snapshot()).workers.length, known);
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
