/** Rows as a text table: the first row is the head, numbers lean right. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const cells = rows.map((row) => row.map(String));
  const widths: number[] = [];
  for (const row of cells) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  const line = (row: string[], source: readonly (string | number)[]) =>
    row
      .map((cell, i) =>
        typeof source[i] === 'number' || /^[\d.,%×-]+$/.test(cell)
          ? cell.padStart(widths[i])
          : cell.padEnd(widths[i]),
      )
      .join('  ')
      .trimEnd();
  return cells.map((row, i) => line(row, rows[i])).join('\n');
}

/** 1536 → "1.5 KiB". */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 100 || unit === 0 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

/** 65536 → "65,536". */
export function thousands(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}
