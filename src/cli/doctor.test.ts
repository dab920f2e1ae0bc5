import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { FeedAccount, type FeedCount } from '../gateway/feed/account.ts';
import { doctor } from './doctor.ts';

test('events that were lost are told of, and that it is not well until all is known again', async (t) => {
  const lost = { batches: 90, gaps: 2, lost: 7, overflowed: 3 };
  const { says, well, fails } = await examined(t, { complete: false, counts: lost });
  assert.equal(well, false);
  assert.ok(fails, 'the verb ends with an error');
  assert.match(says, /90 batches, the last 41 ms old; not all it holds is known/);
  assert.match(says, /; 2 gaps; 7 lost; 3 overflowed$/);
});

test('a loss that was made good is still told of, and is well', async (t) => {
  const healed = { batches: 120, gaps: 2, lost: 7, resyncs: 1, duplicates: 5 };
  const { says, well } = await examined(t, { complete: true, counts: healed });
  assert.equal(well, true);
  assert.match(says, /; all it holds is known; 2 gaps; 7 lost; 1 resyncs; 5 duplicates$/);
});

test('nothing is said of what did not happen; events that cannot be read are never well', async (t) => {
  const { says, well } = await examined(t, { complete: true, counts: { batches: 4 } });
  assert.equal(well, true);
  assert.match(says, /all it holds is known$/);
  for (const count of ['decodeErrors', 'malformed', 'unknownMedium'] as const) {
    const unread = await examined(t, { complete: true, counts: { [count]: 1 } });
    assert.equal(unread.well, false, count);
    assert.match(unread.says, new RegExp(`; 1 ${count}$`));
  }
});

/** What the verb says of a worker's feed, and whether it fails; its gateway has one such worker. */
async function examined(
  t: TestContext,
  feed: { complete: boolean; counts: Partial<Record<FeedCount, number>> },
): Promise<{ says: string; well: boolean; fails: boolean }> {
  const counts = { ...new FeedAccount().counts, ...feed.counts };
  const worker = {
    id: 'w',
    about: {},
    healthy: true,
    mode: feed.complete ? 'exact' : 'predicted',
    confidence: { agreement: undefined, observations: 0, unreported: 0 },
    feed: { ...feed, counts, blocks: 10, lagMs: 41, queuedBytes: 0 },
    engine: null,
  };
  const server = createServer((_, response) => {
    response.end(JSON.stringify({ policy: 'stator', workers: [worker] }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const written: string[] = [];
  const { mock } = t.mock.method(process.stdout, 'write', (text: string) => written.push(text) > 0);
  let fails = false;
  try {
    await doctor({ url: `http://127.0.0.1:${port}`, json: true });
  } catch {
    fails = true;
  } finally {
    mock.restore();
    server.close();
    server.closeAllConnections();
  }
  const report = written.find((text) => text.includes('"findings"')) ?? '';
  const { findings } = JSON.parse(report) as {
    findings: { check: string; well: boolean; says: string }[];
  };
  const found = findings.find(({ check }) => check === 'KV feed');
  assert.ok(found !== undefined);
  return { ...found, fails };
}
