/** A summary as one self-contained SVG sheet: no script, no font, nothing from elsewhere. */
import type { TraceSummary, Values } from './trace-summary.ts';

const PANEL = { width: 460, height: 280, left: 58, right: 16, top: 34, bottom: 44 };
const COLUMNS = 2;
const HEAD = 64;
const COLOURS = ['#2563eb', '#dc2626', '#059669'];
const QUANTILE_POINTS = 100;
const STYLE = [
  'text{font:12px system-ui,sans-serif;fill:#334155}',
  '.title{font-size:14px;font-weight:600;fill:#0f172a}',
  '.sheet{font-size:18px;font-weight:600;fill:#0f172a}',
  '.grid{stroke:#e2e8f0}',
].join('');

interface Point {
  x: number;
  y: number;
}

interface Panel {
  title: string;
  x: { name: string; isLog: boolean; unit: (value: number) => string };
  /** Undefined: shares, 0 to 100 %. */
  y: { unit: (value: number) => string } | undefined;
  lines: { name: string; points: Point[] }[];
  /** Between these the panel is shaded. */
  band?: { low: Point[]; high: Point[] };
}

export function summarySvg({ summary, values }: { summary: TraceSummary; values: Values }): string {
  const panels = panelsOf(summary, values).filter(({ lines }) =>
    lines.some(({ points }) => points.length > 1),
  );
  const rows = Math.ceil(panels.length / COLUMNS);
  const [width, height] = [COLUMNS * PANEL.width, HEAD + rows * PANEL.height];
  const { about, sessions, turns, hit } = summary;
  const title = `${about.format}: ${sessions} sessions, ${turns} turns, ideal hit ratio ${(hit.tokens * 100).toFixed(1)} % of prompt tokens`;
  const body = panels.map((panel, i) => {
    const x = (i % COLUMNS) * PANEL.width;
    const y = HEAD + Math.floor(i / COLUMNS) * PANEL.height;
    return `<g transform="translate(${x} ${y})">${drawn(panel)}</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escaped(title)}</title><style>${STYLE}</style>`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text class="sheet" x="20" y="38">${escaped(title)}</text>`,
    ...body,
    '</svg>',
    '',
  ].join('\n');
}

function panelsOf(summary: TraceSummary, values: Values): Panel[] {
  const { lru, growth } = summary;
  const at = (q: 'p10' | 'p50' | 'p90') => growth.map((one) => ({ x: one.turn, y: one[q] }));
  return [
    {
      title: 'Lengths: share of turns below',
      x: { name: 'tokens', isLog: true, unit: short },
      y: undefined,
      lines: [
        { name: 'prompt', points: cumulative(values.promptTokens) },
        { name: 'uncached', points: cumulative(values.uncachedTokens) },
        { name: 'output', points: cumulative(values.outputTokens) },
      ],
    },
    {
      title: 'One LRU cache for all: hit ratio',
      x: { name: 'cache, tokens', isLog: true, unit: short },
      y: undefined,
      lines: [
        { name: 'LRU', points: lru.map(({ cacheTokens, hit }) => ({ x: cacheTokens, y: hit })) },
      ],
    },
    {
      title: 'Prompt length by turn (p10, p50, p90)',
      x: { name: 'turn of the thread', isLog: true, unit: short },
      y: { unit: short },
      lines: [{ name: 'median', points: at('p50') }],
      band: { low: at('p10'), high: at('p90') },
    },
    {
      title: 'Times: share of turns below',
      x: { name: 'seconds', isLog: true, unit: short },
      y: undefined,
      lines: [
        { name: 'think time', points: cumulative(values.thinkS) },
        { name: 'service', points: cumulative(values.serviceS) },
      ],
    },
    {
      title: 'Turns per thread: share of threads below',
      x: { name: 'turns', isLog: true, unit: short },
      y: undefined,
      lines: [{ name: 'turns', points: cumulative(values.turnsPerThread) }],
    },
    {
      title: 'Growth from turn to turn: share below',
      x: { name: 'tokens', isLog: true, unit: short },
      y: undefined,
      lines: [{ name: 'growth', points: cumulative(values.growthTokens) }],
    },
  ];
}

/** Share of the values at or below, at so many of them; nothing at or below 0, which no logarithm has. */
function cumulative(values: readonly number[]): Point[] {
  const sorted = Float64Array.from(values).sort();
  const points: Point[] = [];
  for (let i = 0; i <= QUANTILE_POINTS && sorted.length > 0; i++) {
    const index = Math.round((i / QUANTILE_POINTS) * (sorted.length - 1));
    if (sorted[index] > 0) points.push({ x: sorted[index], y: (index + 1) / sorted.length });
  }
  return points;
}

function drawn(panel: Panel): string {
  const { left, right, top, bottom, width, height } = PANEL;
  const points = [
    ...panel.lines.flatMap((line) => line.points),
    ...(panel.band?.low ?? []),
    ...(panel.band?.high ?? []),
  ];
  const xs = axis(
    points.map((point) => point.x),
    { from: left, to: width - right, isLog: panel.x.isLog },
  );
  const most = panel.y === undefined ? 1 : Math.max(...points.map((point) => point.y));
  const ys = axis([0, most], { from: height - bottom, to: top, isLog: false });
  const unit = panel.y?.unit ?? ((value: number) => `${Math.round(value * 100)} %`);
  const path = (run: readonly Point[]) =>
    run.map((point) => `${xs.at(point.x).toFixed(1)},${ys.at(point.y).toFixed(1)}`).join(' ');
  const { band } = panel;
  const parts = [
    `<text class="title" x="${left}" y="20">${escaped(panel.title)}</text>`,
    ...ys.ticks.map((tick) => {
      const y = ys.at(tick).toFixed(1);
      return `<path class="grid" d="M${left} ${y}H${width - right}"/><text x="${left - 6}" y="${Number(y) + 4}" text-anchor="end">${unit(tick)}</text>`;
    }),
    ...xs.ticks.map((tick) => {
      const x = xs.at(tick).toFixed(1);
      return `<path class="grid" d="M${x} ${top}V${height - bottom}"/><text x="${x}" y="${height - bottom + 16}" text-anchor="middle">${panel.x.unit(tick)}</text>`;
    }),
    `<text x="${(left + width - right) / 2}" y="${height - 8}" text-anchor="middle">${escaped(panel.x.name)}</text>`,
    band === undefined
      ? ''
      : `<polygon fill="${COLOURS[0]}" fill-opacity="0.15" points="${path([...band.low, ...band.high.toReversed()])}"/>`,
    ...panel.lines.map(({ name, points: run }, i) => {
      const line = `<polyline fill="none" stroke="${COLOURS[i]}" stroke-width="2" points="${path(run)}"/>`;
      const label = `<text x="${width - right}" y="${height - bottom - 8 - (panel.lines.length - 1 - i) * 16}" text-anchor="end" style="fill:${COLOURS[i]}">${escaped(name)}</text>`;
      return panel.lines.length === 1 ? line : line + label;
    }),
  ];
  return parts.join('');
}

function axis(values: readonly number[], span: { from: number; to: number; isLog: boolean }) {
  const of = span.isLog ? Math.log10 : (value: number) => value;
  const low = of(Math.min(...values));
  const range = Math.max(1e-9, of(Math.max(...values)) - low);
  const at = (value: number) => span.from + ((of(value) - low) / range) * (span.to - span.from);
  const ticks: number[] = [];
  if (span.isLog) {
    // Three decades and more say enough by themselves.
    const factors = range < 3 ? [1, 2, 5] : [1];
    for (let power = Math.floor(low); power <= low + range; power++) {
      for (const factor of factors) {
        const tick = factor * 10 ** power;
        if (of(tick) >= low && of(tick) <= low + range) ticks.push(tick);
      }
    }
  } else {
    const step = niceStep(range / 4);
    for (let tick = 0; tick <= low + range + step / 1e6; tick += step) ticks.push(tick);
  }
  return { at, ticks };
}

/** The next 1, 2, 2.5 or 5 times a power of ten. */
function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  return ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
}

function short(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (value >= 1e3) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}

function escaped(text: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/[&<>"]/g, (letter) => names[letter]);
}
