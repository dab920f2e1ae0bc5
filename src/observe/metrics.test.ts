import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RequestId, WorkerId } from '../model/ids.ts';
import type { Receipt } from '../model/receipt.ts';
import { Metrics } from './metrics.ts';

interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** The exposition format as a scraper reads it: anything else is refused. */
function scrape(text: string): { samples: Sample[]; types: Map<string, string> } {
  assert.ok(text.endsWith('\n'), 'the last line ends');
  const samples: Sample[] = [];
  const types = new Map<string, string>();
  for (const line of text.slice(0, -1).split('\n')) {
    const type = /^# TYPE ([a-z_:0-9]+) (counter|gauge|histogram)$/.exec(line);
    if (type !== null) {
      assert.ok(!types.has(type[1]), 'a type is told once');
      types.set(type[1], type[2]);
    } else if (!line.startsWith('# HELP ')) {
      const sample = /^([a-z_:0-9]+)(?:\{(.*)\})? (\S+)$/s.exec(line);
      assert.ok(sample !== null, `not a sample: ${line}`);
      const [, name, list = '', number] = sample;
      const labels: Record<string, string> = {};
      const rest = list.replace(/(\w+)="((?:[^"\\]|\\[\\"n])*)"(,|$)/g, (_all, key, value) => {
        labels[key] = value.replace(/\\(.)/g, (_: string, c: string) => (c === 'n' ? '\n' : c));
        return '';
      });
      assert.equal(rest, '', `labels that cannot be read: ${list}`);
      const value = Number(number);
      assert.ok(Number.isFinite(value), `${number} is no number`);
      samples.push({ name, labels, value });
    }
  }
  const keys = samples.map(({ name, labels }) => JSON.stringify([name, labels]));
  assert.equal(new Set(keys).size, keys.length, 'each series is told once');
  return { samples, types };
}

function sumOf(metrics: Metrics, name: string, labels: Record<string, string>): number {
  const { samples } = scrape(metrics.text());
  const found = samples.filter(
    (one) =>
      one.name === name && Object.entries(labels).every(([key, text]) => one.labels[key] === text),
  );
  return found.reduce((sum, { value }) => sum + value, 0);
}

test('any label value comes out of a scrape as it went in', () => {
  const label = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom('"', '\\', '\n', '\\n', '",model="x', '}', ' '),
  );
  fc.assert(
    fc.property(fc.array(label, { minLength: 1, maxLength: 8 }), (models) => {
      const metrics = new Metrics();
      for (const model of models) metrics.note(requestNote({ model }));
      for (const model of models) {
        const times = models.filter((other) => other === model).length;
        assert.equal(sumOf(metrics, 'stator_requests_total', { model }), times);
      }
    }),
    { numRuns: 60 },
  );
});

test('a histogram only grows towards its last bucket, which counts everything', () => {
  const metrics = new Metrics();
  for (const us of [0, 1, 999, 1000, 1100, 50_000, 3e8, 9e12]) {
    metrics.note(requestNote({ actual: { ttftUs: us } }));
  }
  const { samples, types } = scrape(metrics.text());
  assert.equal(types.get('stator_ttft_seconds'), 'histogram');
  const buckets = samples.filter(({ name }) => name === 'stator_ttft_seconds_bucket');
  const counts = buckets.map(({ value }) => value);
  assert.deepEqual(
    counts,
    counts.toSorted((a, b) => a - b),
  );
  assert.equal(buckets.at(-1)?.labels.le, '+Inf');
  assert.equal(counts.at(-1), 8);
  assert.equal(sumOf(metrics, 'stator_ttft_seconds_count', {}), 8);
  assert.equal(sumOf(metrics, 'stator_ttft_seconds_bucket', { le: '0.001' }), 4);
});

test('a prediction that was exact is below every bound', () => {
  const metrics = new Metrics();
  const predicted = { cachedTokens: 512, ttftUs: 1 };
  metrics.note(requestNote({ predicted, actual: { cachedTokens: 512 } }));
  metrics.note(requestNote({ predicted, actual: { cachedTokens: 528 } }));
  const bucket = 'stator_predicted_cached_tokens_error_bucket';
  assert.equal(sumOf(metrics, bucket, { le: '0' }), 1);
  assert.equal(sumOf(metrics, bucket, { le: '16' }), 2);
});

