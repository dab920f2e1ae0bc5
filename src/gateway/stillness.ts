/**
 * Answers that will never come although their connection stands and their engine is well: it says itself
 * that it runs nothing. A firewall that forgot a flow, or a proxy that lost its other side, leaves such
 * half-open connections, of which no health check on another connection knows.
 */
import type { Clock, Engine } from '../ports.ts';

/** Before that it may be in its first step, or be loading what the prompt refers to: vLLM tells of neither. */
const SILENT_US_MIN = 90_000_000;
/** So long it runs nothing, as often as it is asked. */
const IDLE_US_MIN = 5_000_000;
const ASK_US = 1_500_000;
/** What it said longer ago than this says nothing of now. */
const STALE_US = 4 * ASK_US;

export class Stillness {
  readonly #engine: Pick<Engine, 'report'>;
  readonly #clock: Clock;
  #askedUs = Number.NEGATIVE_INFINITY;
  #isAsking = false;
  #idleSinceUs: number | undefined;

  constructor(engine: Pick<Engine, 'report'>, clock: Clock) {
    this.#engine = engine;
    this.#clock = clock;
  }

  /** Whether an answer that was silent for so long is lost; to be asked again and again meanwhile. */
  isLost(silentUs: number): boolean {
    if (silentUs < SILENT_US_MIN) return false;
    const nowUs = this.#clock.nowUs();
    if (nowUs - this.#askedUs > STALE_US) this.#idleSinceUs = undefined;
    if (!this.#isAsking && nowUs - this.#askedUs >= ASK_US) void this.#ask(nowUs);
    return this.#idleSinceUs !== undefined && nowUs - this.#idleSinceUs >= IDLE_US_MIN;
  }

  async #ask(nowUs: number): Promise<void> {
    this.#isAsking = true;
    this.#askedUs = nowUs;
    // Who does not tell what it runs may run it.
    const report = await this.#engine.report().catch(() => undefined);
    this.#isAsking = false;
    const isIdle = report?.countsAll === true && report.running + report.waiting === 0;
    this.#idleSinceUs = isIdle ? (this.#idleSinceUs ?? nowUs) : undefined;
  }
}
