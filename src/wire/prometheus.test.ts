import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readMetrics } from './prometheus.ts';

test('samples are read with labels, exponents and timestamps; comments and histograms are left out', () => {
  const text = [
    '# HELP vllm:num_requests_running Running.',
    '# TYPE vllm:num_requests_running gauge',
    'vllm:num_requests_running{engine="0",model_name="a b"} 3.0',
    'vllm:e2e_seconds_bucket{le="0.1"} 4',
    'process_start_time_seconds 1.79543937009e+09 1700000000',
    'vllm:kv_cache_usage_perc NaN',
    'vllm:limit +Inf',
    'vllm:broken{engine="0" 3',
    '',
  ].join('\n');
  assert.deepEqual(
    readMetrics(text, ['vllm:num_', 'process_', 'vllm:kv_', 'vllm:limit', 'vllm:b']),
    [
      { name: 'vllm:num_requests_running', labels: { engine: '0', model_name: 'a b' }, value: 3 },
      { name: 'process_start_time_seconds', labels: {}, value: 1_795_439_370.09 },
      { name: 'vllm:limit', labels: {}, value: Infinity },
    ],
  );
});

test('any label value comes back as it was, whatever it holds', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 4 }),
      (values) => {
        const labels = values.map((value, i) => [`l${i}`, value.replace(/\r/g, '')] as const);
        const written = labels.map(([name, value]) => {
          const escaped = value.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n');
          return `${name}="${escaped}"`;
        });
        const [sample] = readMetrics(`m{${written.join(',')}} 1\n`, ['m']);
        assert.deepEqual(sample?.labels, Object.fromEntries(labels));
      },
    ),
  );
});
