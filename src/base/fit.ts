/**
 * A linear model `y = w · x` with weights that are never negative, learned one observation at a time: a
 * Kalman filter on the weights. Errors count relative to what was predicted, since big things vary more
 * than small ones; one far off what was expected counts less (Huber), so that a single preempted step
 * does not bend the curve. Weights drift a little, so it follows a machine whose speed changes, and no
 * direction ever becomes less sure than the prior was.
 */
/** Of the mean prior weight; features are scaled so that weights compare. */
const LEAST_SHARE = 0.1;

export class LinearFit {
  readonly #weights: Float64Array;
  /** Covariance of the weights, in units of the observations' own variance. */
  readonly #spread: Float64Array;
  /** Its diagonal at the beginning. */
  readonly #priorSpread: Float64Array;
  readonly #settings: FitSettings;
  /** Running mean of the absolute relative error. */
  #error = 1;
  count = 0;

  constructor(prior: readonly number[], settings: FitSettings) {
    const n = prior.length;
    this.#settings = settings;
    this.#weights = Float64Array.from(prior);
    // A prior of nothing is unsure too: it may have been too small to measure.
    const least = (LEAST_SHARE * prior.reduce((sum, w) => sum + w, 0)) / n;
    this.#priorSpread = Float64Array.from(
      prior,
      (w) => (settings.unsureness * Math.max(w, least)) ** 2 / settings.noise ** 2,
    );
    this.#spread = new Float64Array(n * n);
    for (let i = 0; i < n; i++) this.#spread[i * n + i] = this.#priorSpread[i];
  }

  weight(index: number): number {
    return this.#weights[index];
  }

  predict(x: readonly number[]): number {
    let y = 0;
    for (let i = 0; i < x.length; i++) y += this.#weights[i] * x[i];
    return y;
  }

  /** How far `predict(x)` may be off: one standard deviation as a share of it. */
  deviation(x: readonly number[]): number {
    const n = x.length;
    let variance = 0;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) variance += x[i] * this.#spread[i * n + j] * x[j];
    }
    const predicted = Math.max(this.predict(x), Number.EPSILON);
    return (this.#settings.noise * Math.sqrt(Math.max(0, variance))) / predicted;
  }

  observe(features: readonly number[], observed: number): void {
    const scale = Math.max(this.predict(features), Number.EPSILON);
    const x = features.map((feature) => feature / scale);
    const n = x.length;
    const gain = new Float64Array(n);
    let variance = 1;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) gain[i] += this.#spread[i * n + j] * x[j];
      variance += gain[i] * x[i];
    }
    const error = observed / scale - 1;
    const bound = 3 * Math.max(this.#error, this.#settings.noise);
    const bent = Math.max(-bound, Math.min(bound, error));
    this.#error += 0.05 * (Math.abs(bent) - this.#error);
    for (let i = 0; i < n; i++) {
      this.#weights[i] = Math.max(0, this.#weights[i] + (gain[i] / variance) * bent);
      for (let j = 0; j < n; j++) this.#spread[i * n + j] -= (gain[i] * gain[j]) / variance;
    }
    this.#drift();
    this.count++;
  }

  #drift(): void {
    const n = this.#weights.length;
    for (let i = 0; i < n; i++) {
      const grown = this.#spread[i * n + i] + this.#settings.drift * this.#priorSpread[i];
      this.#spread[i * n + i] = Math.min(grown, this.#priorSpread[i]);
    }
  }
}

export interface FitSettings {
  /** How far the prior weights may be off, as a share of themselves. */
  unsureness: number;
  /** How far a single observation usually is from the truth, as a share of it. */
  noise: number;
  /** Share of the prior's spread that comes back with each observation. */
  drift: number;
}