test('only finished requests count as saved work; refusals count by their reason', () => {
  const metrics = new Metrics();
  metrics.note(requestNote({ promptTokens: 100, actual: { cachedTokens: 64 } }));
  metrics.note(
    requestNote({ promptTokens: 900, actual: { status: 'failed', error: 'engine_lost' } }, 502),
  );
  metrics.note(
    requestNote({ promptTokens: 900, actual: { status: 'rejected', error: 'queue_full' } }, 503),
  );
  assert.equal(sumOf(metrics, 'stator_prompt_tokens_total', {}), 100);
  assert.equal(sumOf(metrics, 'stator_cached_tokens_total', {}), 64);
  assert.equal(sumOf(metrics, 'stator_prefill_tokens_saved_total', { tenant: 'default' }), 64);
  assert.equal(sumOf(metrics, 'stator_rejections_total', { reason: 'queue_full' }), 1);
  assert.equal(sumOf(metrics, 'stator_requests_total', { status: '502' }), 1);
});

test('an engine that does not tell its cached tokens is not taken for one that has none', () => {
  const metrics = new Metrics();
  const predicted = { cachedTokens: 512, ttftUs: 1 };
  metrics.note(requestNote({ predicted, actual: { cachedTokens: null } }));
  assert.equal(sumOf(metrics, 'stator_predicted_cached_tokens_error_count', {}), 0);
});

test('tenants that a client makes up do not make the page of figures grow without end', () => {
  const metrics = new Metrics();
  for (let i = 0; i < 5000; i++) {
    metrics.note(requestNote({ tenant: `tenant-${i}`, actual: { cachedTokens: 1 } }));
  }
  const name = 'stator_prefill_tokens_saved_total';
  const { samples } = scrape(metrics.text());
  assert.ok(samples.filter((one) => one.name === name).length <= 1001);
  assert.equal(sumOf(metrics, name, {}), 5000);
});

test('decisions are counted, nothing else is; what is gone is not shown as it was', () => {
  const metrics = new Metrics();
  const worker = 'worker-1' as WorkerId;
  const cancelled = { kind: 'cancelled', request: 'r' as RequestId } as const;
  metrics.note({ kind: 'kernel', atUs: 0, fact: cancelled, orders: [], tookUs: 5 });
  assert.equal(sumOf(metrics, 'stator_route_seconds_count', {}), 0);
  metrics.set('stator_worker_mode', { worker, mode: 'exact' }, 1);
  metrics.clear('stator_worker_mode');
  assert.equal(sumOf(metrics, 'stator_worker_mode', {}), 0);
});

test('tokens that rules kept reusable add up by rule, for answers that came to be', () => {
  const metrics = new Metrics();
  const normalised: Receipt['normalised'] = [
    { rule: 'billingBlock', savedTokens: 7 },
    { rule: 'textBlock', savedTokens: 2 },
  ];
  metrics.note(requestNote({ normalised }));
  metrics.note(requestNote({ normalised, actual: { cachedTokens: null } }));
  metrics.note(requestNote({ normalised, actual: { status: 'failed' } }, 502));
  const name = 'stator_normalised_tokens_total';
  assert.equal(sumOf(metrics, name, { rule: 'billingBlock' }), 14);
  assert.equal(sumOf(metrics, name, {}), 18);
});

interface Changes extends Partial<Omit<Receipt, 'actual'>> {
  actual?: Partial<Receipt['actual']>;
}

function requestNote({ actual, ...changes }: Changes = {}, status = 200) {
  const receipt: Receipt = {
    id: 'r0',
    request: 'x',
    at: '1970-01-01T00:00:00.000Z',
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
    promptTokens: 10,
    normalised: [],
    worker: 'worker-1',
    attempts: [],
    predicted: null,
    ...changes,
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
  return { kind: 'request', receipt, status, itlUs: 250 } as const;
}
