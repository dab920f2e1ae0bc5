/**
 * Starts workers anew, one after the other, while the others serve:
 *
 *   drain ──nothing runs there, or its time is over──► move the rest ──► restart ──► the next one
 *
 * What runs there ends there, or goes on elsewhere from where it is; where there is no elsewhere it waits
 * for the new worker. So no request fails, whichever of them takes too long.
 */
import { asGatewayError, GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Sink } from '../ports.ts';
import type { Draining } from './draining.ts';
import type { Host } from './host.ts';

export interface RollingParts {
  host: Host;
  draining: Draining;
  sink: Sink;
  /** Resolves when another worker has taken its place. */
  restart: (worker: WorkerId) => Promise<void>;
}

/** What does not go elsewhere within is broken off with its worker. */
const MOVED_US_MAX = 2_000_000;

export class Rolling {
  readonly #parts: RollingParts;
  #underWay: Promise<WorkerId[]> | undefined;

  constructor(parts: RollingParts) {
    this.#parts = parts;
  }

  /**
   * All that are there now; resolves to them when the last is back. Asked again meanwhile it is the same
   * restart. Throws where a new worker does not come up; those after it are left as they are.
   */
  restartAll(): Promise<WorkerId[]> {
    this.#underWay ??= this.#all().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  async #all(): Promise<WorkerId[]> {
    const { host, draining, sink } = this.#parts;
    const restarted: WorkerId[] = [];
    for (const { id } of host.state().workers) {
      // It died meanwhile: whoever restarts those has done so.
      if (!draining.isThere(id)) continue;
      sink.note({ kind: 'warning', sentence: `${id} is drained to be started anew` });
      await this.#one(id);
      restarted.push(id);
    }
    return restarted;
  }

  async #one(worker: WorkerId): Promise<void> {
    const { host, draining, restart } = this.#parts;
    await draining.free(worker, { movedUsMax: MOVED_US_MAX });
    if (!draining.isThere(worker)) return;
    try {
      await restart(worker);
    } catch (thrown) {
      // Where it still runs it serves on.
      if (draining.isThere(worker)) host.tell({ kind: 'drainChanged', worker, draining: false });
      const { code, message } = asGatewayError(thrown);
      const why = code === 'internal' ? (thrown as Error).message : message;
      throw new GatewayError('engine_failed', `${worker} does not come back: ${why}`);
    }
  }
}
