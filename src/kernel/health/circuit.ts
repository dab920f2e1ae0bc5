/**
 * Whether one worker is sent requests, by what became of those it had.
 *
 *             most fail                  after a while: probe
 *   closed ────────────────► open ─────────────────────────────► asked
 *     ▲                        ▲  ◄────────────────────────────────┤ │
 *     │                        │          it does not answer       │ │ it answers
 *     │                        └─────────── it fails ──────────────┼─▼
 *     └──────────────── it is answered ─────────────────────── half open: one request at a time
 *
 * Each time it opens again it stays so for twice as long.
 */

/** So many requests are looked back at, by a mean that fades. */
const MEMORY = 10;
/** Fewer say nothing, and of them it opens where more than this share failed. */
const OUTCOMES_MIN = 3;
const FAILED_SHARE = 0.5;
const OPEN_US_MIN = 1_000_000;
const OPEN_US_MAX = 60_000_000;
/** Answers in a row after which its past is forgotten. */
const FORGIVEN = 20;

export type CircuitState = 'closed' | 'open' | 'asked' | 'halfOpen';

export class Circuit {
  #state: CircuitState = 'closed';
  #failedShare = 0;
  #outcomes = 0;
  #answersInRow = 0;
  #openUs = OPEN_US_MIN;
  #untilUs = 0;

  get state(): CircuitState {
    return this.#state;
  }

  /** When it is to be asked; undefined: nothing is awaited. */
  get nextUs(): number | undefined {
    return this.#state === 'open' ? this.#untilUs : undefined;
  }

  /** `mayOpen`: enough others stay. */
  failed(nowUs: number, mayOpen = true): void {
    this.#count(1);
    this.#answersInRow = 0;
    const isBroken = this.#outcomes >= OUTCOMES_MIN && this.#failedShare > FAILED_SHARE;
    const opens = this.#state === 'closed' && isBroken && mayOpen;
    if (this.#state === 'halfOpen' || opens) this.#open(nowUs);
  }

  answered(): void {
    this.#count(0);
    // What was sent before it opened may still end well.
    if (this.#state === 'halfOpen') this.#close();
    if (++this.#answersInRow >= FORGIVEN) this.#openUs = OPEN_US_MIN;
  }

  /** Whether it is to be asked now; then it is taken as asked. */
  isDue(nowUs: number): boolean {
    if (this.#state !== 'open' || nowUs < this.#untilUs) return false;
    this.#state = 'asked';
    return true;
  }

  probed(nowUs: number, ok: boolean): void {
    if (this.#state !== 'asked') return;
    if (ok) this.#state = 'halfOpen';
    else this.#open(nowUs);
  }

  #open(nowUs: number): void {
    this.#state = 'open';
    this.#untilUs = nowUs + this.#openUs;
    this.#openUs = Math.min(OPEN_US_MAX, 2 * this.#openUs);
  }

  #close(): void {
    this.#state = 'closed';
    this.#failedShare = 0;
    this.#outcomes = 0;
  }

  #count(failed: 0 | 1): void {
    this.#outcomes++;
    this.#failedShare += (failed - this.#failedShare) / Math.min(this.#outcomes, MEMORY);
  }
}
