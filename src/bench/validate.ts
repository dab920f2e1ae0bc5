/** Live figures beside the simulator's of the same sessions: how far the simulator is off, and whether that passes. */
import { table } from '../base/text.ts';
import type { PolicyFigures } from '../model/comparison.ts';

/** One number of workers. */
export interface Validated {
  workers: number;
  /** Whether each worker has a core of its own; without, errors are shown and nothing is asked of them. */
  counts: boolean;
  /** First arrival to last completion, and the CPU seconds of all workers meanwhile. */
  wallS: number;
  cpuS: number | null;
  errors: FigureError[];
}

export interface FigureError {
  figure: string;
  live: number;
  simulated: number;
  /** Relative, simulated ÷ live - 1; of the hit ratio the difference, in points of 0.01. */
  error: number;
  unit: 'share' | 'points';
  /** Undefined: shown, not asked. */
  errorMax: number | undefined;
  isWithin: boolean;
}

interface Figure {
  name: string;
  pick: (one: PolicyFigures) => number;
  unit: FigureError['unit'];
  errorMax: number | undefined;
}

const FIGURES: readonly Figure[] = [
  { name: 'TTFT p50, ms', pick: (one) => one.ttftMs.p50, unit: 'share', errorMax: 0.15 },
  { name: 'ITL p50, ms', pick: (one) => one.itlMs.p50, unit: 'share', errorMax: undefined },
  { name: 'E2E p50, ms', pick: (one) => one.e2eMs.p50, unit: 'share', errorMax: 0.15 },
  { name: 'hit ratio, %', pick: (one) => one.hitRatio * 100, unit: 'points', errorMax: 2 },
  { name: 'requests/s', pick: (one) => one.requestsPerS, unit: 'share', errorMax: 0.1 },
];

/** A live run in which a request failed is no measure of anything: then nothing is within. */
export function validated(
  live: PolicyFigures,
  simulated: PolicyFigures,
  { workers, counts }: { workers: number; counts: boolean },
): Validated {
  const isWhole = live.failed + live.rejected === 0 && live.requests === simulated.requests;
  const errors = FIGURES.map(({ name, pick, unit, errorMax }): FigureError => {
    const [a, b] = [pick(live), pick(simulated)];
    const error = unit === 'points' ? b - a : b / a - 1;
    const isWithin =
      isWhole && Number.isFinite(error) && (errorMax === undefined || Math.abs(error) <= errorMax);
    return { figure: name, live: a, simulated: b, error, unit, errorMax, isWithin };
  });
  return { workers, counts, wallS: live.wallS, cpuS: live.cpuS, errors };
}

export function isValid(runs: readonly Validated[]): boolean {
  return runs.every(({ counts, errors }) => !counts || errors.every(({ isWithin }) => isWithin));
}

export function validationText(runs: readonly Validated[]): string {
  const rows = runs.flatMap(({ workers, counts, errors }) =>
    errors.map(({ figure, live, simulated, error, unit, errorMax, isWithin }) => [
      `${workers}`,
      figure,
      live.toFixed(2),
      simulated.toFixed(2),
      inUnit(error, unit),
      errorMax === undefined || !counts ? '' : `within ${inUnit(errorMax, unit)}`,
      errorMax === undefined || !counts ? 'shown' : isWithin ? 'yes' : 'NO',
    ]),
  );
  return table([['workers', 'figure', 'live', 'simulated', 'error', 'asked', 'met'], ...rows]);
}

function inUnit(value: number, unit: FigureError['unit']): string {
  const sign = value < 0 ? '-' : '+';
  const size = Math.abs(value);
  return unit === 'points'
    ? `${sign}${size.toFixed(2)} points`
    : `${sign}${(size * 100).toFixed(1)} %`;
}
