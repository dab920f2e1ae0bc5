/** A worker's metrics, with vLLM's names for what vLLM has. */
import type { WorkerCard } from '../model/worker-card.ts';
import type { EngineReport } from '../ports.ts';

export function workerMetrics(card: WorkerCard, report: EngineReport): string {
  const label = `{model_name="${card.model.name.replace(/["\\\n]/g, '_')}"}`;
  const kept = card.cache.kvTokens / card.cache.blockTokens;
  const cpu = process.cpuUsage();
  const lines: [string, 'gauge' | 'counter', number][] = [
    ['vllm:num_requests_running', 'gauge', report.running],
    ['vllm:num_requests_waiting', 'gauge', report.waiting],
    ['vllm:kv_cache_usage_perc', 'gauge', kept === 0 ? 0 : report.cachedBlocks / kept],
    ['vllm:prompt_tokens_total', 'counter', report.promptTokensTotal],
    ['vllm:generation_tokens_total', 'counter', report.outputTokensTotal],
    ['vllm:prefix_cache_queries_total', 'counter', report.promptTokensTotal],
    ['vllm:prefix_cache_hits_total', 'counter', report.cachedTokensTotal],
    ['stator_engine_steps_total', 'counter', report.stepsTotal],
    ['stator_engine_seconds_total', 'counter', report.engineUsTotal / 1e6],
    ['stator_kv_host_blocks', 'gauge', report.hostBlocks],
    ['stator_kv_disk_blocks', 'gauge', report.diskBlocks],
    ['stator_kv_disk_bytes', 'gauge', report.diskBytes],
    ['process_cpu_seconds_total', 'counter', (cpu.user + cpu.system) / 1e6],
    ['process_resident_memory_bytes', 'gauge', process.memoryUsage.rss()],
  ];
  return lines
    .map(([name, kind, value]) => `# TYPE ${name} ${kind}\n${name}${label} ${value}\n`)
    .join('');
}
