/**
 * Counters and histograms, written as Prometheus text. Names are CONTRACT's; label values come from
 * small closed sets (wires, models, statuses, tenants with a key), never from a request's content.
 */
import { Histogram } from '../base/histogram.ts';
import type { Fact } from '../model/kernel-io.ts';
import type { Note, Sink } from '../ports.ts';

const BOUNDS_S = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250,
];

const BOUNDS_TOKENS = [0, 16, 64, 256, 1024, 4096, 16_384, 65_536];

/** Some labels are a client's to choose (a tenant on loopback): what comes later is one series. */
const SERIES_MAX = 1000;

type Labels = Record<string, string>;

interface Family {
  kind: 'counter' | 'gauge' | 'histogram';
  help: string;
  bounds: readonly number[];
  values: Map<string, { labels: Labels; value: number; histogram: Histogram | undefined }>;
}

const FAMILIES: [name: string, kind: Family['kind'], help: string, bounds?: readonly number[]][] = [
  ['stator_requests_total', 'counter', 'Requests by wire, model and HTTP status.'],
  ['stator_ttft_seconds', 'histogram', 'First content part minus arrival at the gateway.'],
  ['stator_itl_seconds', 'histogram', '(end - first) / (output tokens - 1), one per request.'],
  ['stator_e2e_seconds', 'histogram', 'End minus arrival.'],
  ['stator_queue_seconds', 'histogram', 'Waiting in the gateway before placement.'],
  ['stator_prompt_tokens_total', 'counter', 'Prompt tokens of finished requests.'],
  ['stator_cached_tokens_total', 'counter', 'Of them, those the engine did not compute.'],
  ['stator_prefill_tokens_saved_total', 'counter', 'The same by tenant.'],
  [
    'stator_predicted_cached_tokens_error',
    'histogram',
    'Cached tokens, predicted minus reported, absolute.',
    BOUNDS_TOKENS,
  ],
  [
    'stator_normalised_tokens_total',
    'counter',
    'Prompt tokens that a rule kept reusable, estimated at four characters a token; rules overlap.',
  ],
  ['stator_kv_events_total', 'counter', 'What came of KV events, by kind.'],
  ['stator_kv_event_gaps_total', 'counter', 'Times batches of them were missing.'],
  ['stator_kv_event_lag_seconds', 'gauge', 'Age of the last batch when it was taken.'],
  ['stator_kv_moves_total', 'counter', 'Prefixes copied ahead of need, by result.'],
  ['stator_kv_moved_tokens_total', 'counter', 'Tokens whose KV that brought.'],
  ['stator_handoffs_total', 'counter', 'Prompts computed apart, by what came of it.'],
  ['stator_handed_over_tokens_total', 'counter', 'Tokens whose KV that brought.'],
  ['stator_kv_actions_total', 'counter', 'Wishes about KV, by what became of them.'],
  [
    'stator_speculative_prefills_total',
    'counter',
    'Next prompts that were foreseen, by what became of them.',
  ],
  [
    'stator_speculative_blocks_total',
    'counter',
    'KV blocks computed ahead, and those that were used or wasted.',
  ],
  ['stator_migrations_total', 'counter', 'Requests that went on elsewhere, by reason.'],
  ['stator_rejections_total', 'counter', 'Requests refused, by reason.'],
  ['stator_route_seconds', 'histogram', 'Time of one decision.'],
  ['stator_websockets', 'gauge', 'WebSockets that are open.'],
  ['stator_stored_conversations', 'gauge', 'Chains of responses that are stored.'],
  ['stator_stored_conversation_bytes', 'gauge', 'What they take.'],
  ['stator_open_batches', 'gauge', 'Batches that are not over.'],
  ['stator_stored_file_bytes', 'gauge', 'What files of clients and batches take.'],
  ['stator_active_sessions', 'gauge', 'Threads expected to come back.'],
  ['stator_gated_programs', 'gauge', 'Agents that wait for room in the caches.'],
  ['stator_worker_mode', 'gauge', '1 for the mode a worker is in.'],
  [
    'stator_worker_confidence',
    'gauge',
    'Share of predicted cached tokens that its engine confirmed, lately.',
  ],
  ['stator_regret_seconds_total', 'counter', 'What better places would have saved.'],
  ['stator_policy_hit_ratio', 'gauge', 'Of the last day, by one model for all.'],
  ['stator_policy_ttft_seconds', 'gauge', 'The same: predicted mean.'],
  ['stator_policy_regret_seconds', 'gauge', 'The same: regret.'],
];

/** `moved`: its worker was to be freed; `lost` and `retried`: it failed, after its first token or before. */
function reasonOf({ why, saidTokens = 0 }: Extract<Fact, { kind: 'failed' }>): string {
  if (why === 'moved') return 'moved';
  return saidTokens > 0 ? 'lost' : 'retried';
}

export class Metrics implements Sink {
  readonly #families = new Map<string, Family>();

  constructor() {
    for (const [name, kind, help, bounds = BOUNDS_S] of FAMILIES) {
      this.#families.set(name, { kind, help, bounds, values: new Map() });
    }
  }

