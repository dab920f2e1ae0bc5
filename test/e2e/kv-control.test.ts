/** KV as others direct it, on the real engine: moved between workers bit for bit, kept, demoted, refused. */
import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { after, before, test } from 'node:test';
import { StatorEngine } from '../../src/engines/stator.ts';
import { moveKv } from '../../src/engines/stator-kv.ts';
import { GatewayError } from '../../src/model/error.ts';
import type { WorkerId } from '../../src/model/ids.ts';
import type { KvChain } from '../../src/model/kv-control.ts';
import { KV_SECRET_HEADER } from '../../src/model/worker.ts';
import { plainJob } from '../plain-job.ts';
import { startWorker, until } from './stack.ts';

const SECRET = 'a secret of this test';
const ENV = { STATOR_KV_SECRET: SECRET };
const CHUNK = 256;
const PROMPT_TOKENS = 4 * CHUNK + 30;
const FLAGS = ['--memory=500MB', '--context=2048', '--disk=0'];
const NEVER = new AbortController().signal;

interface Worker {
  url: string;
  engine: StatorEngine;
  stop(): Promise<unknown>;
}

let a: Worker;
let b: Worker;
before(async () => {
  a = await start([...FLAGS, '--exact']);
  b = await start([...FLAGS, '--exact']);
});
after(async () => {
  await Promise.all([a.stop(), b.stop()]);
});

test('a thread computed on one worker goes on at another, with bit-equal logits', async () => {
  const first = await answer(a, { thread: 'moved', prompt: 1 });
  const outcome = await moveKv(thread('moved'), { from: a.engine.kv, to: b.engine.kv }, NEVER);
  assert.deepEqual([outcome.answer, outcome.tokens], ['accepted', 4 * CHUNK]);
  const there = await answer(b, { thread: 'moved', prompt: 1 });
  assert.equal(there.cachedTokens, 4 * CHUNK);
  const here = await answer(a, { thread: 'moved', prompt: 1 });
  assert.equal(there.digests, first.digests);
  assert.equal(here.digests, first.digests);
  const report = await b.engine.report();
  assert.ok((report?.hostBlocks ?? 0) >= (4 * CHUNK) / 16, 'it landed in the host store');
  const again = await moveKv(thread('moved'), { from: a.engine.kv, to: b.engine.kv }, NEVER);
  assert.equal(again.answer, 'accepted', 'what is there already is as good');
  const other = await answer(b, { thread: 'moved', prompt: 1, salt: 'another tenant' });
  assert.equal(other.cachedTokens, 0, 'nothing crosses a salt');
});

test('over a Unix socket the same arrives, and only who says its token takes it, once', async (t) => {
  if (process.platform === 'win32') return t.skip('there are no Unix sockets here');
  await answer(a, { thread: 'socket', prompt: 4 });
  const [from, to] = [a, b].map(({ url }) => engineOf(url, SECRET, 'socket'));
  const outcome = await moveKv(thread('socket'), { from: from.kv, to: to.kv }, NEVER);
  assert.deepEqual([outcome.answer, outcome.tokens], ['accepted', 4 * CHUNK]);
  const there = await answer(b, { thread: 'socket', prompt: 4 });
  const here = await answer(a, { thread: 'socket', prompt: 4 });
  assert.equal(there.cachedTokens, 4 * CHUNK);
  assert.equal(there.digests, here.digests);
  const unknown = await moveKv(thread('nobody'), { from: from.kv, to: to.kv }, NEVER);
  assert.equal(unknown.answer, 'missing');
  for (const say of ['', `${'0'.repeat(64)}\n`]) {
    const response = await fetch(`${a.url}/kv/export?via=socket&thread=socket`, {
      headers: { [KV_SECRET_HEADER]: SECRET },
    });
    const { path, token } = (await response.json()) as { path: string; token: string };
    assert.equal(statSync(dirname(path)).mode & 0o777, 0o700);
    assert.equal(await said(path, say), '', 'a wrong token gets nothing');
    await assert.rejects(said(path, `${token}\n`), /ENOENT|ECONNREFUSED/, 'it is good once');
    await until('its folder is gone', () => !existsSync(dirname(path)));
  }
  for (const engine of [from, to]) engine.close();
});

