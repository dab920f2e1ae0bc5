/** Over real sockets on loopback, from the wire to what a gateway knows of the worker. */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Publisher, Router } from 'zeromq';
import { halfOpenProxy } from '../../test/half-open-proxy.ts';
import { stored, until } from '../../test/kv-events.ts';
import { Feed } from '../gateway/feed/feed.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Fact } from '../model/kernel-io.ts';
import type { Note } from '../ports.ts';
import { FEED_SETTINGS } from '../sim/scene.ts';
import { ChainHasher } from '../tokens/block-hash.ts';
import { KvEventLog } from '../wire/kv-event-log.ts';
import { packEvents } from '../wire/kv-events.ts';
import { EventPublisher } from '../worker/events.ts';
import { WallClock } from './wall-clock.ts';
import { ZeromqFeed } from './zeromq.ts';

const W = 'w' as WorkerId;
const BLOCK = 4;
const hasher = new ChainHasher({ fingerprint: '', blockTokens: BLOCK });

test('what was published before and after arrives, and the worker is exact', async (t) => {
  const { log, publisher } = await published(t, 10_000);
  for (let i = 0; i < 4000; i++) log.publish([stored(i, BLOCK)]);
  const heard = listen(t, publisher);
  await until(() => heard.known.size > 100);
  for (let i = 4000; i < 5000; i++) log.publish([stored(i, BLOCK)]);
  await until(() => heard.known.size === 5000);
  assert.equal(heard.mode, 'exact');
  assert.equal(heard.report.counts.lost, 0);
});

test('what the worker keeps no more is told as all that it holds', async (t) => {
  const { log, publisher } = await published(t, 10);
  log.tellsState(function* () {
    for (let i = 100; i < 150; i++) yield [stored(i, BLOCK)];
  });
  for (let i = 0; i < 150; i++) log.publish([stored(i, BLOCK)]);
  for (let i = 0; i < 100; i++)
    log.publish([{ kind: 'removed', hashes: [BigInt(i)], tier: 'device' }]);
  const heard = listen(t, publisher);
  await until(() => heard.mode === 'exact' && heard.known.size === 50);
  assert.equal(heard.mode, 'exact');
  assert.deepEqual([...heard.known].sort(), hashes(100, 150));
});

test('an address where nobody says anything proves nothing; a worker that says it has told nothing does', async (t) => {
  const silent = await bound(t, 'tcp://127.0.0.1:*');
  const nobody = listen(t, { endpoint: silent.lastEndpoint ?? '', replay: 'tcp://127.0.0.1:1' });
  const { publisher } = await published(t, 10);
  const empty = listen(t, publisher);
  await until(() => empty.mode === 'exact');
  assert.equal(nobody.mode, 'predicted');
  assert.equal(nobody.report.complete, false);
});

test('batches that nobody can repeat are lost, until the engine clears its cache', async (t) => {
  const publisher = await bound(t, 'tcp://127.0.0.1:*');
  const heard = listen(t, { endpoint: publisher.lastEndpoint ?? '', replay: undefined });
  const next = await sendUntil(publisher, 0, () => heard.report.counts.batches >= 2);
  await publisher.send(['', sequence(next + 3), packEvents([stored(next + 3, BLOCK)], 1)]);
  await until(() => heard.report.counts.gaps > 0 && heard.report.counts.lost >= 3);
  assert.equal(heard.mode, 'predicted');
  await publisher.send([
    '',
    sequence(next + 4),
    packEvents([{ kind: 'cleared' }, stored(7, BLOCK)], 2),
  ]);
  await until(() => heard.mode === 'exact' && heard.known.size === 1);
  assert.deepEqual([...heard.known], hashes(7, 8));
});

test('an engine that restarted at the same address begins anew: its old blocks are gone', async (t) => {
  const first = await bound(t, 'tcp://127.0.0.1:*');
  const endpoint = first.lastEndpoint ?? '';
  const heard = listen(t, { endpoint, replay: undefined });
  await sendUntil(first, 5000, () => heard.report.counts.batches >= 3);
  first.close();
  const taken = heard.report.counts.batches;
  const second = await bound(t, endpoint);
  await sendUntil(second, 0, () => heard.report.counts.batches >= taken + 3);
  assert.equal(heard.report.counts.restarts, 1);
  assert.ok(![...heard.known].some((hash) => hashes(5000, 5050).includes(hash)));
});

test('a connection that died without a word is made anew, and what it cost is known', async (t) => {
  const publisher = await bound(t, 'tcp://127.0.0.1:*');
  const { port } = new URL(publisher.lastEndpoint ?? '');
  const proxy = await halfOpenProxy(t, Number(port));
  const endpoint = `tcp://127.0.0.1:${proxy.port}`;
  const heard = listen(t, { endpoint, replay: undefined }, 300_000);
  const next = await sendUntil(publisher, 0, () => heard.report.counts.batches >= 3);
  proxy.forget();
  await sendUntil(publisher, next, () => proxy.count > 1 && heard.report.counts.gaps > 0);
  assert.equal(heard.mode, 'predicted', 'what was told meanwhile is lost, and that is no secret');
});

