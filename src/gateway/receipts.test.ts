import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TenantId } from '../model/ids.ts';
import type { Receipt } from '../model/receipt.ts';
import { Receipts } from './receipts.ts';
import { regretOf } from './regret.ts';

const CANDIDATE = {
  mode: 'exact' as const,
  matchedTokens: 100_000,
  hostTokens: 0,
  diskTokens: 0,
  liveTokens: 1_000_000,
  terms: { waiting: 123_456, prefill: 123_456, fetch: 0, decode: 1_234_567, delay: 0, crowding: 0 },
  totalUs: 2_000_000,
};

test('ten thousand receipts of 64 candidates stay within the bytes they were given', () => {
  const receiptsBytesMax = 4_000_000;
  const receipts = new Receipts({ receiptsMax: 10_000, receiptsBytesMax });
  const candidates = Array.from({ length: 64 }, (_, i) => ({ ...CANDIDATE, worker: `w${i}` }));
  for (let i = 0; i < 10_000; i++) {
    const attempts = [{ worker: 'w0', queuedUs: 0, eligible: 64, candidates }];
    const receipt = receiptOf(`r${i}`, { attempts });
    receipts.open(receipt);
    receipts.close(receipt);
  }
  const kept = receipts.list(callerOf('a'), { limit: 10_000, thread: null });
  assert.ok(kept.length > 100, `${kept.length} of 15 KB each fit`);
  assert.ok(kept.reduce((sum, one) => sum + JSON.stringify(one).length, 0) <= receiptsBytesMax);
  assert.equal(kept[0].id, 'r9999');
  assert.deepEqual(kept[0].attempts[0].candidates, candidates);
  assert.equal(receipts.find(callerOf('a'), 'r0'), undefined);
});

test('a running receipt is told as far as it is, and its end does not lose it', () => {
  const receipts = new Receipts({ receiptsMax: 10, receiptsBytesMax: 1e6 });
  const receipt = receiptOf('r0', {});
  receipts.open(receipt);
  receipt.actual.outputTokens = 7;
  assert.equal(receipts.find(callerOf('a'), 'r0')?.actual.outputTokens, 7);
  receipt.actual.status = 'done';
  receipts.close(receipt);
  assert.equal(receipts.find(callerOf('a'), 'r0')?.actual.status, 'done');
});

test('what was done about its KV later is on the receipt of its own tenant, a few times, within bounds', () => {
  const receiptsBytesMax = 20_000;
  const receipts = new Receipts({ receiptsMax: 1000, receiptsBytesMax });
  const wish = { wish: 'demote' as const, worker: 'w0', answer: 'accepted' as const };
  const action = { ...wish, tokens: 16, tookUs: 5 };
  for (let i = 0; i < 30; i++) {
    receipts.open(receiptOf(`r${i}`, {}));
    if (i === 29) receipts.acted({ tenant: 'a', id: 'r29' }, action);
    if (i < 29) receipts.close(receiptOf(`r${i}`, {}));
  }
  receipts.acted({ tenant: 'a', id: 'r20' }, action);
  receipts.acted({ tenant: 'b', id: 'r20' }, { ...action, worker: 'forged' });
  receipts.acted({ tenant: 'a', id: 'nobody' }, action);
  for (const id of ['r20', 'r29']) {
    assert.deepEqual(receipts.find(callerOf('a'), id)?.kvActions, [action], id);
  }
  for (let i = 0; i < 100; i++) {
    for (let r = 0; r < 29; r++) receipts.acted({ tenant: 'a', id: `r${r}` }, action);
  }
  const kept = receipts.list(callerOf('a'), { limit: 1000, thread: null });
  const closed = kept.filter(({ id }) => id !== 'r29');
  assert.ok(closed.length > 0 && closed.every(({ kvActions }) => kvActions.length <= 8));
  assert.ok(closed.reduce((sum, one) => sum + JSON.stringify(one).length, 0) <= receiptsBytesMax);
});

test('nobody finds or lists what is not theirs; lists are the newest of a plain list', () => {
  const step = fc.record({
    tenant: fc.constantFrom('a', 'b'),
    thread: fc.constantFrom('t', 'u', null),
    closes: fc.boolean(),
  });
  const asked = fc.record({
    limit: fc.integer({ min: 1, max: 9 }),
    thread: fc.constantFrom('t', null),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), asked, (steps, wanted) => {
      const receipts = new Receipts({ receiptsMax: 1000, receiptsBytesMax: 1e9 });
      const all = steps.map(({ tenant, thread }, i) => receiptOf(`r${i}`, { tenant, thread }));
      for (const [i, receipt] of all.entries()) {
        receipts.open(receipt);
        if (steps[i].closes) receipts.close(receipt);
      }
      const newest = (closes: boolean) =>
        all.filter((_, i) => steps[i].closes === closes).reverse();
      const expected = [...newest(false), ...newest(true)]
        .filter(({ tenant }) => tenant === 'a')
        .filter(({ thread }) => wanted.thread === null || thread === wanted.thread)
        .slice(0, wanted.limit);
      const listed = receipts.list(callerOf('a'), wanted);
      assert.deepEqual(
        listed.map(({ id }) => id),
        expected.map(({ id }) => id),
      );
      for (const { id, tenant } of all) {
        assert.equal(receipts.find(callerOf('a'), id) === undefined, tenant !== 'a');
      }
    }),
    { numRuns: 200 },
  );
});

test('regret is what the best other place would have saved, with what was really cached', () => {
  const chosen = place('a', { matched: 900, prefill: 1000 });
  const other = place('b', { matched: 0, prefill: 10_000 });
  const regret = (cachedTokens: number | null, candidates = [chosen, other]) => {
    const attempts = [{ worker: 'a', queuedUs: 0, eligible: candidates.length, candidates }];
    const receipt = receiptOf('r', { attempts, promptTokens: 1000 });
    return regretOf({ ...receipt, actual: { ...receipt.actual, cachedTokens } });
  };
  assert.deepEqual(regret(900), { us: 0, worker: null }, 'as predicted');
  // All of it was computed: ten times what was thought, as at the other place, which was idle.
  chosen.terms.waiting = 500;
  chosen.totalUs += 500;
  assert.deepEqual(regret(0), { us: 500, worker: 'b' });
  assert.equal(regret(null), null, 'the engine did not say');
  assert.equal(regret(0, [chosen]), null, 'there was no other place');
});

function place(worker: string, { matched, prefill }: { matched: number; prefill: number }) {
  const terms = { waiting: 0, prefill };
  return { ...CANDIDATE, worker, matchedTokens: matched, terms, totalUs: prefill };
}

function callerOf(tenant: string) {
  return { tenant: tenant as TenantId, admin: false };
}

function receiptOf(id: string, changes: Partial<Receipt>): Receipt {
  return {
    id,
    request: 'x',
    at: '1970-01-01T00:00:00.000Z',
    wire: 'openai-chat',
    model: 'demo',
    tenant: 'a',
    session: null,
    thread: null,
    parent: null,
    knownBy: 'nothing',
    purpose: { kind: 'turn', by: 'nothing' },
    relation: 'begins',
    notes: [],
    policy: 'stator',
    promptTokens: 10,
    normalised: [],
    worker: 'w0',
    attempts: [],
    predicted: null,
    actual: {
      status: 'running',
      cachedTokens: null,
      outputTokens: 0,
      ttftUs: null,
      prefillUs: null,
      e2eUs: null,
      error: null,
    },
    prefetched: null,
    kvActions: [],
    regret: null,
    ...changes,
  };
}
