/**
 * What requests took, in the histograms and counters a vLLM server has (names, labels and bounds as in
 * vllm/v1/metrics/loggers.py), so that whoever scrapes or routes by those reads ours as well.
 */
import { must } from '../base/assert.ts';
import { Histogram } from '../base/histogram.ts';
import type { Finish, Part, Usage } from '../model/part.ts';
import type { Job } from '../ports.ts';

const TTFT_S = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
  160, 640, 2560,
];
const TOKEN_S = [
  0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];
const REQUEST_S = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
];
const TOKENS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000,
];
const CHOICES = [1, 2, 5, 10, 20];

/** Name → upper bounds of its buckets. */
const HISTOGRAMS = {
  time_to_first_token_seconds: TTFT_S,
  inter_token_latency_seconds: TOKEN_S,
  request_time_per_output_token_seconds: TOKEN_S,
  e2e_request_latency_seconds: REQUEST_S,
  request_decode_time_seconds: REQUEST_S,
  request_prompt_tokens: TOKENS,
  request_generation_tokens: TOKENS,
  request_prefill_kv_computed_tokens: TOKENS,
  request_params_max_tokens: TOKENS,
  request_params_n: CHOICES,
} as const;
type Name = keyof typeof HISTOGRAMS;

const FINISHED = ['stop', 'length', 'abort', 'error'] as const;
type Finished = (typeof FINISHED)[number];

export class RequestMetrics {
  readonly #nowMs: () => number;
  readonly #histograms = new Map<Name, Histogram>();
  readonly #finished = new Map<Finished, number>(FINISHED.map((reason) => [reason, 0]));

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    for (const name of names()) this.#histograms.set(name, new Histogram());
  }

  /** The same parts; who stops reading before the end counts as `abort`. */
  async *watch(job: Job, parts: AsyncIterable<Part>): AsyncIterable<Part> {
    const request = new Watched(this.#nowMs());
    let finished: Finished = 'abort';
    try {
      for await (const part of parts) {
        finished = this.#heard(request, part) ?? finished;
        yield part;
      }
    } catch (error) {
      finished = 'error';
      throw error;
    } finally {
      this.#ended(job, request, finished);
    }
  }

  /** As Prometheus reads it. `labels` without braces. */
  text(labels: string): string {
    const lines: string[] = [];
    for (const [name, histogram] of this.#histograms) {
      const full = `vllm:${name}`;
      lines.push(`# TYPE ${full} histogram`);
      for (const bound of HISTOGRAMS[name]) {
        lines.push(`${full}_bucket{${labels},le="${bound}"} ${histogram.countUpTo(bound)}`);
      }
      lines.push(`${full}_bucket{${labels},le="+Inf"} ${histogram.count}`);
      lines.push(`${full}_sum{${labels}} ${histogram.sum}`);
      lines.push(`${full}_count{${labels}} ${histogram.count}`);
    }
    lines.push('# TYPE vllm:request_success_total counter');
    for (const [reason, count] of this.#finished) {
      lines.push(`vllm:request_success_total{${labels},finished_reason="${reason}"} ${count}`);
    }
    return `${lines.join('\n')}\n`;
  }

  #heard(request: Watched, part: Part): Finished | undefined {
    if (part.kind === 'error') return 'error';
    if (part.kind === 'done') {
      request.usage = part.usage;
      return finishedBy(part.finish);
    }
    const nowMs = this.#nowMs();
    if (request.lastMs === undefined) {
      request.firstMs = nowMs;
      this.#record('time_to_first_token_seconds', (nowMs - request.startMs) / 1000);
    } else if ('tokens' in part && part.tokens > 0) {
      const each = (nowMs - request.lastMs) / 1000 / part.tokens;
      for (let i = 0; i < part.tokens; i++) this.#record('inter_token_latency_seconds', each);
    } else return undefined;
    request.lastMs = nowMs;
    return undefined;
  }

  #ended(job: Job, request: Watched, finished: Finished): void {
    this.#finished.set(finished, must(this.#finished.get(finished), 'all reasons are known') + 1);
    const { usage, startMs, firstMs, lastMs } = request;
    if (usage === undefined) return;
    this.#record('e2e_request_latency_seconds', (this.#nowMs() - startMs) / 1000);
    this.#record('request_prompt_tokens', usage.promptTokens);
    this.#record('request_generation_tokens', usage.outputTokens);
    const computed = usage.promptTokens - (usage.cachedTokens ?? 0);
    this.#record('request_prefill_kv_computed_tokens', computed);
    this.#record('request_params_n', job.shape.choices);
    if (job.outputTokensMax !== undefined) {
      this.#record('request_params_max_tokens', job.outputTokensMax);
    }
    if (firstMs === undefined || lastMs === undefined) return;
    const decodeS = (lastMs - firstMs) / 1000;
    this.#record('request_decode_time_seconds', decodeS);
    if (usage.outputTokens < 2) return;
    this.#record('request_time_per_output_token_seconds', decodeS / (usage.outputTokens - 1));
  }

  #record(name: Name, value: number): void {
    must(this.#histograms.get(name), 'all histograms are made at start').record(value);
  }
}

/** One request while it runs. */
class Watched {
  readonly startMs: number;
  /** Of the first and of the last part that stood for tokens. */
  firstMs: number | undefined;
  lastMs: number | undefined;
  usage: Usage | undefined;

  constructor(startMs: number) {
    this.startMs = startMs;
  }
}

function finishedBy({ kind }: Finish): Finished {
  return kind === 'length' ? 'length' : 'stop';
}

function names(): Name[] {
  return Object.keys(HISTOGRAMS) as Name[];
}
