/** Making elements, and writing figures as people read them. */

export function element(tag: string, kind: string, ...children: (string | Node)[]): HTMLElement {
  const made = document.createElement(tag);
  if (kind !== '') made.className = kind;
  made.append(...children);
  return made;
}

export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found;
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export function rect(kind: string, box: Box, title = ''): SVGRectElement {
  const made = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
  made.setAttribute('class', kind);
  for (const [name, value] of Object.entries(box)) made.setAttribute(name, value.toFixed(2));
  if (title !== '') {
    const told = document.createElementNS('http://www.w3.org/2000/svg', 'title');
    told.textContent = title;
    made.append(told);
  }
  return made;
}

/** A bar of parts side by side, in percent of `most`. */
export function stack(
  parts: readonly { kind: string; value: number; title: string }[],
  most: number,
): SVGSVGElement {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 100 10');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('class', 'stack');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', parts.map(({ title }) => title).join(', '));
  let x = 0;
  for (const { kind, value, title } of parts) {
    const width = most > 0 ? (Math.max(0, value) / most) * 100 : 0;
    svg.append(rect(kind, { x, y: 0, width, height: 10 }, title));
    x += width;
  }
  return svg;
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export function whole(count: number): string {
  return Math.round(count).toLocaleString();
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** 850 µs, 12 ms, 3.4 s, 12 min. */
export function duration(us: number): string {
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${(us / 1000).toFixed(us < 10_000 ? 1 : 0)} ms`;
  if (us < 120e6) return `${(us / 1e6).toFixed(us < 10e6 ? 1 : 0)} s`;
  return `${whole(us / 60e6)} min`;
}
