/** Plots as self-contained SVG text: bars with the range between seeds, and lines. */

export interface Bar {
  label: string;
  colour: string;
  value: number;
  /** Of single seeds. */
  least: number;
  most: number;
  text: string;
}

export interface Line {
  label: string;
  colour: string;
  points: readonly { x: number; y: number }[];
}

const WIDTH = 640;

/** Lying bars, one below the other; a thin line shows the range between seeds. */
export function barPlot(title: string, bars: readonly Bar[]): string {
  const row = 30;
  const left = 130;
  const right = 110;
  const top = Math.max(1e-9, ...bars.map(({ most }) => most));
  const x = (value: number) => left + (value / top) * (WIDTH - left - right);
  const rows = bars.map(({ label, colour, value, least, most, text }, i) => {
    const y = i * row + 6;
    const middle = y + 9;
    return [
      `<text class="label" x="${left - 8}" y="${middle + 4}" text-anchor="end">${escaped(label)}</text>`,
      `<rect x="${left}" y="${y}" width="${num(x(value) - left)}" height="18" rx="3" fill="${colour}"/>`,
      `<path class="range" d="M${num(x(least))} ${middle}H${num(x(most))}M${num(x(least))} ${middle - 5}v10M${num(x(most))} ${middle - 5}v10"/>`,
      `<text class="value" x="${num(x(most) + 8)}" y="${middle + 4}">${escaped(text)}</text>`,
    ].join('');
  });
  return figure(title, svg(bars.length * row + 8, rows.join('')));
}

export interface Axis {
  name: string;
  /** Logarithmic from the least positive value. */
  isLog?: boolean;
  least?: number;
  most?: number;
  format: (value: number) => string;
}

export function linePlot(
  title: string,
  axes: { x: Axis; y: Axis },
  lines: readonly Line[],
): string {
  const height = 260;
  const box = { left: 56, right: WIDTH - 14, top: 10, bottom: height - 40 };
  const points = lines.flatMap((line) => line.points);
  const x = scale(
    axes.x,
    points.map((point) => point.x),
    { from: box.left, to: box.right },
  );
  const y = scale(
    axes.y,
    points.map((point) => point.y),
    { from: box.bottom, to: box.top },
  );
  const parts = [
    ...y.ticks.map(
      (tick) =>
        `<path class="grid" d="M${box.left} ${num(y.at(tick))}H${box.right}"/><text class="tick" x="${box.left - 6}" y="${num(y.at(tick) + 4)}" text-anchor="end">${axes.y.format(tick)}</text>`,
    ),
    ...x.ticks.map(
      (tick) =>
        `<path class="grid" d="M${num(x.at(tick))} ${box.top}V${box.bottom}"/><text class="tick" x="${num(x.at(tick))}" y="${box.bottom + 16}" text-anchor="middle">${axes.x.format(tick)}</text>`,
    ),
    `<text class="tick" x="${(box.left + box.right) / 2}" y="${height - 6}" text-anchor="middle">${escaped(axes.x.name)}</text>`,
    ...lines.map(
      ({ label, colour, points: run }) =>
        `<polyline fill="none" stroke="${colour}" stroke-width="2" stroke-linejoin="round" points="${run
          .map((point) => `${num(x.at(point.x))},${num(y.at(point.y))}`)
          .join(' ')}"><title>${escaped(label)}</title></polyline>`,
    ),
  ];
  const keys = lines.map(
    ({ label, colour }) => `<span><i style="background:${colour}"></i>${escaped(label)}</span>`,
  );
  return figure(title, svg(height, parts.join('')), `<div class="keys">${keys.join('')}</div>`);
}

export function escaped(text: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/[&<>"]/g, (letter) => names[letter]);
}

function figure(title: string, ...parts: string[]): string {
  return `<figure><figcaption>${escaped(title)}</figcaption>${parts.join('')}</figure>`;
}

function svg(height: number, content: string): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img">${content}</svg>`;
}

interface Scale {
  at: (value: number) => number;
  ticks: number[];
}

function scale(axis: Axis, values: readonly number[], span: { from: number; to: number }): Scale {
  const positive = axis.isLog ? values.filter((value) => value > 0) : values;
  const least = axis.least ?? positive.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const most = axis.most ?? positive.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  if (!Number.isFinite(least) || !Number.isFinite(most)) return { at: () => span.from, ticks: [] };
  const of = axis.isLog ? Math.log10 : (value: number) => value;
  const low = of(least);
  const width = Math.max(1e-9, of(most) - low);
  const at = (value: number) => {
    const clipped = Math.min(Math.max(value, least), most);
    return span.from + ((of(clipped) - low) / width) * (span.to - span.from);
  };
  return { at, ticks: axis.isLog ? decades(least, most) : steps(least, most) };
}

/** 1, 2, 5, 10 … between both; only decades where they span more than three. */
function decades(least: number, most: number): number[] {
  const ticks: number[] = [];
  const factors = Math.log10(most / least) > 3 ? [1] : [1, 2, 5];
  for (let power = Math.floor(Math.log10(least)); power <= Math.log10(most); power++) {
    for (const factor of factors) {
      const tick = factor * 10 ** power;
      if (tick >= least && tick <= most) ticks.push(tick);
    }
  }
  return ticks;
}

function steps(least: number, most: number): number[] {
  const rough = (most - least) / 5;
  if (rough <= 0) return [least];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough) ?? rough;
  const ticks: number[] = [];
  for (let tick = Math.ceil(least / step) * step; tick <= most + step / 1e6; tick += step) {
    ticks.push(tick);
  }
  return ticks;
}

function num(value: number): string {
  return value.toFixed(1);
}
