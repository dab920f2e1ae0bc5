/** How much memory there is, and what `--memory` means. */
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';

/** The machine's memory, or the cgroup's limit where that is less. */
export function memoryBytes(): number {
  const limits = ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'].map(
    (path) => {
      try {
        return Number(readFileSync(path, 'utf8').trim());
      } catch {
        return Number.NaN; // No such cgroup version here.
      }
    },
  );
  return Math.min(totalmem(), ...limits.filter((limit) => Number.isFinite(limit) && limit > 0));
}

/** `2GB`, `1536MiB`, `40%` (of the machine's), or bytes; undefined where it is none of these. */
export function parseMemory(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(%|[KMGT]i?B?|B)?$/i.exec(text.trim());
  if (match === null) return undefined;
  const value = Number(match[1]);
  const unit = (match[2] ?? 'B').toUpperCase();
  if (unit === '%') return Math.floor((memoryBytes() * value) / 100);
  const power = ['B', 'K', 'M', 'G', 'T'].indexOf(unit[0]);
  return Math.floor(value * (unit.includes('I') ? 1024 : 1000) ** power);
}
