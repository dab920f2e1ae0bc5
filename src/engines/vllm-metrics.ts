/** What a vLLM server's /metrics say of its cache, its load and its start (vllm/v1/metrics/loggers.py). */
import type { EngineReport } from '../ports.ts';
import { type MetricSample, readMetrics } from '../wire/prometheus.ts';

const SLEEP_STATE = 'vllm:engine_sleep_state';

const NAMES = [
  SLEEP_STATE,
  'vllm:cache_config_info',
  'vllm:num_requests_running',
  'vllm:num_requests_waiting',
  'vllm:kv_cache_usage_perc',
  'vllm:prompt_tokens_',
  'vllm:prefix_cache_',
  'vllm:generation_tokens_',
  'vllm:iteration_tokens_total_count',
  'process_start_time_seconds',
];

export function readVllmMetrics(text: string): MetricSample[] {
  return readMetrics(text, NAMES);
}

export interface VllmCache {
  /** Of one block as prompts are hashed. */
  blockTokens: number;
  /** Of all ranks together. */
  blocks: number;
  tokens: number;
  /** Data-parallel ranks. */
  ranks: number;
  prefixCaching: boolean;
}

/** Undefined where it does not say. */
export function cacheOf(samples: readonly MetricSample[]): VllmCache | undefined {
  const infos = samples.filter(({ name }) => name === 'vllm:cache_config_info');
  if (infos.length === 0) return undefined;
  const [{ labels }] = infos;
  const blockTokens = countOf(labels.hash_block_size) ?? countOf(labels.block_size);
  if (blockTokens === undefined) return undefined;
  let blocks = 0;
  let tokens = 0;
  for (const info of infos) {
    const own = countOf(info.labels.num_gpu_blocks) ?? 0;
    blocks += own;
    // Models that keep windows or states beside KV hold fewer tokens than their blocks would.
    const whole = own * (countOf(info.labels.block_size) ?? blockTokens);
    tokens += Math.min(whole, countOf(info.labels.kv_cache_size_tokens) ?? whole);
  }
  const prefixCaching = labels.enable_prefix_caching !== 'False';
  return { blockTokens, blocks, tokens, ranks: infos.length, prefixCaching };
}

/** When its process began; undefined where several processes answer for it. */
export function startOf(samples: readonly MetricSample[]): number | undefined {
  return samples.find(({ name }) => name === 'process_start_time_seconds')?.value;
}

/** Older ones say nothing of it. */
export function tellsSleep(samples: readonly MetricSample[]): boolean {
  return samples.some(({ name }) => name === SLEEP_STATE);
}

/** Also where nothing is said of sleeping. */
export function isAwake(samples: readonly MetricSample[]): boolean {
  return !samples.some(
    ({ name, labels, value }) =>
      name === SLEEP_STATE && labels.sleep_state === 'awake' && value === 0,
  );
}

/** What it holds for others than those who run it does not say. */
export function loadOf(samples: readonly MetricSample[]): EngineReport {
  const sum = (...names: string[]) =>
    samples.reduce((all, { name, value }) => (names.includes(name) ? all + value : all), 0);
  return {
    running: sum('vllm:num_requests_running'),
    waiting: sum('vllm:num_requests_waiting'),
    countsAll: true,
    slots: [],
    cachedBlocks: Math.round(sum('vllm:kv_cache_usage_perc') * (cacheOf(samples)?.blocks ?? 0)),
    hostBlocks: 0,
    diskBlocks: 0,
    diskBytes: 0,
    stepsTotal: sum('vllm:iteration_tokens_total_count'),
    engineUsTotal: 0,
    promptTokensTotal: sum('vllm:prompt_tokens_total'),
    cachedTokensTotal: sum('vllm:prefix_cache_hits_total'),
    outputTokensTotal: sum('vllm:generation_tokens_total'),
  };
}

function countOf(label: string | undefined): number | undefined {
  if (label === undefined || !/^\d+(\.0)?$/.test(label)) return undefined;
  const count = Number(label);
  return count > 0 ? count : undefined;
}