  note(note: Note): void {
    switch (note.kind) {
      case 'request':
        return this.#request(note);
      case 'kernel':
        if (note.fact.kind === 'arrived')
          this.observe('stator_route_seconds', {}, note.tookUs / 1e6);
        if (note.fact.kind === 'replicated') {
          this.add('stator_kv_moves_total', { result: note.fact.ok ? 'moved' : 'failed' });
          this.add('stator_kv_moved_tokens_total', {}, note.fact.tokens);
        }
        if (note.fact.kind === 'failed' && note.fact.retry) {
          this.add('stator_migrations_total', { reason: reasonOf(note.fact) });
        }
        return;
      case 'handedOver':
        this.add('stator_handoffs_total', { result: note.tokens > 0 ? 'brought' : 'failed' });
        this.add('stator_handed_over_tokens_total', {}, note.tokens);
        return;
      case 'kvAction':
        return this.add('stator_kv_actions_total', {
          action: note.wish,
          answer: note.answer ?? 'unreached',
        });
      case 'foreseen':
        this.add('stator_speculative_prefills_total', { result: note.came });
        this.add('stator_speculative_blocks_total', { result: 'computed' }, note.blocks);
        return;
      case 'prefetched': {
        const { blocks, usedBlocks } = note;
        this.add('stator_speculative_blocks_total', { result: 'used' }, usedBlocks);
        this.add('stator_speculative_blocks_total', { result: 'wasted' }, blocks - usedBlocks);
        return;
      }
      case 'asked':
      case 'feedLost':
      case 'feedSynced':
      case 'workerUp':
      case 'workerDown':
      case 'workerHealth':
      case 'warning':
        return;
    }
  }

  add(name: string, labels: Labels, value = 1): void {
    this.#series(name, labels).value += value;
  }

  set(name: string, labels: Labels, value: number): void {
    this.#series(name, labels).value = value;
  }

  observe(name: string, labels: Labels, value: number): void {
    const series = this.#series(name, labels);
    series.histogram ??= new Histogram();
    series.histogram.record(value);
  }

  /** Forgets the series of a gauge, so that what is gone is not shown as it was. */
  clear(name: string): void {
    this.#families.get(name)?.values.clear();
  }

  text(): string {
    const lines: string[] = [];
    for (const [name, family] of this.#families) {
      lines.push(`# HELP ${name} ${family.help}`, `# TYPE ${name} ${family.kind}`);
      for (const { labels, value, histogram } of family.values.values()) {
        if (histogram === undefined) lines.push(`${name}${labelText(labels)} ${value}`);
        else lines.push(...histogramLines(name, labels, histogram, family.bounds));
      }
    }
    return `${lines.join('\n')}\n`;
  }

  #request({ receipt, status, itlUs }: Extract<Note, { kind: 'request' }>): void {
    const { wire, model, actual, predicted, attempts } = receipt;
    this.add('stator_requests_total', { wire, model, status: String(status) });
    if (actual.status === 'rejected') {
      this.add('stator_rejections_total', { reason: actual.error ?? 'unknown' });
    }
    const queuedUs = attempts[0]?.queuedUs;
    if (queuedUs !== undefined)
      this.observe('stator_queue_seconds', { class: 'default' }, queuedUs / 1e6);
    if (actual.ttftUs !== null) this.observe('stator_ttft_seconds', { model }, actual.ttftUs / 1e6);
    if (itlUs !== undefined) this.observe('stator_itl_seconds', { model }, itlUs / 1e6);
    if (actual.status !== 'done') return;
    if (actual.e2eUs !== null) this.observe('stator_e2e_seconds', { model }, actual.e2eUs / 1e6);
    this.add('stator_prompt_tokens_total', { model }, receipt.promptTokens ?? 0);
    for (const { rule, savedTokens } of receipt.normalised) {
      this.add('stator_normalised_tokens_total', { rule }, savedTokens);
    }
    if (actual.cachedTokens === null) return;
    this.add('stator_cached_tokens_total', { model }, actual.cachedTokens);
    this.add('stator_prefill_tokens_saved_total', { tenant: receipt.tenant }, actual.cachedTokens);
    if (predicted === null) return;
    const error = Math.abs(predicted.cachedTokens - actual.cachedTokens);
    const worker = receipt.worker ?? 'none';
    this.observe('stator_predicted_cached_tokens_error', { worker }, error);
    if (receipt.regret === null) return;
    this.add('stator_regret_seconds_total', { policy: receipt.policy }, receipt.regret.us / 1e6);
  }

  #series(name: string, labels: Labels) {
    const family = this.#families.get(name);
    if (family === undefined) throw new Error(`the metric ${name} was not declared`);
    const known = family.values.get(labelText(labels));
    if (known !== undefined) return known;
    const full = family.values.size >= SERIES_MAX;
    const kept = full
      ? Object.fromEntries(Object.keys(labels).map((name) => [name, 'other']))
      : labels;
    const key = labelText(kept);
    const series = family.values.get(key) ?? { labels: kept, value: 0, histogram: undefined };
    family.values.set(key, series);
    return series;
  }
}

function histogramLines(
  name: string,
  labels: Labels,
  histogram: Histogram,
  bounds: readonly number[],
): string[] {
  const lines = bounds.map((bound) => {
    const text = labelText({ ...labels, le: String(bound) });
    return `${name}_bucket${text} ${histogram.countUpTo(bound)}`;
  });
  lines.push(`${name}_bucket${labelText({ ...labels, le: '+Inf' })} ${histogram.count}`);
  lines.push(`${name}_sum${labelText(labels)} ${histogram.sum}`);
  lines.push(`${name}_count${labelText(labels)} ${histogram.count}`);
  return lines;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => {
    const escaped = value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
    return `${name}="${escaped}"`;
  });
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}
