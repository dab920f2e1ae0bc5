/** Over real sockets on loopback; time is the test's: the quiet timer runs when it says so. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Publisher, Router } from 'zeromq';
import type { KvEvent } from '../model/block.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Note } from '../ports.ts';
import { packEvents } from '../wire/kv-events.ts';
import { EventPublisher } from '../worker/events.ts';
import { ZeromqFeed } from './zeromq.ts';

test('what was published before and after arrives once, in order', async (t) => {
  const publisher = await EventPublisher.start(10_000);
  t.after(() => publisher.close());
  for (let i = 0; i < 4000; i++) publisher.publish([stored(i)]);
  const heard = listen(t, publisher);
  await until(() => heard.blocks.length > 100);
  for (let i = 4000; i < 5000; i++) publisher.publish([stored(i)]);
  await until(() => heard.blocks.length >= 5000 || heard.lost.length > 0, heard.quiet);
  assert.deepEqual(heard.lost, []);
  assert.deepEqual(
    heard.blocks,
    Array.from({ length: 5000 }, (_, i) => i),
  );
});

test('what the worker itself has forgotten is told as lost, and the rest is taken', async (t) => {
  const publisher = await EventPublisher.start(10);
  t.after(() => publisher.close());
  for (let i = 0; i < 50; i++) publisher.publish([stored(i)]);
  const heard = listen(t, publisher);
  await until(() => heard.blocks.length >= 10);
  assert.deepEqual(heard.lost, [40]);
  assert.equal(heard.blocks[0], 40);
});

test('a batch that never came live is fetched when it is quiet', async (t) => {
  const router = new Router({ linger: 0 });
  const publisher = await silentPublisher(t, router);
  let kept = 1;
  const answering = (async () => {
    for await (const [client, , from] of router) {
      for (let i = Number(from.readBigUInt64BE()); i < kept; i++) {
        await router.send([client, '', sequence(i), packEvents([stored(i)], 1)]);
      }
      await router.send([client, '', sequence(-1), '']);
    }
  })();
  const heard = listen(t, publisher);
  await until(() => heard.blocks.length === 1);
  kept = 3;
  await until(() => heard.blocks.length === 3, heard.quiet);
  assert.deepEqual([heard.blocks, heard.lost], [[0, 1, 2], []]);
  router.close();
  await answering;
});

test('an engine that restarted at the same address begins anew: its old blocks are gone', async (t) => {
  const first = await bound(t, 'tcp://127.0.0.1:*');
  const endpoint = first.lastEndpoint ?? '';
  const heard = listen(t, { endpoint, replay: undefined });
  await sendUntil(first, 5000, () => heard.blocks.length >= 3);
  first.close();
  const taken = heard.blocks.length;
  const second = await bound(t, endpoint);
  await sendUntil(second, 0, () => heard.blocks.length >= taken + 3);
  assert.equal(heard.cleared, 1, 'what the first engine held is forgotten');
  assert.ok(heard.blocks[taken] < 5000);
});

test('a missing batch that nobody can repeat is told as lost once', async (t) => {
  const publisher = await bound(t, 'tcp://127.0.0.1:*');
  const heard = listen(t, { endpoint: publisher.lastEndpoint ?? '', replay: undefined });
  const next = await sendUntil(publisher, 0, () => heard.blocks.length >= 2);
  heard.lost.length = 0;
  await publisher.send(['', sequence(next + 3), packEvents([stored(next + 3)], 1)]);
  await until(() => heard.blocks.at(-1) === next + 3);
  assert.deepEqual(heard.lost, [3]);
});

test('what cannot be read is a warning and a loss, and what follows is taken', async (t) => {
  const publisher = await bound(t, 'tcp://127.0.0.1:*');
  const heard = listen(t, { endpoint: publisher.lastEndpoint ?? '', replay: undefined });
  const next = await sendUntil(publisher, 0, () => heard.blocks.length >= 2);
  heard.lost.length = 0;
  await publisher.send(['only a topic']);
  await publisher.send(['', 'short', 'x']);
  await publisher.send(['', sequence(next), Buffer.from([0xc1, 0xff])]);
  await publisher.send(['', sequence(next + 1), packEvents([stored(next + 1)], 1)]);
  await until(() => heard.blocks.at(-1) === next + 1);
  assert.deepEqual(heard.lost, [1]);
  assert.equal(heard.notes.filter(({ kind }) => kind === 'warning').length, 1);
});

test('after it was cancelled nothing more is heard', async (t) => {
  const publisher = await EventPublisher.start(10);
  t.after(() => publisher.close());
  const heard = listen(t, publisher);
  publisher.publish([stored(0)]);
  await until(() => heard.blocks.length === 1, heard.quiet);
  heard.cancel();
  publisher.publish([stored(1)]);
  heard.quiet();
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(heard.blocks, [0]);
});

function listen(t: TestContext, from: { endpoint: string; replay: string | undefined }) {
  const heard = {
    blocks: [] as number[],
    lost: [] as number[],
    cleared: 0,
    notes: [] as Note[],
    /** Lets the time without news pass. */
    quiet: () => timer?.(),
    cancel: () => {},
  };
  let timer: (() => void) | undefined;
  const clock = {
    nowUs: () => 0,
    wallMs: () => 0,
    after: (_us: number, run: () => void) => {
      timer = run;
      return () => {
        timer = undefined;
      };
    },
  };
  const feed = new ZeromqFeed({
    clock,
    sink: { note: (note) => heard.notes.push(note) },
    settings: { quietUs: 1, replayUs: 5_000_000 },
  });
  heard.cancel = feed.subscribe(
    { id: 'w' as WorkerId, ...from },
    {
      events: (events) => {
        for (const event of events) {
          if (event.kind === 'cleared') heard.cleared++;
          else heard.blocks.push(...event.hashes.map(Number));
        }
      },
      lost: (missing) => heard.lost.push(missing),
    },
  );
  t.after(() => heard.cancel());
  return heard;
}

/** Binds a live socket that says nothing, and a replay socket. */
async function silentPublisher(t: TestContext, router: Router) {
  const publisher = await bound(t, 'tcp://127.0.0.1:*');
  await router.bind('tcp://127.0.0.1:*');
  t.after(() => router.close());
  return { endpoint: publisher.lastEndpoint ?? '', replay: router.lastEndpoint ?? '' };
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
    return publisher.send(['', sequence(number), packEvents([stored(number)], 1)]);
  });
  return next;
}

async function until(done: () => boolean, meanwhile: () => unknown = () => {}): Promise<void> {
  for (let i = 0; !done(); i++) {
    assert.ok(i < 2000, 'it happens at last');
    await meanwhile();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function stored(number: number): KvEvent {
  return {
    kind: 'stored',
    hashes: [BigInt(number)],
    parent: undefined,
    tokens: Uint32Array.from({ length: 4 }, () => number),
    blockTokens: 4,
    tier: 'device',
    extraKeys: [],
  };
}

function sequence(number: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(number));
  return bytes;
}
