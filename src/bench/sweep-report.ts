/** A sweep as text, and as one self-contained HTML page with its lines. */
import { table, thousands } from '../base/text.ts';
import { type Sweep, type SweepPoint, sloText, valueAt } from '../sim/sweep.ts';
import { escaped, type Line, linePlot } from './plots.ts';
import { STYLE, tableOf } from './report-page.ts';

export function sweepText(report: Sweep): string {
  return [
    table(rowsOf(report)),
    '',
    ...report.answer,
    '',
    `${report.trace}; policy ${report.policy}, profile ${report.profile}, ${report.seeds.length === 1 ? 'seed' : 'seeds'} ${report.seeds.join(', ')}; met: requests within ${sloText(report.slo)}, refused ones count as missed.`,
    ...Object.entries(report.settings)
      .filter(([name]) => !isSwept(report, name))
      .map(([name, value]) => `  ${name}: ${value}`),
    ...report.notes,
  ].join('\n');
}

export function sweepPage(
  report: Sweep,
  given: { title: string; command: string; version: string },
): string {
  const percent = (value: number) => `${Math.round(value * 100)} %`;
  const seconds = (value: number) => (value >= 1000 ? `${value / 1000} s` : `${value} ms`);
  const settings = Object.entries({
    ...report.settings,
    policy: report.policy,
    profile: report.profile,
    seeds: report.seeds.join(', '),
    stator: given.version,
  })
    .filter(([name]) => !isSwept(report, name))
    .map(([name, value]) => [name, String(value)]);
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escaped(given.title)}</title><style>${STYLE}</style>
<main>
<h1>${escaped(given.title)}</h1>
<p class="lead">${report.answer.map(escaped).join('<br>')}</p>
<div class="grid2">
${lines(report, `Requests within ${sloText(report.slo)}`, (one) => one.attained, { least: 0, most: 1, format: percent })}
${lines(report, 'TTFT p50, log scale', (one) => Math.max(0.1, one.ttftMs.p50), { isLog: true, format: seconds })}
${lines(report, 'Prompt tokens from cache', (one) => one.hitRatio, { least: 0, most: 1, format: percent })}
${lines(report, 'Requests per second', (one) => one.requestsPerS, { least: 0, format: (value) => value.toFixed(1) })}
</div>
<h2>All points</h2>
${tableOf(rowsOf(report).map((row) => row.map(String)))}
<h2>How it was simulated</h2>
<pre>${escaped(given.command)}</pre>
${tableOf([['setting', 'value'], ['workload', report.trace], ...settings])}
${report.notes.map((note) => `<p class="note">${escaped(note)}</p>`).join('')}
</main></html>
`;
}

const COLOURS = ['#0f766e', '#b45309', '#6d28d9', '#be123c', '#1d4ed8', '#4d7c0f', '#94a3b8'];

/** One line for each combination of the other axes, along the first. */
function lines(
  { axes, points }: Sweep,
  title: string,
  pick: (one: SweepPoint) => number,
  y: { least?: number; most?: number; isLog?: boolean; format: (value: number) => string },
): string {
  const [first, ...others] = axes;
  const runs = new Map<string, Line>();
  for (const point of points) {
    const label =
      others.map(({ name }) => `${name} ${thousands(valueAt(point.at, name))}`).join(', ') ||
      'all points';
    const line = runs.get(label) ?? {
      label,
      colour: COLOURS[runs.size % COLOURS.length],
      points: [],
    };
    const next = { x: valueAt(point.at, first.name), y: pick(point) };
    runs.set(label, { ...line, points: [...line.points, next] });
  }
  const format = (value: number) => (Number.isInteger(value) ? thousands(value) : `${value}`);
  return linePlot(title, { x: { name: first.name, format }, y: { name: '', ...y } }, [
    ...runs.values(),
  ]);
}

function rowsOf({ axes, points }: Sweep): (string | number)[][] {
  const head = ['met', 'requests/s', 'hit %', 'TTFT ms p50', 'p99', 'ITL ms p50', 'p99'];
  const rows = points.map((one) => [
    ...axes.map(({ name }) => valueAt(one.at, name).toLocaleString('en-US')),
    `${(one.attained * 100).toFixed(1)} %`,
    one.requestsPerS.toFixed(2),
    (one.hitRatio * 100).toFixed(1),
    one.ttftMs.p50.toFixed(0),
    one.ttftMs.p99.toFixed(0),
    one.itlMs.p50.toFixed(1),
    one.itlMs.p99.toFixed(1),
  ]);
  return [[...axes.map(({ name }) => name), ...head], ...rows];
}

/** Settings as reports name them, by the axis that varies them. */
const SETTINGS: Partial<Record<string, readonly string[]>> = {
  workers: ['workers'],
  'host-tokens': ['host tokens a worker'],
  'device-tokens': ['device tokens a worker'],
  live: ['sessions alive'],
  rate: ['requests/s offered'],
  speedup: ['replay speed'],
};

function isSwept({ axes }: Sweep, setting: string): boolean {
  return axes.some(({ name }) => SETTINGS[name]?.includes(setting));
}
