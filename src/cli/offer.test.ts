import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WorkerCard } from '../model/worker-card.ts';
import { CATALOGUE } from '../weights/catalogue.ts';
import { question } from './offer.ts';

test('the offer names model, size, licence and the time that this machine would need', () => {
  const demo = { model: { parameters: 10_000_000 }, pace: { perTokenUs: 100 } } as WorkerCard;
  const [entry] = CATALOGUE;
  const asked = question({ ...entry, parameters: 600_000_000 }, demo);
  assert.match(asked, /^Fetch qwen3-0\.6b \(609 MiB, Apache-2\.0: .*\)\?$/m);
  // 15,000 tokens × 100 µs × 60 times the weights
  assert.match(asked, /15,000 tokens would take about 90 s; .* \[y\/N\] $/m);
  assert.match(question({ ...entry, parameters: 6_000_000_000 }, demo), /about 15 minutes;/);
});
