/** KV events over a real NATS server, from a worker's log to what a gateway knows of it. */

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect } from '@nats-io/transport-node';
import { Feed } from '../../src/gateway/feed/feed.ts';
import type { WorkerId } from '../../src/model/ids.ts';
import type { Fact } from '../../src/model/kernel-io.ts';
import type { NatsConnect } from '../../src/planes/nats-connection.ts';
import { NatsFeed } from '../../src/planes/nats-feed.ts';
import { NatsPublisher } from '../../src/planes/nats-publisher.ts';
import { WallClock } from '../../src/planes/wall-clock.ts';
import { FEED_SETTINGS } from '../../src/sim/scene.ts';
import { ChainHasher } from '../../src/tokens/block-hash.ts';
import { KvEventLog } from '../../src/wire/kv-event-log.ts';
import { stored, until } from '../kv-events.ts';

const W = 'w' as WorkerId;
const BLOCK = 4;
const load = async () => connect as unknown as NatsConnect;
const installed = spawnSync('nats-server', ['--version']).status === 0;
const skip = installed ? false : 'no nats-server here; the Debian package nats-server has it';

test('what was published before and after arrives, and the worker is exact', {
  skip,
}, async (t) => {
  const rig = await Rig.start(t, 10_000);
  for (let i = 0; i < 500; i++) rig.log.publish([stored(i, BLOCK)]);
  const heard = rig.listen(t);
  await until(() => heard.known.size === 500);
  for (let i = 500; i < 1000; i++) rig.log.publish([stored(i, BLOCK)]);
  await until(() => heard.known.size === 1000);
  assert.equal(heard.mode, 'exact');
});

test('what is kept no more is told as all that is held', { skip }, async (t) => {
  const rig = await Rig.start(t, 5);
  rig.log.tellsState(function* () {
    for (let i = 0; i < 100; i++) yield [stored(i, BLOCK)];
  });
  for (let i = 0; i < 100; i++) rig.log.publish([stored(i, BLOCK)]);
  const heard = rig.listen(t);
  await until(() => heard.mode === 'exact' && heard.known.size === 100);
});

test('a subject where nobody publishes proves nothing', { skip }, async (t) => {
  const rig = await Rig.start(t, 5);
  rig.log.publish([stored(1, BLOCK)]);
  const heard = rig.listen(t, 'elsewhere');
  const right = rig.listen(t);
  await until(() => right.mode === 'exact');
  assert.equal(heard.mode, 'predicted');
});

class Rig {
  readonly log: KvEventLog;
  readonly url: string;

  private constructor(log: KvEventLog, url: string) {
    this.log = log;
    this.url = url;
  }

  static async start(t: TestContext, batchesMax: number): Promise<Rig> {
    const port = await freePort();
    const server = spawn('nats-server', ['-a', '127.0.0.1', '-p', String(port)], {
      stdio: 'ignore',
    });
    t.after(() => server.kill());
    let times = 0;
    const log = new KvEventLog({ batchesMax, nowS: () => ++times });
    const url = `nats://127.0.0.1:${port}`;
    let publisher: NatsPublisher | undefined;
    for (let i = 0; publisher === undefined; i++) {
      assert.ok(i < 200, 'the server comes up');
      publisher = await NatsPublisher.start(`${url}/kv.w`, log, load).catch(() => undefined);
      if (publisher === undefined) await new Promise((resolve) => setTimeout(resolve, 25));
    }
    t.after(() => publisher?.close());
    return new Rig(log, url);
  }

  listen(t: TestContext, subject = 'kv.w') {
    const clock = new WallClock();
    const known = new Set<bigint>();
    const heard = { known, mode: 'predicted' };
    const tell = (fact: Fact) => {
      if (fact.kind === 'blocksStored') for (const hash of fact.hashes) known.add(hash);
      if (fact.kind !== 'blocksCleared' && fact.kind !== 'feedLost') return;
      known.clear();
      heard.mode = fact.kind === 'blocksCleared' ? 'exact' : 'predicted';
    };
    const feed = new Feed({
      host: { tell },
      feed: new NatsFeed({ clock, connect: load, replayUs: 1_000_000 }),
      clock,
      sink: { note: () => {} },
      settings: { ...FEED_SETTINGS, quietUs: 100_000, resyncUsMin: 10_000 },
    });
    const hasher = new ChainHasher({ fingerprint: '', blockTokens: BLOCK });
    feed.start(W, { endpoint: `${this.url}/${subject}`, replay: undefined }, hasher);
    t.after(() => feed.close());
    return heard;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
