/**
 * Answers that came in one piece although they took long: something between their engine and us holds
 * streams back (a proxy that buffers). Their first token says nothing of their prompt then, and the time
 * between two tokens nothing of their engine.
 */
import type { WorkerId } from '../../model/ids.ts';
import type { Booking, Moment } from '../book.ts';

/** Shorter answers may well come at once. */
const TOKENS_MIN = 32;
const WAIT_US_MIN = 500_000;
/** No engine takes less for a token of one answer. */
const TOKEN_US_MIN = 150;
/** One may have waited for us: so many in a row have not. */
const IN_ROW = 3;

/** Undefined where an answer does not tell. */
export function isHeldBack(
  { first, dispatchedUs }: Pick<Booking, 'first' | 'dispatchedUs'>,
  { atUs }: Pick<Moment, 'atUs'>,
  outputTokens: number,
): boolean | undefined {
  if (first === undefined || outputTokens < TOKENS_MIN) return undefined;
  if (atUs - first.atUs >= outputTokens * TOKEN_US_MIN) return false;
  return first.atUs - dispatchedUs < WAIT_US_MIN ? undefined : true;
}

/** Whose answers come so. */
export class HeldBack {
  /** So many in a row, of those that tell. */
  readonly #inRow = new Map<WorkerId, number>();

  /** Whether all its answers do, and whether that is news. */
  saw(worker: WorkerId, held: boolean): { isSo: boolean; isNews: boolean } {
    const inRow = held ? (this.#inRow.get(worker) ?? 0) + 1 : 0;
    this.#inRow.set(worker, inRow);
    return { isSo: inRow >= IN_ROW, isNews: inRow === IN_ROW };
  }

  forget(worker: WorkerId): void {
    this.#inRow.delete(worker);
  }
}
