import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Receipt } from '../model/receipt.ts';
import { History } from './history.ts';

test('the last moments are kept, each with the sums and the mean of its own requests', () => {
  let wallMs = 1_000_500;
  const clock = { nowUs: () => 0, wallMs: () => wallMs, after: () => () => {} };
  const history = new History({ clock, bucketMs: 1000, bucketsMax: 3 });
  const note = (actual: Partial<Receipt['actual']>, promptTokens: number | null = 10) =>
    history.note({
      kind: 'request',
      receipt: receipt(actual, promptTokens),
      status: 200,
      itlUs: 1,
    });

  note({ ttftUs: 1000 });
  note({ ttftUs: 3000, cachedTokens: 8 });
  // Neither what failed nor what nobody counted bends the mean.
  note({ status: 'failed', ttftUs: 9_000_000 });
  note({ ttftUs: null, cachedTokens: null }, null);
  assert.deepEqual(history.moments(), [
    {
      atMs: 1_000_000,
      requests: 3,
      promptTokens: 20,
      cachedTokens: 8,
      outputTokens: 15,
      ttftMs: 2,
    },
  ]);

  for (const later of [1_000_999, 1_001_000, 1_004_700, 1_006_000]) {
    wallMs = later;
    note({ ttftUs: null });
  }
  assert.deepEqual(
    history.moments().map(({ atMs, requests, ttftMs }) => ({ atMs, requests, ttftMs })),
    [1_001_000, 1_004_000, 1_006_000].map((atMs) => ({ atMs, requests: 1, ttftMs: null })),
  );
});

function receipt(actual: Partial<Receipt['actual']>, promptTokens: number | null): Receipt {
  return {
    id: 'r0',
    request: 'x',
    at: '',
    wire: 'openai-chat',
    model: 'demo',
    tenant: 'default',
    session: null,
    thread: null,
    parent: null,
    knownBy: 'nothing',
    purpose: { kind: 'turn', by: 'nothing' },
    relation: 'begins',
    notes: [],
    policy: 'stator',
    promptTokens,
    normalised: [],
    worker: 'worker-1',
    attempts: [],
    predicted: null,
    actual: {
      status: 'done',
      cachedTokens: 0,
      outputTokens: 5,
      ttftUs: 1000,
      prefillUs: 900,
      e2eUs: 2000,
      error: null,
      ...actual,
    },
    prefetched: null,
    kvActions: [],
    regret: null,
  };
}
