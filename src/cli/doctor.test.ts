import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { FeedAccount, type FeedCount, type FeedReport } from '../gateway/feed/account.ts';
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

test('who was never met, or gets nothing any more, is named with the reason', async (t) => {
  const asleep = 'it sleeps (POST /wake_up)';
  const missing = [
    { url: 'http://a', worker: undefined, says: 'its certificate has expired' },
    { url: 'http://b', worker: 'w', says: asleep },
  ];
  const { findings, fails } = await doctored(t, { ...WORKER, healthy: false }, missing);
  assert.ok(fails);
  const reachable = findings.filter(({ check }) => check === 'reachable');
  assert.deepEqual(
    reachable.map(({ about, well, says }) => [about, well, says]),
    [
      ['http://a', false, 'was never met: its certificate has expired'],
      ['w', false, `gets nothing: ${asleep}`],
    ],
  );
});

test('what a worker fails at, and what holds its streams back, is said where it is so', async (t) => {
  const cases: [object, string, RegExp][] = [
    [
      { trouble: 'It answered 401.' },
      'requests',
      /last one that ended there failed: It answered 401/,
    ],
    [{ fitness: 'unfit', trouble: 'It is gone.' }, 'requests', /gets none for now: It is gone/],
    [{ fitness: 'unfit' }, 'requests', /far slower than its like/],
    [{ heldBack: true }, 'streams', /proxy_buffering off/],
    [{ feed: feedOf({ unfit: 'these are events of another model' }) }, 'KV feed', /another model/],
    [{ feed: feedOf({}), mode: 'predicted' }, 'KV events', /are they its own\? .*events:/],
  ];
  for (const [changes, check, says] of cases) {
    const { findings } = await doctored(t, { ...WORKER, ...changes });
    const found = findings.filter(({ well, check: name }) => !well && name === check);
    assert.equal(found.length, 1, check);
    assert.match(found[0].says, says);
  }
  const { findings } = await doctored(t, WORKER);
  assert.ok(findings.every(({ check }) => check !== 'requests' && check !== 'streams'));
});

test('clocks that differ are told from events that come late no further than can be known', async (t) => {
  const { findings } = await doctored(t, { ...WORKER, feed: feedOf({ lagMs: 3_600_000 }) });
  const { says, well } = findings.find(({ check }) => check === 'KV feed') ?? assert.fail();
  assert.match(says, /3600 s old by its own clock, which is behind ours unless they come late/);
  assert.ok(well, 'nothing depends on it');
});

interface Doctored {
  findings: { about: string; check: string; well: boolean; says: string }[];
  /** Whether the verb ends with an error. */
  fails: boolean;
}

/** What the verb says of a worker's feed. */
async function examined(
  t: TestContext,
  feed: { complete: boolean; counts: Partial<Record<FeedCount, number>> },
) {
  const mode = feed.complete ? 'exact' : 'predicted';
  const { findings, fails } = await doctored(t, { ...WORKER, mode, feed: feedOf(feed) });
  const found = findings.find(({ check }) => check === 'KV feed');
  assert.ok(found !== undefined);
  return { ...found, fails };
}

function feedOf(changes: Omit<Partial<FeedReport>, 'counts'> & { counts?: object }): FeedReport {
  const counts = { ...new FeedAccount().counts, ...changes.counts };
  const plain = { complete: true, unfit: null, blocks: 10, lagMs: 41, queuedBytes: 0 };
  return { ...plain, ...changes, counts };
}

const WORKER = {
  id: 'w',
  about: {},
  healthy: true,
  fitness: 'fit',
  trouble: null,
  heldBack: false,
  mode: 'exact',
  confidence: { agreement: undefined, observations: 0, unreported: 0 },
  feed: null as FeedReport | null,
  engine: null,
};

/** What the verb says of a gateway that has one worker. */
async function doctored(
  t: TestContext,
  worker: object,
  missing: readonly object[] = [],
): Promise<Doctored> {
  const server = createServer((_, response) => {
    response.end(JSON.stringify({ policy: 'stator', workers: [worker], missing }));
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
  const { findings } = JSON.parse(report) as Pick<Doctored, 'findings'>;
  return { findings, fails };
}