test('of a stream that is torn or damaged only what is sound counts; of another model nothing does', async () => {
  await answer(a, { thread: 'torn', prompt: 2 });
  const exported = await exportOf(a, thread('torn'));
  const head = 64 + 16;
  const frame = (exported.length - head) / ((4 * CHUNK) / 16);
  const cases: [string, Buffer, string, number][] = [
    ['torn in block 9', exported.subarray(0, head + 9 * frame + 100), 'clipped', 9],
    ['a bit of block 5', flipped(exported, head + 5 * frame + 200), 'clipped', 5],
    ["block 5's token", flipped(exported, head + 5 * frame + 10), 'clipped', 5],
    ['the fingerprint', flipped(exported, 12), 'rejected', 0],
    ['the head', flipped(exported, 36), 'rejected', 0],
    ['no stream at all', Buffer.from('hello'), 'rejected', 0],
    ['nothing', Buffer.alloc(0), 'rejected', 0],
  ];
  for (const [what, bytes, expected, blocks] of cases) {
    await b.engine.resetCache();
    const outcome = await b.engine.kv.import(inPieces(bytes), 'torn', NEVER);
    assert.deepEqual([outcome.answer, outcome.blocks], [expected, blocks], what);
    assert.ok(outcome.sentence !== undefined);
    assert.equal((await b.engine.report())?.cachedBlocks, blocks, what);
  }
  const there = await answer(b, { thread: 'torn', prompt: 2 });
  const here = await answer(a, { thread: 'torn', prompt: 2 });
  assert.equal(there.digests, here.digests);
});

test('who leaves in the midst of an export or an import leaves nothing behind', async () => {
  await answer(a, { thread: 'left', prompt: 3 });
  for (let i = 0; i < 6; i++) {
    const leaving = new AbortController();
    const exported = await a.engine.kv.export(thread('left'), leaving.signal);
    assert.ok(exported.kind === 'stream', 'places for transfers are given back');
    leaving.abort();
    await assert.rejects(async () => {
      for await (const _ of exported.bytes);
    });
  }
  const bytes = await exportOf(a, thread('left'));
  for (let i = 0; i < 6; i++) {
    const breaks = async function* () {
      yield bytes.subarray(0, 100_000);
      throw new Error('the client broke off');
    };
    await assert.rejects(b.engine.kv.import(breaks(), 'left', NEVER));
  }
  await until('the worker is done with them', async () => {
    const { answer } = await b.engine.kv.import(inPieces(bytes), 'left', NEVER);
    return answer === 'accepted';
  });
});

test('only who knows the secret directs KV, and what is no wish is refused', async () => {
  const post = (path: string, body: unknown, secret: string | undefined) =>
    fetch(a.url + path, {
      method: path.startsWith('/kv/export?') ? 'GET' : 'POST',
      ...(!path.startsWith('/kv/export?') && { body: JSON.stringify(body) }),
      headers: secret === undefined ? {} : { [KV_SECRET_HEADER]: secret },
    });
  for (const path of [
    'retain',
    'pin',
    'release',
    'demote',
    'prefetch',
    'import',
    'export?thread=x',
  ]) {
    for (const secret of [undefined, 'another']) {
      assert.equal((await post(`/kv/${path}`, { thread: 'x', ttlS: 1 }, secret)).status, 403, path);
    }
  }
  const wrong: [string, unknown][] = [
    ['retain', { thread: 'x' }],
    ['retain', { thread: 'x', ttlS: -1 }],
    ['retain', { thread: 'x', ttlS: 1e9 }],
    ['pin', {}],
    ['pin', { thread: 'x', blockHashes: ['0000000000000001'] }],
    ['pin', { blockHashes: ['1'] }],
    ['pin', { blockHashes: [12] }],
    ['demote', { thread: 'x', tier: 'device' }],
    ['import', { from: { path: '/etc/passwd' } }],
  ];
  for (const [verb, body] of wrong) {
    const response = await post(`/kv/${verb}`, body, SECRET);
    const said = (await response.json()) as { answer?: string };
    assert.ok(response.status === 400 || said.answer === 'rejected', JSON.stringify(body));
  }
  const unknown = await post('/kv/pin', { thread: 'nobody' }, SECRET);
  assert.deepEqual(
    [unknown.status, ((await unknown.json()) as { answer: string }).answer],
    [200, 'missing'],
  );
  const bare = await startWorker([...FLAGS, '--engine=sim']);
  const engine = engineOf(bare.card.url, undefined);
  await assert.rejects(engine.kv.pin(thread('x')), (error) => {
    return error instanceof GatewayError && error.code === 'forbidden';
  });
  engine.close();
  await bare.stop();
});

