/** A worker's events as server-sent events over a real socket, from its log to what a gateway knows. */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { stored, until } from '../../test/kv-events.ts';
import { Feed } from '../gateway/feed/feed.ts';
import { router } from '../http/router.ts';
import { HttpServer } from '../http/server.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Fact } from '../model/kernel-io.ts';
import { SseFeed } from '../planes/sse-feed.ts';
import { WallClock } from '../planes/wall-clock.ts';
import { FEED_SETTINGS } from '../sim/scene.ts';
import { ChainHasher } from '../tokens/block-hash.ts';
import { KvEventLog } from '../wire/kv-event-log.ts';
import { kvEvents } from './kv-events.ts';

const BLOCK = 4;

test('what was published before and after arrives, also when less is kept than was missed', async (t) => {
  for (const batchesMax of [1000, 3]) {
    const { log, url } = await served(t, batchesMax);
    log.tellsState(function* () {
      for (let i = 0; i < log.next; i++) yield [stored(i, BLOCK)];
    });
    for (let i = 0; i < 50; i++) log.publish([stored(i, BLOCK)]);
    const heard = listen(t, url);
    await until(() => heard.mode === 'exact' && heard.known.size === 50);
    for (let i = 50; i < 100; i++) log.publish([stored(i, BLOCK)]);
    await until(() => heard.known.size === 100);
    assert.equal(heard.mode, 'exact');
  }
});

test('what names no batch is refused', async (t) => {
  const { url } = await served(t, 3);
  for (const from of ['-1', 'x', '1e3']) {
    assert.equal((await fetch(`${url}?from=${from}&follow=0`)).status, 400);
  }
  const empty = await fetch(`${url}?from=0&follow=0`);
  assert.equal(await empty.text(), ': kv events\n\n');
});

async function served(t: TestContext, batchesMax: number) {
  let times = 0;
  const log = new KvEventLog({ batchesMax, nowS: () => ++times });
  const routes = new Map([
    ['GET /e', (call: Parameters<typeof kvEvents>[0]) => kvEvents(call, log)],
  ]);
  const server = new HttpServer(router(routes), {
    bodyBytesMax: 1000,
    bodiesBytesMax: 10_000,
    readerUsMax: 10_000_000,
    headersUsMax: 10_000_000,
    bodyUsMax: 10_000_000,
    shutdownUsMax: 100_000,
  });
  const port = await server.listen('127.0.0.1', 0);
  t.after(() => server.close());
  return { log, url: `http://127.0.0.1:${port}/e` };
}

function listen(t: TestContext, endpoint: string) {
  const clock = new WallClock();
  const heard = { known: new Set<bigint>(), mode: 'predicted' };
  const tell = (fact: Fact) => {
    if (fact.kind === 'blocksStored') for (const hash of fact.hashes) heard.known.add(hash);
    if (fact.kind !== 'blocksCleared' && fact.kind !== 'feedLost') return;
    heard.known.clear();
    heard.mode = fact.kind === 'blocksCleared' ? 'exact' : 'predicted';
  };
  const sse = { againUs: 10_000, silenceUsMax: 5_000_000, kvSecret: undefined };
  const feed = new Feed({
    host: { tell },
    feed: new SseFeed({ clock, settings: sse }),
    clock,
    sink: { note: () => {} },
    settings: { ...FEED_SETTINGS, resyncUsMin: 10_000 },
  });
  const hasher = new ChainHasher({ fingerprint: '', blockTokens: BLOCK });
  feed.start('w' as WorkerId, { endpoint, replay: undefined }, hasher);
  t.after(() => feed.close());
  return heard;
}
