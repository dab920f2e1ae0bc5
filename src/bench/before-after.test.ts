import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Comparison, DEFINITIONS } from '../model/comparison.ts';
import { beforeAfter, beforeAfterClaim } from './before-after.ts';
import type { CallResult } from './drive.ts';
import { figuresOf, policyReport } from './report.ts';
import { reportPage } from './report-page.ts';
import { reportText } from './report-text.ts';

const SLO = { ttftMs: 100, itlMs: 10 };

test('what changed: in total and per session, at so many workers each', () => {
  const report = comparison(
    contender('before', { workers: 1, endMs: 4000, cachedTokens: 20 }),
    contender('after', { workers: 4, endMs: 500, cachedTokens: 80 }),
  );
  const rows = new Map(beforeAfter(report)?.map(([name, ...cells]) => [name, cells]));
  assert.deepEqual(rows.get('prompt tokens computed'), ['160', '40', '−75.0 %']);
  // One worker for 4 s, four of them for half a second; two sessions each.
  assert.deepEqual(rows.get('worker-seconds'), ['4.0', '2.0', '−50.0 %']);
  assert.deepEqual([...(beforeAfter(report) ?? [])][8], [
    '… per session',
    '2.00',
    '1.00',
    '−50.0 %',
  ]);
  assert.match(beforeAfterClaim(report) ?? '', /160 before, 40 after \(−75\.0 %\)/);
  assert.match(reportText(report), /^ +before +after +change\n/);
});

test('what a server does not tell is not made up, in text or page', () => {
  const report = comparison(
    contender('before', { workers: 1, endMs: 1000, cachedTokens: undefined }),
    contender('after', { workers: 1, endMs: 1000, cachedTokens: 80 }),
  );
  const [, computed] = beforeAfter(report) ?? [];
  assert.deepEqual(computed.slice(1), ['not reported', '40', '–']);
  assert.match(beforeAfterClaim(report) ?? '', /computed: not reported before, 40 after;/);
  assert.match(reportText(report), /before .* 200 +not reported +not reported/);
  const page = reportPage(report, {
    ...{ title: 'a test', command: 'stator compare', version: '1' },
    pricePerHour: undefined,
  });
  assert.match(page, /<td>before<\/td>.*<td>not reported<\/td><td>not reported<\/td>/);
});

test('policies of one gateway are no before and after', () => {
  const report = comparison(contender('random', { workers: 1, endMs: 1, cachedTokens: 0 }));
  assert.equal(beforeAfter(report), undefined);
  assert.equal(beforeAfterClaim(report), undefined);
});

function contender(
  policy: string,
  { workers, endMs, cachedTokens }: { workers: number; endMs: number; cachedTokens?: number },
) {
  const results = ['a', 'b'].map(
    (session): CallResult => ({
      ...{ session, worker: 'w', refused: false, sentMs: 0, firstMs: 10, endMs },
      ...{ promptTokens: 100, cachedTokens, outputTokens: 1, outputTokensMax: 1 },
      error: undefined,
    }),
  );
  const figures = figuresOf(results, { cpuS: null, slo: SLO });
  return policyReport({ policy, view: '', workers }, [{ seed: 1, figures, results }]);
}

function comparison(...policies: Comparison['policies']): Comparison {
  return {
    ...{ trace: 'a test', workers: 1, engine: 'a test', profile: null, slo: SLO, seeds: [1] },
    ...{ wallS: 1, settings: {}, definitions: DEFINITIONS, policies, notes: [] },
  };
}
