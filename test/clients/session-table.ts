import { cachedShare, type Thread } from './threads.ts';

/** One client's session, as it went. */
export interface SessionRow {
  client: string;
  version: string;
  threads: readonly Thread[];
  seconds: number;
  /** Hosts besides this machine that it asked for, and was refused. */
  refused: readonly string[];
}

const TITLES = [
  'client',
  'version',
  'turns',
  'threads',
  'known by',
  'cached share of follow-ups',
  'seconds',
  'refused',
];

/** Collects sessions, and prints them with aligned columns. */
export class SessionTable {
  readonly #title: string;
  readonly #rows: string[][] = [];

  constructor(title: string) {
    this.#title = title;
  }

  add({ client, version, threads, seconds, refused }: SessionRow): void {
    this.#rows.push([
      client,
      version,
      turnsOf(threads),
      String(threads.length),
      [...new Set(threads.flatMap(({ knownBy }) => knownBy.split(', ')))].join(', '),
      `${(cachedShare(threads) * 100).toFixed(1)} %`,
      seconds.toFixed(1),
      refused.join(', '),
    ]);
  }

  print(): void {
    if (this.#rows.length === 0) return;
    const lines = [TITLES, ...this.#rows];
    const widths = TITLES.map((_, i) => Math.max(...lines.map((line) => line[i].length)));
    console.log(this.#title);
    for (const line of lines) {
      console.log(
        `  ${line
          .map((cell, i) => cell.padEnd(widths[i]))
          .join('  ')
          .trimEnd()}`,
      );
    }
  }
}

/** Of each thread, equal ones together: `12 × 8 + 2 × 2`. */
function turnsOf(threads: readonly Thread[]): string {
  const counts = new Map<number, number>();
  for (const { turns } of threads) counts.set(turns.length, (counts.get(turns.length) ?? 0) + 1);
  return [...counts]
    .map(([turns, count]) => (count === 1 ? `${turns}` : `${count} × ${turns}`))
    .join(' + ');
}
