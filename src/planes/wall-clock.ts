import type { Cancel, Clock } from '../ports.ts';

/** The machine's clock. */
export class WallClock implements Clock {
  readonly #startNs = process.hrtime.bigint();

  nowUs(): number {
    return Number((process.hrtime.bigint() - this.#startNs) / 1000n);
  }

  wallMs(): number {
    return Date.now();
  }

  after(us: number, run: () => void): Cancel {
    const timer = setTimeout(run, us / 1000);
    return () => clearTimeout(timer);
  }
}
