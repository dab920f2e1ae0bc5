/**
 * Frees workers of what runs on them: it ends there, or after a while goes on elsewhere from where it is;
 * what no engine can go on from ends there, however long that takes.
 */
import type { WorkerId } from '../model/ids.ts';
import type { Clock } from '../ports.ts';
import type { Host } from './host.ts';

/** So often a drained worker is looked at. */
const LOOK_US = 20_000;

export class Draining {
  readonly #host: Pick<Host, 'tell' | 'countOn' | 'state'>;
  readonly #clock: Clock;
  #drainUs: number;
  #closed = false;

  /** `drainUs`: what runs on a worker may end there within; then it goes elsewhere. */
  constructor(given: { host: Host; clock: Clock; drainUs: number }) {
    this.#host = given.host;
    this.#clock = given.clock;
    this.#drainUs = given.drainUs;
  }

  /** For workers that are to be freed from now on. */
  bound(limits: { drainUs: number }): void {
    this.#drainUs = limits.drainUs;
  }

  /** Resolves when nothing runs there any more; `movedUsMax`: or so long after the rest was to move. */
  async free(worker: WorkerId, { movedUsMax = Number.POSITIVE_INFINITY } = {}): Promise<void> {
    const host = this.#host;
    const clock = this.#clock;
    host.tell({ kind: 'drainChanged', worker, draining: true });
    if (await this.#isIdle(worker, clock.nowUs() + this.#drainUs)) return;
    if (!this.isThere(worker)) return;
    host.tell({ kind: 'drainChanged', worker, draining: true, moves: true });
    await this.#isIdle(worker, clock.nowUs() + movedUsMax);
  }

  /** Nobody is waited for any more. */
  close(): void {
    this.#closed = true;
  }

  isThere(worker: WorkerId): boolean {
    return this.#host.state().workers.some(({ id }) => id === worker);
  }

  /** Whether nothing runs there any more before its time is over. */
  async #isIdle(worker: WorkerId, untilUs: number): Promise<boolean> {
    for (;;) {
      if (this.#closed || this.#host.countOn(worker) === 0) return true;
      if (this.#clock.nowUs() >= untilUs) return false;
      await new Promise<void>((resolve) => void this.#clock.after(LOOK_US, resolve));
    }
  }
}
