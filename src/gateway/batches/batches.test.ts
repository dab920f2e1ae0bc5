/** Files and batches over real folders, before a gateway that answers as it is told. */
import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Call, type Reply, replyJson } from '../../http/call.ts';
import { router } from '../../http/router.ts';
import type { Cancel, Clock } from '../../ports.ts';
import { Access } from '../access.ts';
import { Batches } from './batches.ts';
import { Cabinet, type CabinetLimits } from './cabinet.ts';
import type { BatchObject } from './records.ts';

const root = mkdtempSync(join(tmpdir(), 'stator-batches-'));
after(() => rmSync(root, { recursive: true }));

const CHAT = '/v1/chat/completions';

test('a batch answers each of its lines once, those that begin alike one after the other', async () => {
  const rig = new Rig();
  const lines = Array.from({ length: 24 }, (_, i) => lineOf(`c${i}`, `system ${i % 3} ${LONG}`));
  const refused = { ...lineOf('bad', 'none'), body: { model: 'm', messages: 'refuse' } };
  const batch = await rig.run([...lines, refused]);
  assert.equal(batch.status, 'completed');
  assert.deepEqual(batch.request_counts, { total: 25, completed: 24, failed: 1 });
  const results = await rig.results(batch.output_file_id);
  assert.deepEqual(ids(results), ids(lines));
  assert.equal(results[0].response.status_code, 200);
  const [failed] = await rig.results(batch.error_file_id);
  assert.equal(failed.custom_id, 'bad');
  assert.equal(failed.response.status_code, 400);
  const beginnings = rig.asked.map(({ messages }) => String(messages).slice(0, 8));
  const changes = beginnings.filter((one, i) => one !== beginnings[i - 1]);
  assert.equal(changes.length, 4, 'three beginnings and the one that is refused');
  assert.ok(rig.asked.every((body) => body.service_tier === 'batch' && !('stream' in body)));
  await rig.close();
});

test('what ran when the gateway stopped goes on, and nothing is asked or written twice', async () => {
  const folder = join(root, 'resumed');
  const first = new Rig({ folder });
  first.holdAfter = 7;
  const lines = Array.from({ length: 20 }, (_, i) => lineOf(`c${i}`, `text ${i}`));
  const { id } = await first.begin(lines);
  await until(() => first.held === IN_FLIGHT);
  await first.close();
  // It stopped in the midst of a line, besides.
  const data = filesIn(folder).find((path) => path.endsWith('.data') && isResult(path));
  assert.ok(data !== undefined);
  appendFileSync(data, '{"id":"batch_req_torn","custom_id":"c1');
  const torn = join(data, '..', '0'.repeat(40));
  for (const kind of ['data', 'data.half']) writeFileSync(`${torn}.${kind}`, 'an upload');
  const second = new Rig({ folder });
  const batch = await second.until(id, 'completed');
  assert.equal(second.asked.length, 20 - 7);
  assert.deepEqual(batch.request_counts, { total: 20, completed: 20, failed: 0 });
  assert.deepEqual(ids(await second.results(batch.output_file_id)), ids(lines));
  assert.ok(!filesIn(folder).some((path) => path.startsWith(torn)), 'what was torn is gone');
  await second.close();
});

test('a cancelled batch keeps what it has; one whose time is over says so of the rest', async () => {
  for (const end of ['cancelled', 'expired'] as const) {
    const rig = new Rig();
    rig.holdAfter = 3;
    const { id } = await rig.begin(Array.from({ length: 9 }, (_, i) => lineOf(`c${i}`, 'x')));
    await until(() => rig.held === IN_FLIGHT);
    if (end === 'expired') rig.clock.pass(25 * 3600);
    else await rig.call('POST', `/v1/batches/${id}/cancel`);
    const batch = await rig.until(id, end);
    assert.equal((await rig.results(batch.output_file_id)).length, 3);
    const errors = batch.error_file_id === null ? [] : await rig.results(batch.error_file_id);
    assert.deepEqual(
      errors.map(({ error }) => error.code),
      end === 'expired' ? Array.from({ length: 6 }, () => 'batch_expired') : [],
    );
    await rig.close();
  }
});

test('a full queue is waited for as long as it takes, an engine that fails is asked three times', async () => {
  const rig = new Rig();
  rig.refusals.set(
    'full',
    Array.from({ length: 10 }, () => 503),
  );
  rig.refusals.set(
    'lost',
    Array.from({ length: 10 }, () => 502),
  );
  const { id } = await rig.begin([lineOf('full', 'full'), lineOf('lost', 'lost')]);
  for (let done = false; !done; rig.clock.pass(60)) {
    await new Promise((resolve) => setImmediate(resolve));
    done = (await rig.batch(id)).status === 'completed';
  }
  const { request_counts: counts } = await rig.batch(id);
  assert.deepEqual(counts, { total: 2, completed: 1, failed: 1 });
  assert.equal(rig.asked.filter(({ messages }) => messages === 'lost').length, 3);
  await rig.close();
});

