import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainJob } from '../../test/plain-job.ts';
import { GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import type { Job } from '../ports.ts';
import { RequestMetrics } from './request-metrics.ts';

const LABELS = 'model_name="m"';

test('times are those of the tokens: two in one part count twice, at half the gap', async () => {
  const clock = { ms: 0 };
  const metrics = new RequestMetrics(() => clock.ms);
  await drain(
    metrics.watch(
      job({ outputTokensMax: 50 }),
      said(clock, [
        [300, text(1)],
        [40, text(1)],
        // Half a character was held back: this part stands for two tokens.
        [80, text(2)],
        [0, done(4)],
      ]),
    ),
  );
  const value = reader(metrics);
  assert.equal(value('time_to_first_token_seconds_sum'), 0.3);
  assert.equal(value('time_to_first_token_seconds_bucket', 'le="0.25"'), 0);
  assert.equal(value('time_to_first_token_seconds_bucket', 'le="0.5"'), 1);
  assert.equal(value('inter_token_latency_seconds_count'), 3);
  assert.ok(Math.abs(value('inter_token_latency_seconds_sum') - 0.12) < 1e-9);
  assert.ok(Math.abs(value('request_time_per_output_token_seconds_sum') - 0.04) < 1e-9);
  assert.ok(Math.abs(value('e2e_request_latency_seconds_sum') - 0.42) < 1e-9);
  assert.equal(value('request_prefill_kv_computed_tokens_sum'), 60);
  assert.equal(value('request_params_max_tokens_sum'), 50);
  assert.equal(value('request_success_total', 'finished_reason="stop"'), 1);
});

test('each request ends in one reason, however it ends; buckets only grow', async () => {
  const clock = { ms: 0 };
  const metrics = new RequestMetrics(() => clock.ms);
  const run = (parts: [number, Part][]) => metrics.watch(job({}), said(clock, parts));
  await drain(run([[1, done(0, 'length')]]));
  await drain(run([[1, { kind: 'error', error: new GatewayError('engine_failed', 'It broke.') }]]));
  for await (const _ of run([
    [1, text(1)],
    [1, text(1)],
  ]))
    break;
  const throwing = metrics.watch(
    job({}),
    // biome-ignore lint/correctness/useYield: it fails before it says anything.
    (async function* (): AsyncGenerator<Part> {
      throw new Error('lost');
    })(),
  );
  await assert.rejects(drain(throwing));
  const value = reader(metrics);
  const counts = ['stop', 'length', 'abort', 'error'].map((reason) =>
    value('request_success_total', `finished_reason="${reason}"`),
  );
  assert.deepEqual(counts, [0, 1, 1, 2]);
  assert.equal(value('e2e_request_latency_seconds_count'), 1);
  let before = 0;
  let name = '';
  for (const [, next, count] of metrics.text(LABELS).matchAll(/^(\S+)_bucket\{.*\} (\d+)$/gm)) {
    if (next === name) assert.ok(Number(count) >= before, `${name} shrinks`);
    name = next;
    before = Number(count);
  }
});

/** Each part after so many milliseconds. */
async function* said(clock: { ms: number }, parts: [number, Part][]): AsyncGenerator<Part> {
  for (const [ms, part] of parts) {
    clock.ms += ms;
    yield part;
  }
}

function text(tokens: number): Part {
  return { kind: 'text', text: 'a', tokens };
}

function done(outputTokens: number, kind: 'stop' | 'length' = 'stop'): Part {
  const usage = { promptTokens: 100, outputTokens, cachedTokens: 40 };
  return { kind: 'done', finish: { kind }, usage };
}

async function drain(parts: AsyncIterable<Part>): Promise<void> {
  for await (const _ of parts);
}

function reader(metrics: RequestMetrics): (name: string, label?: string) => number {
  const lines = metrics.text(LABELS).split('\n');
  return (name, label) => {
    const labels = label === undefined ? LABELS : `${LABELS},${label}`;
    const found = lines.filter((line) => line.startsWith(`vllm:${name}{${labels}} `));
    assert.equal(found.length, 1, name);
    return Number(found[0].split(' ').at(-1));
  };
}

function job(given: Partial<Job>): Job {
  return plainJob({
    prompt: { kind: 'text', text: '' },
    ...given,
  });
}