test('what cannot be read is a warning, and what follows is taken', async (t) => {
  const { log, publisher } = await published(t, 1000);
  const heard = listen(t, publisher);
  log.publish([stored(0, BLOCK)]);
  await until(() => heard.known.size === 1);
  const live = heard.notes;
  log.publish([
    { ...(stored(1, BLOCK) as object), hashes: [], tokens: new Uint32Array(3) } as never,
  ]);
  log.publish([stored(2, BLOCK)]);
  await until(() => heard.known.size === 2);
  assert.equal(live.filter(({ kind }) => kind === 'warning').length, 1);
  assert.equal(heard.report.counts.malformed, 1);
});

test('after it was stopped nothing more is heard', async (t) => {
  const { log, publisher } = await published(t, 10);
  const heard = listen(t, publisher);
  log.publish([stored(0, BLOCK)]);
  await until(() => heard.known.size === 1);
  heard.feed.stop(W);
  log.publish([stored(1, BLOCK)]);
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(heard.known.size, 1);
});

for (const topic of [[], ['kv-events']]) {
  const manner = topic.length > 0 ? 'with its topic first, as newer vLLM does' : 'without a topic';
  test(`what an engine repeats is heard ${manner}`, async (t) => {
    const publisher = await bound(t, 'tcp://127.0.0.1:*');
    const router = new Router({ linger: 0 });
    t.after(() => router.close());
    await router.bind('tcp://127.0.0.1:*');
    void (async () => {
      for await (const [client, delimiter] of router) {
        for (let number = 0; number < 3; number++) {
          const batch = packEvents([stored(number, BLOCK)], number);
          await router.send([client, delimiter, ...topic, sequence(number), batch]);
        }
        await router.send([client, delimiter, ...topic.map(() => ''), sequence(-1), '']);
      }
    })().catch(() => {}); // It was closed.
    const replay = router.lastEndpoint ?? '';
    const heard = listen(t, { endpoint: publisher.lastEndpoint ?? '', replay });
    await until(() => heard.mode === 'exact' && heard.known.size === 3);
    assert.deepEqual([...heard.known].sort(), hashes(0, 3));
  });
}

async function published(t: TestContext, batchesMax: number) {
  let times = 0;
  const log = new KvEventLog({ batchesMax, nowS: () => ++times });
  const publisher = await EventPublisher.start(log);
  t.after(() => publisher.close());
  return { log, publisher };
}

function listen(
  t: TestContext,
  from: { endpoint: string; replay: string | undefined },
  silenceUs = 15_000_000,
) {
  const clock = new WallClock();
  const notes: Note[] = [];
  const known = new Set<bigint>();
  const tell = (fact: Fact) => {
    if (fact.kind === 'blocksStored') for (const hash of fact.hashes) known.add(hash);
    if (fact.kind === 'blocksRemoved') for (const hash of fact.hashes) known.delete(hash);
    if (fact.kind !== 'blocksCleared' && fact.kind !== 'feedLost') return;
    known.clear();
    heard.mode = fact.kind === 'blocksCleared' ? 'exact' : 'predicted';
  };
  const settings = { ...FEED_SETTINGS, quietUs: 100_000, resyncUsMin: 10_000 };
  const feed = new Feed({
    host: { tell },
    feed: new ZeromqFeed({ clock, settings: { replayUs: 2_000_000, silenceUs } }),
    clock,
    sink: { note: (note) => notes.push(note) },
    settings,
  });
  const heard = {
    notes,
    known,
    feed,
    mode: 'predicted',
    get report() {
      return feed.report(W) ?? assert.fail('it is listened to');
    },
  };
  feed.start(W, { endpoint: from.endpoint, replay: from.replay }, hasher);
  t.after(() => feed.close());
  return heard;
}

async function bound(t: TestContext, endpoint: string): Promise<Publisher> {
  const publisher = new Publisher({ linger: 0 });
  t.after(() => publisher.close());
  // Whoever had the address before may take a moment to let go of it.
  for (let i = 0; i < 200; i++) {
    try {
      await publisher.bind(endpoint);
      return publisher;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  return assert.fail(`${endpoint} stays taken`);
}

/** Numbers batches on until somebody has heard enough; returns the next number. */
async function sendUntil(publisher: Publisher, from: number, done: () => boolean): Promise<number> {
  let next = from;
  await until(done, () => {
    const number = next++;
    return publisher.send(['', sequence(number), packEvents([stored(number, BLOCK)], number)]);
  });
  return next;
}

/** Our identities of the blocks, sorted. */
function hashes(from: number, to: number): bigint[] {
  return Array.from({ length: to - from }, (_, i) => {
    const tokens = Uint32Array.from({ length: BLOCK }, () => from + i);
    return hasher.block(hasher.root(''), tokens, 0);
  }).sort();
}

function sequence(number: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(number));
  return bytes;
}