test('a file with mistakes is not run, and each mistake is told with its line', async () => {
  const rig = new Rig();
  const good = lineOf('a', 'x');
  const lines: unknown[] = [
    good,
    good,
    { ...good, custom_id: 'b', url: '/v1/other' },
    { ...good, custom_id: 3 },
    5,
  ];
  const batch = await rig.run(lines);
  assert.equal(batch.status, 'failed');
  const told = batch.errors?.data.map(({ line, code }) => `${line} ${code}`);
  assert.deepEqual(told, [
    '2 duplicate_custom_id',
    '3 mismatched_endpoint',
    '4 missing_required_parameter',
    '5 invalid_json_line',
  ]);
  assert.equal(rig.asked.length, 0);
  await rig.close();
});

test('each tenant sees its own, on disk too, and names there tell nothing', async () => {
  const folder = join(root, 'tenants');
  const rig = new Rig({ folder });
  const batch = await rig.run([lineOf('secret', 'x')]);
  for (const path of [
    `/v1/files/${batch.input_file_id}`,
    `/v1/files/${batch.output_file_id}/content`,
    `/v1/batches/${batch.id}`,
  ]) {
    assert.equal((await rig.call('GET', path)).status, 200);
    assert.equal((await rig.call('GET', path, { tenant: 'other' })).status, 404);
  }
  const body = { input_file_id: batch.input_file_id, endpoint: CHAT, completion_window: '24h' };
  assert.equal((await rig.call('POST', '/v1/batches', { body, tenant: 'other' })).status, 404);
  const { text } = await rig.call('GET', '/v1/files', { tenant: 'other' });
  assert.deepEqual(JSON.parse(text).data, []);
  for (const path of filesIn(folder)) {
    assert.match(path.slice(folder.length), /^\/[\da-f]{40}\/[\da-f]{40}\.(data|file|batch)$/);
    if (process.platform !== 'win32') assert.equal(statSync(path).mode & 0o777, 0o600);
  }
  await rig.close();
});

test('over its limits an upload is refused and leaves nothing, and room comes back', async () => {
  const folder = join(root, 'full');
  const rig = new Rig({ folder, limits: { tenantBytesMax: 1_000, fileBytesMax: 700 } });
  assert.equal((await rig.upload('x'.repeat(701))).status, 413);
  const first = await rig.upload('x'.repeat(600));
  assert.equal(first.status, 200);
  const before = filesIn(folder);
  assert.equal((await rig.upload('x'.repeat(600))).status, 503);
  assert.equal((await rig.upload('x', 'assistants')).status, 400);
  assert.deepEqual(filesIn(folder), before);
  await rig.call('DELETE', `/v1/files/${JSON.parse(first.text).id}`);
  assert.deepEqual(filesIn(folder), []);
  assert.equal((await rig.upload('x'.repeat(600))).status, 200);
  await rig.close();
});

const LONG = 'words that many begin with '.repeat(20);
const IN_FLIGHT = 2;

function lineOf(customId: string, messages: string) {
  const body = { model: 'm', stream: true, messages };
  return { custom_id: customId, method: 'POST', url: CHAT, body };
}

function ids(lines: readonly { custom_id: string }[]): string[] {
  return lines.map(({ custom_id: id }) => id).sort();
}

class Rig {
  readonly clock = new HandClock();
  /** Bodies, in the order they came. */
  readonly asked: Record<string, unknown>[] = [];
  /** By what is said: statuses before it is answered. */
  readonly refusals = new Map<string, number[]>();
  /** So many are answered; the others only when they are broken off. */
  holdAfter = Number.POSITIVE_INFINITY;
  held = 0;
  readonly #batches: Batches;
  readonly #handler: (call: Call) => Promise<void>;

