/** A comparison as one self-contained HTML page: no script, no font, nothing fetched. */
import { thousands } from '../base/text.ts';
import type { Comparison, PolicyFigures, PolicyReport } from '../model/comparison.ts';
import { beforeAfter } from './before-after.ts';
import { type Bar, barPlot, escaped, linePlot } from './plots.ts';
import { claimsOf, mildTitle } from './report-text.ts';

/** Ours stands out; the others are told apart. */
const OURS = '#0f766e';
const OTHERS = [
  '#94a3b8',
  '#b45309',
  '#6d28d9',
  '#be123c',
  '#1d4ed8',
  '#4d7c0f',
  '#a16207',
  '#0e7490',
];

export interface PageGiven {
  title: string;
  /** How to make it again. */
  command: string;
  version: string;
  /** Money per hour of one worker's device, in any currency; undefined: time only. */
  pricePerHour: number | undefined;
}

export function reportPage(report: Comparison, given: PageGiven): string {
  const { policies } = report;
  // Where a server tells nothing of its cache, nothing is drawn of it.
  const told = policies.filter(({ cachedNotReported }) => !cachedNotReported);
  const colours = new Map<string, string>();
  for (const { policy } of policies) {
    const next = OTHERS[(colours.size - (colours.has('stator') ? 1 : 0)) % OTHERS.length];
    colours.set(policy, policy === 'stator' ? OURS : next);
  }
  const colourOf = (policy: string) => colours.get(policy) ?? OURS;
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escaped(given.title)}</title><style>${STYLE}</style>
<main>
<h1>${escaped(given.title)}</h1>
<p class="lead">${claimsOf(report).map(escaped).join('<br>')}</p>
${changes(report)}
<div class="grid2">
${bars(
  report,
  'Sessions per hour',
  colourOf,
  (one) => one.sessionsPerHour,
  (value) => value.toFixed(0),
)}
${bars({ ...report, policies: told }, 'Prompt tokens computed', colourOf, (one) => one.prefillTokens, thousands)}
${bars(
  report,
  'Median time to first token, ms',
  colourOf,
  (one) => one.ttftMs.p50,
  (value) => value.toFixed(0),
)}
${bars(
  report,
  `Goodput, requests per second within TTFT ${report.slo.ttftMs} ms and ITL ${report.slo.itlMs} ms`,
  colourOf,
  (one) => one.goodputPerS,
  (value) => value.toFixed(2),
)}
${distribution('Time to first token', policies, colourOf, (one) => one.curves.ttftMs)}
${distribution('End to end', policies, colourOf, (one) => one.curves.e2eMs)}
${hits(told, colourOf)}
${loads(policies, colourOf)}
</div>
<h2>Cost</h2>
${costs(report, given.pricePerHour)}
<h2>All figures</h2>
<p>Mean over seeds; in brackets the least and the most of single seeds.</p>
${figuresTable(policies)}
${mildFigures(report)}
<h2>How it was measured</h2>
${settingsList(report, given)}
<dl>${Object.entries(report.definitions)
    .map(([name, text]) => `<dt>${escaped(name)}</dt><dd>${escaped(text)}</dd>`)
    .join('')}</dl>
