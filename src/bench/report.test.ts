import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Comparison, DEFINITIONS } from '../model/comparison.ts';
import type { CallResult } from './drive.ts';
import { figuresOf, policyReport } from './report.ts';
import { reportPage } from './report-page.ts';
import { reportText } from './report-text.ts';

const SLO = { ttftMs: 100, itlMs: 10 };

test('figures follow from calls as the definitions say', () => {
  const figures = figuresOf(
    [
      call({ session: 'a', sentMs: 0, firstMs: 50, endMs: 90, outputTokens: 5 }),
      call({ session: 'a', sentMs: 100, firstMs: 300, endMs: 340, outputTokens: 5 }),
      call({ session: 'b', sentMs: 0, firstMs: 50, endMs: 150, outputTokens: 5 }),
      call({ session: 'b', sentMs: 200, error: 'HTTP 429', refused: true, endMs: 210 }),
      call({ session: 'c', sentMs: 300, error: 'the stream broke off', endMs: 2000 }),
    ],
    { cpuS: 1.5, slo: SLO },
  );
  assert.equal(figures.requests, 5);
  assert.equal(figures.failed, 1);
  assert.equal(figures.rejected, 1);
  assert.equal(figures.wallS, 2);
  assert.equal(figures.requestsPerS, 1.5);
  // The second waited too long for its first token, the third too long between tokens.
  assert.equal(figures.goodputPerS, 0.5);
  assert.equal(figures.sessionsPerHour, 3600);
  assert.equal(figures.prefillTokens, 3 * 60);
  assert.equal(figures.hitRatio, 0.4);
  assert.equal(figures.ttftMs.mean, 100);
  assert.equal(figures.itlMs.p99, 25);
});

test('nothing answered is no division by nothing', () => {
  const figures = figuresOf([call({ error: 'refused', refused: true })], { cpuS: null, slo: SLO });
  for (const value of [figures.requestsPerS, figures.hitRatio, figures.ttftMs.p99])
    assert.equal(value, 0);
  const report = policyReport({ policy: 'stator', view: 'price' }, [
    { seed: 1, figures, results: [call({ error: 'refused', refused: true })] },
  ]);
  assert.ok(!JSON.stringify(report).includes('NaN'));
  assert.ok(!reportPage(comparison([report]), PAGE).includes('NaN'));
});

test('page and text name what is claimed, and let no name break out of its place', () => {
  const fast = runOf(1, 1000);
  const slow = runOf(1, 3000);
  const report = comparison([
    policyReport({ policy: 'random', view: 'load' }, [slow]),
    policyReport({ policy: 'stator', view: 'price' }, [fast]),
  ]);
  const hostile = { ...report, trace: '<script>alert(1)</script>' };
  const page = reportPage(hostile, { ...PAGE, pricePerHour: 2 });
  assert.ok(!page.includes('<script'));
  assert.match(page, /3\.00 × the sessions per hour of random routing/);
  assert.match(page, /money per session at 2 an hour/);
  assert.ok(!/(src|href)=/.test(page), 'nothing is fetched');
  assert.match(reportText(report), /stator ÷ +sessions\/h[\s\S]*random +3\.000/);
});

const PAGE = { title: 'a test', command: 'stator compare', version: '1', pricePerHour: undefined };

function comparison(policies: Comparison['policies']): Comparison {
  return {
    trace: 'a test',
    workers: 1,
    engine: 'sim',
    profile: null,
    slo: SLO,
    seeds: [1],
    wallS: 1,
    settings: {},
    definitions: DEFINITIONS,
    policies,
    notes: [],
  };
}

function runOf(seed: number, endMs: number) {
  const results = [call({ sentMs: 0, firstMs: 10, endMs })];
  return { seed, results, figures: figuresOf(results, { cpuS: 0, slo: SLO }) };
}

function call(changes: Partial<CallResult>): CallResult {
  return {
    session: 's',
    worker: 'w1',
    refused: false,
    sentMs: 0,
    firstMs: undefined,
    endMs: 10,
    promptTokens: 100,
    cachedTokens: 40,
    outputTokens: 1,
    outputTokensMax: undefined,
    error: undefined,
    ...changes,
  };
}
