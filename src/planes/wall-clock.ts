import type { Cancel, Clock } from '../ports.ts';

/** The machine's clock. */
export class WallClock implements Clock {
  readonly #startMs = performance.now();

  nowUs(): number {
    return Math.floor((performance.now() - this.#startMs) * 1000);
  }

  wallMs(): number {
    return Date.now();
  }

  after(us: number, run: () => void): Cancel {
    const timer = setTimeout(run, us / 1000);
    return () => clearTimeout(timer);
  }
}
