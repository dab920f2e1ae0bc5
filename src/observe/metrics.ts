/**
 * Counters and histograms, written as Prometheus text. Names are CONTRACT's; label values come from
 * small closed sets (wires, models, statuses, tenants with a key), never from a request's content.
 */
import { Histogram } from '../base/histogram.ts';
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

export class Metrics implements Sink {
  readonly #families = new Map<string, Family>();

  constructor() {
    this.#declare('stator_requests_total', 'counter', 'Requests by wire, model and HTTP status.');
    this.#declare(
      'stator_ttft_seconds',
      'histogram',
      'First content part minus arrival at the gateway.',
    );
    this.#declare(
      'stator_itl_seconds',
      'histogram',
      '(end - first) / (output tokens - 1), one per request.',
    );
    this.#declare('stator_e2e_seconds', 'histogram', 'End minus arrival.');
    this.#declare('stator_queue_seconds', 'histogram', 'Waiting in the gateway before placement.');
    this.#declare('stator_prompt_tokens_total', 'counter', 'Prompt tokens of finished requests.');
    this.#declare(
      'stator_cached_tokens_total',
      'counter',
      'Of them, those the engine did not compute.',
    );
    this.#declare('stator_prefill_tokens_saved_total', 'counter', 'The same by tenant.');
    this.#declare(
      'stator_predicted_cached_tokens_error',
      'histogram',
      'Cached tokens, predicted minus reported, absolute.',
      BOUNDS_TOKENS,
    );
    this.#declare(
      'stator_normalised_tokens_total',
      'counter',
      'Prompt tokens that a rule kept reusable, estimated at four characters a token; rules overlap.',
    );
    this.#declare('stator_kv_events_total', 'counter', 'What came of KV events, by kind.');
    this.#declare('stator_kv_event_gaps_total', 'counter', 'Times batches of them were missing.');
    this.#declare(
      'stator_kv_event_lag_seconds',
      'gauge',
      'Age of the last batch when it was taken.',
    );
    this.#declare('stator_kv_moves_total', 'counter', 'Prefixes copied ahead of need, by result.');
    this.#declare('stator_kv_moved_tokens_total', 'counter', 'Tokens whose KV that brought.');
    this.#declare('stator_rejections_total', 'counter', 'Requests refused, by reason.');
    this.#declare('stator_route_seconds', 'histogram', 'Time of one decision.');
    this.#declare('stator_websockets', 'gauge', 'WebSockets that are open.');
    this.#declare('stator_stored_conversations', 'gauge', 'Chains of responses that are stored.');
    this.#declare('stator_stored_conversation_bytes', 'gauge', 'What they take.');
    this.#declare('stator_open_batches', 'gauge', 'Batches that are not over.');
    this.#declare('stator_stored_file_bytes', 'gauge', 'What files of clients and batches take.');
    this.#declare('stator_active_sessions', 'gauge', 'Threads expected to come back.');
    this.#declare('stator_gated_programs', 'gauge', 'Agents that wait for room in the caches.');
    this.#declare('stator_worker_mode', 'gauge', '1 for the mode a worker is in.');
    this.#declare(
      'stator_worker_confidence',
      'gauge',
      'Share of predicted cached tokens that its engine confirmed, lately.',
    );
    this.#declare('stator_regret_seconds_total', 'counter', 'What better places would have saved.');
    this.#declare('stator_policy_hit_ratio', 'gauge', 'Of the last day, by one model for all.');
    this.#declare('stator_policy_ttft_seconds', 'gauge', 'The same: predicted mean.');
    this.#declare('stator_policy_regret_seconds', 'gauge', 'The same: regret.');
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
        return;
      case 'asked':
      case 'feedLost':
      case 'feedSynced':
      case 'workerUp':
      case 'workerDown':
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

  #declare(name: string, kind: Family['kind'], help: string, bounds = BOUNDS_S): void {
    this.#families.set(name, { kind, help, bounds, values: new Map() });
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
