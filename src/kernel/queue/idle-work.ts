/**
 * Requests that nobody waits for (batches, flexible tiers): they run where nothing else does, and prompts
 * that begin alike run one after the other on one worker, so that what they share is computed once.
 *
 *   a worker is idle    no other request runs there, and none waits anywhere
 *   one prompt a time   the next is sent when the one before it has said its first token: then its prefix
 *                       is in cache, and whoever comes meanwhile waits for one prompt at most
 *   next on a worker    of those that are at home there the one that shares most with its last one;
 *                       after RUN_US with prompts that begin alike, the oldest
 *
 * A request is at home where it would compute at most a tenth of its prompt more than at its best place.
 * It waits for that place while that is alive, but no longer than AWAY_US where others are idle.
 */
import type { RequestId, WorkerId } from '../../model/ids.ts';
import { wordsOf } from '../index/descent.ts';
import { obstacle } from '../route/filter.ts';
import { sharedBlocks } from '../underway.ts';
import type { WorkerState, Workers } from '../workers.ts';
import { type Waiter, Waiting } from './waiting.ts';

/** What a worker was given last, two words a block, and since when all it was given began alike. */
interface Last {
  readonly words: Int32Array;
  readonly sinceUs: number;
}

export interface Turn {
  waiter: Waiter;
  worker: WorkerId;
}

const HOME_SHARE = 0.1;
const RUN_US = 60_000_000;
const AWAY_US = 60_000_000;
/** So many of those that wait are looked at for a turn, the oldest. */
const LOOK_MAX = 512;

export class IdleWork {
  readonly #waiting: Waiting;
  readonly #workers: Workers;
  readonly #last = new Map<WorkerId, Last>();

  constructor(workers: Workers, limits: { requestsMax: number; waitUsMax: number }) {
    this.#workers = workers;
    this.#waiting = new Waiting(limits);
  }

  get size(): number {
    return this.#waiting.size;
  }

  push(waiter: Waiter): 'taken' | 'full' {
    return this.#waiting.push(waiter);
  }

  remove(request: RequestId): boolean {
    return this.#waiting.remove(request);
  }

  takeExpired(nowUs: number): Waiter[] {
    return this.#waiting.takeExpired(nowUs);
  }

  nextDeadlineUs(): number | undefined {
    return this.#waiting.nextDeadlineUs();
  }

  /** When one need wait for its home no longer; undefined where that is past for all. */
  nextAwayUs(nowUs: number): number | undefined {
    // They came one after the other.
    for (const { arrivedUs } of this.#waiting.inOrder()) {
      if (arrivedUs + AWAY_US > nowUs) return arrivedUs + AWAY_US;
    }
    return undefined;
  }

  /** Who runs next, and where; undefined while no worker is idle, or none is the place for anybody. */
  next(nowUs: number): Turn | undefined {
    if (this.size === 0) return undefined;
    const idle = [...this.#workers.values()].filter(isIdle);
    if (idle.length === 0) return undefined;
    idle.sort((a, b) => a.load.idleRequests - b.load.idleRequests);
    const oldest = this.#waiting.inOrder().slice(0, LOOK_MAX);
    for (const state of idle) {
      const waiter = this.#pick(nowUs, state, oldest);
      if (waiter !== undefined) return { waiter, worker: state.worker.id };
    }
    return undefined;
  }

  /** It was given its turn. */
  placed(nowUs: number, { waiter, worker }: Turn): void {
    this.remove(waiter.request.id);
    const words = wordsOf(waiter.request.hashes);
    const last = this.#last.get(worker);
    const goesOn = last !== undefined && 4 * sharedBlocks(last.words, words, 0) >= words.length;
    this.#last.set(worker, { words, sinceUs: goesOn ? last.sinceUs : nowUs });
  }

  workerLeft(worker: WorkerId): void {
    this.#last.delete(worker);
  }

  #pick(nowUs: number, state: WorkerState, oldest: readonly Waiter[]): Waiter | undefined {
    const { id } = state.worker;
    const last = this.#last.get(id);
    const isOver = last !== undefined && nowUs - last.sinceUs > RUN_US;
    let best: Waiter | undefined;
    let most = -1;
    for (const waiter of oldest) {
      const { request, excluded } = waiter;
      if (excluded.has(id) && !this.#isLastHope(waiter)) continue;
      if (!state.worker.models.includes(request.model)) continue;
      if (obstacle(request, state) !== undefined) continue;
      const here = last === undefined ? 0 : sharedBlocks(last.words, wordsOf(request.hashes), 0);
      if (here <= most || !this.#isHome(nowUs, waiter, here)) continue;
      // The oldest that may: whoever shares more came later.
      if (isOver) return waiter;
      best = waiter;
      most = here;
    }
    return best;
  }

  /** `here`: leading blocks it shares with the last one there. */
  #isHome(nowUs: number, { request, arrivedUs }: Waiter, here: number): boolean {
    const words = wordsOf(request.hashes);
    const spare = Math.floor((words.length / 2) * HOME_SHARE);
    for (const state of this.#workers.serving(request.model)) {
      const last = this.#last.get(state.worker.id);
      if (last === undefined || sharedBlocks(last.words, words, here + spare) <= here + spare) {
        continue;
      }
      const isBusy = state.load.requests > 0 || obstacle(request, state) !== undefined;
      if (!isBusy || nowUs - arrivedUs < AWAY_US) return false;
    }
    return true;
  }

  /** Every worker of its model failed it. */
  #isLastHope({ request, excluded }: Waiter): boolean {
    return this.#workers.serving(request.model).every(({ worker }) => excluded.has(worker.id));
  }
}

function isIdle({ worker, load, healthy, draining }: WorkerState): boolean {
  const isFree = load.requests === 0 && load.idlePrompts === 0;
  return healthy && !draining && isFree && load.idleRequests < worker.slots;
}