  constructor(given: { folder?: string; limits?: Partial<CabinetLimits> } = {}) {
    const { folder = mkdtempSync(join(root, 'rig-')), limits } = given;
    const large = { bytesMax: 1e6, tenantBytesMax: 1e6, tenantFilesMax: 100, fileBytesMax: 1e6 };
    this.#batches = new Batches({
      access: new Access({ keys: [], trustedProxies: [], host: 'localhost' }),
      cabinet: new Cabinet({ folder, limits: { ...large, ...limits } }),
      clock: this.clock,
      limits: { requestsMax: 1000, inFlightMax: IN_FLIGHT, keepMs: 1e9 },
      runningMax: 2,
      tenantBatchesMax: 5,
      handler: (call) => this.#answer(call),
      complain: (sentence) => assert.fail(sentence),
    });
    this.#handler = router(this.#batches.routes());
  }

  async call(
    method: string,
    path: string,
    given: { body?: unknown; bytes?: Buffer; type?: string; tenant?: string } = {},
  ) {
    const bytes = given.bytes ?? Buffer.from(JSON.stringify(given.body ?? {}));
    const reply = new TestReply();
    const [pathname, query] = path.split('?');
    await this.#handler({
      ...{ method, path: pathname, query: new URLSearchParams(query), reply, requestId: 'test' },
      headers: { 'x-tenant-id': given.tenant ?? 'mine', 'content-type': given.type },
      remote: '127.0.0.1',
      body: async () => bytes,
      stream: async function* () {
        yield bytes;
      },
      signal: new AbortController().signal,
    });
    return { status: reply.status, text: reply.text };
  }

  upload(text: string, purpose = 'batch') {
    const form = [
      `--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n${purpose}\r\n`,
      `--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n${text}\r\n--b--`,
    ];
    const type = 'multipart/form-data; boundary=b';
    return this.call('POST', '/v1/files', { bytes: Buffer.from(form.join('')), type });
  }

  async begin(lines: readonly unknown[]): Promise<BatchObject> {
    const file = await this.upload(lines.map((line) => JSON.stringify(line)).join('\n'));
    const id = JSON.parse(file.text).id;
    const body = { input_file_id: id, endpoint: CHAT, completion_window: '24h' };
    return JSON.parse((await this.call('POST', '/v1/batches', { body })).text);
  }

  async run(lines: readonly unknown[]): Promise<BatchObject> {
    const { id } = await this.begin(lines);
    return this.until(id, 'completed', 'failed');
  }

  async until(id: string, ...statuses: BatchObject['status'][]): Promise<BatchObject> {
    await until(async () => statuses.includes((await this.batch(id)).status));
    return this.batch(id);
  }

  async batch(id: string): Promise<BatchObject> {
    return JSON.parse((await this.call('GET', `/v1/batches/${id}`)).text);
  }

  async results(fileId: string | null) {
    const { text } = await this.call('GET', `/v1/files/${fileId}/content`);
    return text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  }

  close(): Promise<void> {
    return this.#batches.close();
  }

  async #answer(call: Call): Promise<void> {
    const body = JSON.parse(Buffer.from(await call.body()).toString());
    this.asked.push(body);
    const refusal = this.refusals.get(body.messages)?.shift();
    if (refusal !== undefined) return replyJson(call.reply, refusal, {}, { 'retry-after': '30' });
    if (body.messages === 'refuse') return replyJson(call.reply, 400, { error: {} });
    if (this.asked.length > this.holdAfter) {
      this.held++;
      await new Promise((resolve) => call.signal.addEventListener('abort', resolve));
      return call.reply.destroy();
    }
    replyJson(call.reply, 200, { object: 'chat.completion', tenant: call.vouched?.tenant });
  }
}

class TestReply implements Reply {
  headSent = false;
  status = 0;
  text = '';

  head(status: number): void {
    this.headSent = true;
    this.status = status;
  }

  write(data: string | Uint8Array): undefined {
    this.text += Buffer.from(data as Uint8Array).toString('utf8');
  }

  end(data?: string | Uint8Array): void {
    if (data !== undefined) this.write(data);
  }

  destroy(): void {}
}

/** Moved by hand. */
class HandClock implements Clock {
  #us = 0;
  readonly #timers = new Set<{ atUs: number; run: () => void }>();

  nowUs(): number {
    return this.#us;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#us / 1000;
  }

  after(us: number, run: () => void): Cancel {
    const timer = { atUs: this.#us + us, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  pass(seconds: number): void {
    this.#us += seconds * 1e6;
    for (const timer of [...this.#timers]) {
      if (timer.atUs > this.#us || !this.#timers.delete(timer)) continue;
      timer.run();
    }
  }
}

function filesIn(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  return names.map((name) => join(folder, name)).filter((path) => statSync(path).isFile());
}

/** Of results, not what was sent. */
function isResult(path: string): boolean {
  return !readdirSync(join(path, '..')).includes(`${path.split('/').at(-1)?.slice(0, 40)}.file`);
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 2));
}
