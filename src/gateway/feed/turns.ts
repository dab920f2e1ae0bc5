/**
 * Who works next: sources with news take turns, a batch each, and all of them together get at most a
 * slice of time in one turn of the event loop, so that requests pass in between.
 */
import type { Clock } from '../../ports.ts';

export interface FeedWork {
  /** Does one piece; false when none is left. */
  work(): boolean;
}

export class FeedTurns {
  readonly #clock: Clock;
  readonly #sliceUs: number;
  readonly #line: FeedWork[] = [];
  readonly #waiting = new Set<FeedWork>();
  /** In this turn of the event loop. */
  #spentUs = 0;
  #isWorking = false;
  #turn: Promise<void> | undefined;

  constructor(given: { clock: Clock; sliceUs: number }) {
    this.#clock = given.clock;
    this.#sliceUs = given.sliceUs;
  }

  /** There is work: it is done at once while the slice lasts. */
  ready(source: FeedWork): void {
    if (!this.#waiting.has(source)) {
      this.#waiting.add(source);
      this.#line.push(source);
    }
    if (!this.#isWorking) this.#run();
  }

  /** Runs `piece` out of turn, as soon as there is time. */
  async share(piece: () => void): Promise<void> {
    while (this.#spentUs >= this.#sliceUs) await this.#nextTurn();
    this.#spend(piece);
  }

  #run(): void {
    this.#isWorking = true;
    while (this.#spentUs < this.#sliceUs) {
      const source = this.#line.shift();
      if (source === undefined) break;
      this.#spend(() => {
        if (source.work()) this.#line.push(source);
        else this.#waiting.delete(source);
      });
    }
    this.#isWorking = false;
  }

  #spend(piece: () => void): void {
    const startUs = this.#clock.nowUs();
    piece();
    this.#spentUs += this.#clock.nowUs() - startUs;
    if (this.#spentUs > 0) void this.#nextTurn();
  }

  /** When the event loop has turned, there is a new slice. */
  #nextTurn(): Promise<void> {
    this.#turn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#turn = undefined;
        this.#spentUs = 0;
        resolve();
        if (!this.#isWorking) this.#run();
      });
    });
    return this.#turn;
  }
}
