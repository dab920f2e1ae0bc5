/**
 * How many requests may be tried again. All that run when a worker dies may go elsewhere at once, but in
 * the long run only a share of all requests may: else retries are what keeps a sick fleet down.
 *
 * What was brought on before it failed is no retry. A leaking bucket: each retry pours in one, each request that arrives lets out a share of one.
 */
const SHARE = 0.2;
/** It holds so many, and one for each request that runs. */
const RETRIES_MIN = 100;

export class RetryBudget {
  #spent = 0;

  arrived(): void {
    this.#spent = Math.max(0, this.#spent - SHARE);
  }

  /** Whether one more may be tried again, beside so many that run; it is counted then. */
  take(running: number): boolean {
    if (this.#spent + 1 > RETRIES_MIN + running) return false;
    this.#spent++;
    return true;
  }
}
