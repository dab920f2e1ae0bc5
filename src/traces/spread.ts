/** How a quantity is spread: its mean and its quantiles, each a value that occurred (nearest rank). */
export interface Spread {
  mean: number;
  p5: number;
  p25: number;
  p50: number;
  p75: number;
  p90: number;
  p95: number;
  p99: number;
  max: number;
}

export const QUANTILES = {
  p5: 0.05,
  p25: 0.25,
  p50: 0.5,
  p75: 0.75,
  p90: 0.9,
  p95: 0.95,
  p99: 0.99,
};

/** Undefined where there is no value. Sorts a copy. */
export function spreadOf(values: ArrayLike<number>): Spread | undefined {
  if (values.length === 0) return undefined;
  const sorted = Float64Array.from(values).sort();
  let sum = 0;
  for (const value of sorted) sum += value;
  const at = (q: number) => sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
  const { p5, p25, p50, p75, p90, p95, p99 } = QUANTILES;
  return {
    mean: sum / sorted.length,
    p5: at(p5),
    p25: at(p25),
    p50: at(p50),
    p75: at(p75),
    p90: at(p90),
    p95: at(p95),
    p99: at(p99),
    max: sorted[sorted.length - 1],
  };
}
