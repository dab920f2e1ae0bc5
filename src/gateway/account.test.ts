import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RequestId } from '../model/ids.ts';
import { DEFAULT_TENANT } from './access.ts';
import { Account } from './account.ts';
import { identify } from './identify.ts';

test('no claim of an engine makes more tokens cached than its prompt had, nor fewer than none', () => {
  const claims: [number | undefined, number | undefined][] = [
    [1_000_000, 10],
    [-5, 0],
    [0, 0],
    [7, 7],
    [undefined, undefined],
  ];
  for (const [claimed, told] of claims) {
    const account = open();
    const usage = { promptTokens: 10, outputTokens: 2, cachedTokens: claimed };
    assert.equal(account.usageOf(usage).cachedTokens, told, `${claimed}`);
    account.ended(1, { status: 'done', usage });
    assert.equal(account.receipt.actual.cachedTokens, told ?? null);
  }
});

function open(): Account {
  const arrival = {
    ...{ id: 'r' as RequestId, tenant: DEFAULT_TENANT, model: 'm', thread: undefined },
    ...{ promptTokens: 10, hashes: new BigUint64Array(0), blockTokens: 16 },
    ...{ outputTokensMax: 5, priority: 0 },
  };
  return new Account({
    ...{ id: 'r', requestId: 'q', atIso: '', arrivedUs: 0, wire: 'openai-chat', policy: 'p' },
    ...{ who: { ...identify(DEFAULT_TENANT, {}, []), relation: 'begins' }, arrival },
    ...{ tokensKnown: true, normalised: [], notes: [] },
  });
}