${report.notes.map((note) => `<p class="note">${escaped(note)}</p>`).join('')}
</main></html>
`;
}

function changes(report: Comparison): string {
  const rows = beforeAfter(report);
  return rows === undefined ? '' : tableOf(rows);
}

function mildFigures({ mild }: Comparison): string {
  if (mild === undefined) return '';
  return `<h2>Mild load</h2><p>${escaped(mildTitle(mild.live))}</p>${figuresTable(mild.policies)}`;
}

type ColourOf = (policy: string) => string;

function bars(
  { policies }: Comparison,
  title: string,
  colourOf: ColourOf,
  pick: (one: PolicyFigures) => number,
  format: (value: number) => string,
): string {
  const list = policies.map((one): Bar => {
    const seeds = one.perSeed.map(pick);
    return {
      label: one.policy,
      colour: colourOf(one.policy),
      value: pick(one),
      least: Math.min(...seeds),
      most: Math.max(...seeds),
      text: format(pick(one)),
    };
  });
  return barPlot(title, list);
}

function distribution(
  title: string,
  policies: readonly PolicyReport[],
  colourOf: ColourOf,
  pick: (one: PolicyReport) => readonly number[],
): string {
  const ms = (value: number) => (value >= 1000 ? `${value / 1000} s` : `${value} ms`);
  const axes = {
    x: { name: 'log scale', isLog: true, format: ms },
    y: { name: '', least: 0, most: 1, format: (value: number) => `${Math.round(value * 100)} %` },
  };
  return linePlot(
    `${title}: share of requests that were faster`,
    axes,
    policies.map((one) => ({
      label: one.policy,
      colour: colourOf(one.policy),
      points: pick(one).map((x, i) => ({ x: Math.max(x, 0.1), y: i / 100 })),
    })),
  );
}

function hits(policies: readonly PolicyReport[], colourOf: ColourOf): string {
  return linePlot(
    'Prompt tokens from cache, over time',
    {
      x: { name: 'seconds', least: 0, format: (value) => value.toFixed(0) },
      y: { name: '', least: 0, most: 1, format: (value) => `${Math.round(value * 100)} %` },
    },
    policies.map(({ policy, curves }) => ({
      label: policy,
      colour: colourOf(policy),
      points: curves.hitRatio.flatMap((y, i) => (y === null ? [] : [{ x: i * curves.bucketS, y }])),
    })),
  );
}

/** How far the busiest worker is above the mean: 1 is perfectly even. */
function loads(policies: readonly PolicyReport[], colourOf: ColourOf): string {
  return linePlot(
    'Requests of the busiest worker ÷ mean of all, over time so far',
    {
      x: { name: 'seconds', least: 0, format: (value) => value.toFixed(0) },
      y: { name: '', least: 1, format: (value) => `${value.toFixed(1)} ×` },
    },
    policies.map(({ policy, curves }) => ({
      label: policy,
      colour: colourOf(policy),
      points: imbalance(Object.values(curves.load)).map((y, i) => ({
        x: (i + 1) * curves.bucketS,
        y,
      })),
    })),
  );
}

function imbalance(workers: readonly (readonly number[])[]): number[] {
  const sums = workers.map(() => 0);
  const buckets = workers[0]?.length ?? 0;
  return Array.from({ length: buckets }, (_, bucket) => {
    workers.forEach((counts, i) => {
      sums[i] += counts[bucket];
    });
    const mean = sums.reduce((a, b) => a + b, 0) / sums.length;
    return mean === 0 ? 1 : Math.max(...sums) / mean;
  });
}

function costs({ policies, workers }: Comparison, pricePerHour: number | undefined): string {
  const rows = policies.map((one) => {
    const own = one.workers ?? workers;
    const workerS = one.wallS * own;
    const perSession = 3600 / Math.max(1e-9, one.sessionsPerHour / own);
    const money =
      pricePerHour === undefined ? [] : [((perSession / 3600) * pricePerHour).toFixed(4)];
    const cpu = one.cpuS === null ? '–' : one.cpuS.toFixed(1);
    return [one.policy, workerS.toFixed(1), perSession.toFixed(2), cpu, ...money];
  });
  const price = pricePerHour === undefined ? [] : [`money per session at ${pricePerHour} an hour`];
  return tableOf([
    ['policy', 'worker-seconds', 'worker-seconds per session', 'CPU seconds of workers', ...price],
    ...rows,
  ]);
}

function figuresTable(policies: readonly PolicyReport[]): string {
  const columns: [string, (one: PolicyFigures) => number, number][] = [
    ['sessions/h', (one) => one.sessionsPerHour, 0],
    ['requests/s', (one) => one.requestsPerS, 2],
    ['goodput/s', (one) => one.goodputPerS, 2],
    ['hit %', (one) => one.hitRatio * 100, 1],
    ['computed tokens', (one) => one.prefillTokens, 0],
    ['TTFT p50 ms', (one) => one.ttftMs.p50, 0],
    ['TTFT p90 ms', (one) => one.ttftMs.p90, 0],
    ['TTFT p99 ms', (one) => one.ttftMs.p99, 0],
    ['ITL p50 ms', (one) => one.itlMs.p50, 1],
    ['E2E p50 ms', (one) => one.e2eMs.p50, 0],
    ['failed', (one) => one.failed, 0],
  ];
  const rows = policies.map((one) => [
    one.policy,
    ...columns.map(([name, pick, digits]) => {
      if (one.cachedNotReported && OF_CACHE.includes(name)) return 'not reported';
      const seeds = one.perSeed.map(pick);
      const text = (value: number) =>
        value.toLocaleString('en-US', {
          minimumFractionDigits: digits,
          maximumFractionDigits: digits,
        });
      return `${text(pick(one))} (${text(Math.min(...seeds))} – ${text(Math.max(...seeds))})`;
    }),
  ]);
  return tableOf([['policy', ...columns.map(([name]) => name)], ...rows]);
}

/** Columns that say nothing where a server does not tell what was cached. */
const OF_CACHE: readonly string[] = ['hit %', 'computed tokens'];

function settingsList(report: Comparison, { command, version }: PageGiven): string {
  const settings = {
    workload: report.trace,
    engine: report.profile === null ? report.engine : `${report.engine}, profile ${report.profile}`,
    workers: report.workers,
    seeds: report.seeds.join(', '),
    ...report.settings,
    'took, seconds': report.wallS.toFixed(0),
    stator: version,
  };
  const rows = Object.entries(settings).map(([name, value]) => [name, String(value)]);
  return `<pre>${escaped(command)}</pre>${tableOf([['setting', 'value'], ...rows])}`;
}

export function tableOf([head, ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`;
  return `<div class="scroll"><table>${line(head, 'th')}${rows.map((row) => line(row, 'td')).join('')}</table></div>`;
}

export const STYLE = `
:root{color-scheme:light dark;--ink:#0f172a;--soft:#64748b;--line:#e2e8f0;--paper:#fff;--card:#f8fafc}
@media(prefers-color-scheme:dark){:root{--ink:#e2e8f0;--soft:#94a3b8;--line:#334155;--paper:#0b1220;--card:#111a2e}}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1320px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:26px;margin:0 0 8px}h2{font-size:18px;margin:36px 0 8px}
.lead{font-size:18px;margin:0 0 24px}.note{color:var(--soft)}
.grid2{display:grid;grid-template-columns:repeat(auto-fit,minmax(520px,1fr));gap:16px}
figure{margin:0;padding:14px 16px;background:var(--card);border:1px solid var(--line);border-radius:10px}
figcaption{font-weight:600;margin-bottom:8px}svg{width:100%;height:auto;display:block}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .tick{fill:var(--soft)}
.grid{stroke:var(--line);fill:none}.range{stroke:var(--ink);stroke-width:1.2;fill:none;opacity:.7}
.scroll+.grid2{margin-top:20px}
.keys{display:flex;flex-wrap:wrap;gap:4px 14px;font-size:13px;color:var(--soft)}
.keys i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:5px;vertical-align:-1px}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13.5px}
th,td{text-align:right;padding:5px 12px;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:500}
pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px;overflow-x:auto}
dt{font-family:ui-monospace,monospace;font-size:13px}dd{margin:0 0 6px 24px;color:var(--soft)}
`;
