/** A worker's metrics, with vLLM's names and labels for what vLLM has. */
import type { WorkerCard } from '../model/worker-card.ts';
import type { EngineReport } from '../ports.ts';
import type { RequestMetrics } from './request-metrics.ts';

export function workerMetrics(
  card: WorkerCard,
  report: EngineReport,
  requests: RequestMetrics,
): string {
  // vLLM numbers the engines of a server; here there is one.
  const labels = `engine="0",model_name="${card.model.name.replace(/["\\\n]/g, '_')}"`;
  const { slots, blockTokens, kvTokens } = card.cache;
  const cpu = process.cpuUsage();
  const lines: [string, 'gauge' | 'counter', number][] = [
    ['vllm:num_requests_running', 'gauge', report.running],
    ['vllm:num_requests_waiting', 'gauge', report.waiting],
    ['vllm:kv_cache_usage_perc', 'gauge', usage(report, slots * card.model.contextTokens)],
    ['vllm:prompt_tokens_total', 'counter', report.promptTokensTotal],
    ['vllm:prompt_tokens_cached_total', 'counter', report.cachedTokensTotal],
    ['vllm:generation_tokens_total', 'counter', report.outputTokensTotal],
    ['vllm:prefix_cache_queries_total', 'counter', report.promptTokensTotal],
    ['vllm:prefix_cache_hits_total', 'counter', report.cachedTokensTotal],
    ['stator_engine_steps_total', 'counter', report.stepsTotal],
    ['stator_engine_seconds_total', 'counter', report.engineUsTotal / 1e6],
    ['stator_kv_blocks', 'gauge', report.cachedBlocks],
    ['stator_kv_blocks_max', 'gauge', kvTokens / blockTokens],
    ['stator_kv_host_blocks', 'gauge', report.hostBlocks],
    ['stator_kv_disk_blocks', 'gauge', report.diskBlocks],
    ['stator_kv_disk_bytes', 'gauge', report.diskBytes],
    ['process_cpu_seconds_total', 'counter', (cpu.user + cpu.system) / 1e6],
    ['process_resident_memory_bytes', 'gauge', process.memoryUsage.rss()],
  ];
  const own = lines.map(
    ([name, kind, value]) => `# TYPE ${name} ${kind}\n${name}{${labels}} ${value}\n`,
  );
  return own.join('') + cacheConfig(card, labels) + requests.text(labels);
}

/** What running requests hold: in vLLM, too, cached blocks that nobody uses count as free. */
function usage({ slots }: EngineReport, tokensMax: number): number {
  const used = slots.reduce((sum, { busy, tokens }) => sum + (busy ? tokens : 0), 0);
  return tokensMax === 0 ? 0 : used / tokensMax;
}

/** Routers read the size of a block and how many there are from it. */
function cacheConfig({ cache }: WorkerCard, labels: string): string {
  const { blockTokens, kvTokens } = cache;
  const facts = `block_size="${blockTokens}",num_gpu_blocks="${kvTokens / blockTokens}",enable_prefix_caching="True"`;
  return `# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{${labels},${facts}} 1\n`;
}
