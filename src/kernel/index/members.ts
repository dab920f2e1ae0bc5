/**
 * Workers by small integers, for the sets of holders. A worker that is gone, or whose cache is empty,
 * loses its number at once, and with it all it held; its number is swept out of the blocks later, a
 * slice at a time, and then given to another.
 */
import type { WorkerId } from '../../model/ids.ts';
import type { Holdings } from './holdings.ts';

export class Members {
  readonly #holdings: Holdings;
  readonly #numbers = new Map<WorkerId, number>();
  /** By number. */
  readonly #workers: WorkerId[] = [];
  /** By number: 1 while a worker has it. */
  isAlive = new Uint8Array(16);
  #next = 0;
  readonly #free: number[] = [];
  /** Without a worker, but not yet swept out. */
  #gone: number[] = [];
  #hand = 0;
  /** Record places until the sweep is around, and places there were when it was last reckoned. */
  #placesLeft = 0;
  #placesSeen = 0;
  /** Holders → those of them who are alive; both are kept for as long as the sweep lasts. */
  readonly #cleaned = new Map<number, number>();

  constructor(holdings: Holdings) {
    this.#holdings = holdings;
  }

  numberOf(worker: WorkerId): number | undefined {
    return this.#numbers.get(worker);
  }

  /** Of a number that is alive. */
  workerOf(number: number): WorkerId {
    return this.#workers[number];
  }

  admit(worker: WorkerId): number {
    const known = this.#numbers.get(worker);
    if (known !== undefined) return known;
    const number = this.#free.pop() ?? this.#next++;
    if (number >= this.isAlive.length) {
      const grown = new Uint8Array(2 * number);
      grown.set(this.isAlive);
      this.isAlive = grown;
    }
    this.#holdings.makeRoomFor(number);
    this.isAlive[number] = 1;
    this.#numbers.set(worker, number);
    this.#workers[number] = worker;
    return number;
  }

  /** Whether blocks may still name workers that are gone. */
  get isSweeping(): boolean {
    return this.#gone.length > 0;
  }

  /** From now on the worker holds nothing. */
  retire(worker: WorkerId): void {
    const number = this.#numbers.get(worker);
    if (number === undefined) return;
    this.#numbers.delete(worker);
    this.isAlive[number] = 0;
    if (this.#holdings.blocks[number] === 0) {
      this.#free.push(number);
      return;
    }
    this.#gone.push(number);
    this.#forgetCleaned();
    this.#placesSeen = this.#holdings.table.places;
    this.#placesLeft = this.#placesSeen;
  }

  /** Goes over some more places of blocks, if anybody is to be swept out. */
  sweep(places: number): void {
    if (this.#gone.length === 0) return;
    const { table } = this.#holdings;
    this.#placesLeft += table.places - this.#placesSeen;
    this.#placesSeen = table.places;
    const count = Math.min(places, this.#placesLeft);
    for (let i = 0; i < count; i++) {
      this.#hand = table.after(this.#hand);
      const holders = this.#holdings.holdersOf(this.#hand);
      if (holders === 0) continue;
      const alive = this.#alive(holders);
      if (alive !== holders) this.#holdings.narrow(this.#hand, alive);
    }
    this.#placesLeft -= count;
    if (this.#placesLeft > 0) return;
    this.#free.push(...this.#gone);
    this.#gone = [];
    this.#forgetCleaned();
  }

  #alive(holders: number): number {
    const known = this.#cleaned.get(holders);
    if (known !== undefined) return known;
    const { sets } = this.#holdings;
    const alive = sets.among(holders, this.isAlive);
    sets.retain(holders, 1);
    sets.retain(alive, 1);
    this.#cleaned.set(holders, alive);
    return alive;
  }

  #forgetCleaned(): void {
    const { sets } = this.#holdings;
    for (const [holders, alive] of this.#cleaned) {
      sets.release(holders, 1);
      sets.release(alive, 1);
    }
    this.#cleaned.clear();
  }
}