test('a retained thread outlives pressure that evicts others, until its time has come', async () => {
  const worker = await start([...FLAGS, '--slots=1', '--kv-tokens=4096']);
  const { kv } = worker.engine;
  const press = async (from: number) => {
    for (let i = 0; i < 4; i++)
      await answer(worker, { thread: `press ${from + i}`, prompt: from + i });
  };
  await answer(worker, { thread: 'kept', prompt: 1 });
  await answer(worker, { thread: 'other', prompt: 2 });
  const kept = await kv.retain(thread('kept'), 3_600_000_000);
  assert.equal(kept.answer, 'accepted');
  await press(10);
  assert.equal((await answer(worker, { thread: 'other', prompt: 2 })).cachedTokens, 0);
  assert.equal((await kv.demote(thread('kept'), 'host')).answer, 'accepted');
  assert.equal((await kv.prefetch(thread('kept'), 'device')).answer, 'accepted');
  const back = await answer(worker, { thread: 'kept', prompt: 1 });
  assert.ok(back.cachedTokens >= 1024, `${back.cachedTokens} tokens`);
  // Asked again for a moment: it lapses by itself.
  assert.equal((await kv.retain(thread('kept'), 1_000)).answer, 'accepted');
  await press(20);
  assert.equal((await answer(worker, { thread: 'kept', prompt: 1 })).cachedTokens, 0);
  assert.equal((await kv.pin(thread('kept'))).answer, 'accepted');
  assert.equal((await kv.release(thread('kept'))).answer, 'accepted');
  await press(30);
  assert.equal((await answer(worker, { thread: 'kept', prompt: 1 })).cachedTokens, 0);
  await worker.stop();
});

test('simulated workers move KV as well', async () => {
  const [from, to] = await Promise.all([start(['--engine=sim']), start(['--engine=sim'])]);
  await answer(from, { thread: 'sim', prompt: 1 });
  const outcome = await moveKv(thread('sim'), { from: from.engine.kv, to: to.engine.kv }, NEVER);
  assert.equal(outcome.answer, 'accepted');
  assert.equal((await answer(to, { thread: 'sim', prompt: 1 })).cachedTokens, PROMPT_TOKENS - 14);
  const refused = await moveKv(thread('sim'), { from: from.engine.kv, to: a.engine.kv }, NEVER);
  assert.equal(refused.answer, 'rejected');
  await Promise.all([from.stop(), to.stop()]);
});

async function start(flags: readonly string[]): Promise<Worker> {
  const worker = await startWorker(flags, ENV);
  const engine = engineOf(worker.card.url, SECRET);
  const stop = async () => {
    engine.close();
    await worker.stop();
  };
  return { url: worker.card.url, engine, stop };
}

function engineOf(
  url: string,
  kvSecret: string | undefined,
  kvVia: 'http' | 'socket' = 'http',
): StatorEngine {
  const worker = 'w' as WorkerId;
  return new StatorEngine({ worker, url, silenceUsMax: 60_000_000, kvSecret, kvVia });
}

/** What a socket answers until it ends. */
async function said(path: string, word: string): Promise<string> {
  const socket = connect(path);
  socket.end(word);
  let text = '';
  for await (const chunk of socket) text += chunk;
  return text;
}

function thread(name: string): KvChain {
  return { kind: 'thread', thread: name, salt: '' };
}

async function exportOf({ engine }: Worker, chain: KvChain): Promise<Buffer> {
  const exported = await engine.kv.export(chain, NEVER);
  assert.ok(exported.kind === 'stream');
  const pieces: Uint8Array[] = [];
  for await (const bytes of exported.bytes) pieces.push(bytes);
  return Buffer.concat(pieces);
}

async function* inPieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 10_007) yield bytes.subarray(at, at + 10_007);
}

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] ^= 4;
  return copy;
}

async function answer(
  { engine }: Worker,
  given: { thread: string; prompt: number; salt?: string },
): Promise<{ digests: string; cachedTokens: number }> {
  const parts = engine.generate(
    plainJob({
      model: 'demo',
      prompt: { kind: 'tokens', ids: promptOf(given.prompt) },
      outputTokensMax: 4,
      cacheSalt: given.salt ?? '',
      engineData: true,
      thread: given.thread,
    }),
    NEVER,
  );
  const digests: string[] = [];
  let cachedTokens = 0;
  for await (const part of parts) {
    if (part.kind === 'error') throw part.error;
    if (part.kind === 'text') digests.push(...(part.engineData?.logitsDigests ?? []));
    if (part.kind === 'done') cachedTokens = part.usage.cachedTokens ?? 0;
  }
  return { digests: digests.join(), cachedTokens };
}

/** Another prompt for each number. */
function promptOf(number: number): Uint32Array {
  return Uint32Array.from(
    { length: PROMPT_TOKENS },
    (_, i) => 300 + ((i * 7919 + number * 104_729) % 4000),
  );
}
