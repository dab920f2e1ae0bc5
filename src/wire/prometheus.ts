/**
 * Reads metrics in Prometheus' text format, as engines show them at /metrics. Lenient: a line that
 * cannot be read is skipped.
 */
export interface MetricSample {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** `name{label="value",…} number [timestamp]`; label values escape `\`, `"` and line breaks. */
const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*$/;
const LABEL = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED: Readonly<Record<string, string>> = { n: '\n', '"': '"', '\\': '\\' };

/** Those whose names begin with one of `prefixes`, in their order; histograms alone are thousands. */
export function readMetrics(text: string, prefixes: readonly string[]): MetricSample[] {
  const samples: MetricSample[] = [];
  for (const line of text.split('\n')) {
    if (!prefixes.some((prefix) => line.startsWith(prefix))) continue;
    const match = LINE.exec(line);
    if (match === null) continue;
    const [, name, labels = '', number] = match;
    const value = numberOf(number);
    if (value !== undefined) samples.push({ name, labels: labelsOf(labels), value });
  }
  return samples;
}

function numberOf(text: string): number | undefined {
  if (/^[+-]?inf$/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  const value = Number(text);
  return Number.isNaN(value) ? undefined : value;
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [, name, value] of text.matchAll(LABEL)) {
    labels[name] = value.replace(/\\(.)/g, (_, escaped: string) => ESCAPED[escaped] ?? escaped);
  }
  return labels;
}
