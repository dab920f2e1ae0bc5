/**
 * The oracle of KV lifetime: whose thread returns last leaves first (Bélády, IBM Systems Journal 1966,
 * on whole threads). It knows when each thread that is away sends its next turn, and nothing of what
 * the fleet will do with it then.
 */
import { must } from '../base/assert.ts';
import type { ChainCache } from './chain-cache.ts';

interface Away {
  path: Int32Array;
  /** The cache of the worker where it ran last. */
  cache: ChainCache;
  returnsUs: () => number;
}

export class Belady {
  readonly #away = new Map<string, Away>();
  /** Of a cache: what threads left there; of one that went on from elsewhere, each of its ways. */
  readonly #left = new Map<ChainCache, Map<string, Int32Array>>();
  /** Of a cache: what was told to leave first, and may be there still. */
  readonly #leaving = new Map<ChainCache, Int32Array[]>();
  #ways = 0;

  constructor(caches: readonly ChainCache[]) {
    for (const cache of caches) {
      this.#left.set(cache, new Map());
      cache.orderer = (missing) => this.#order(cache, missing);
    }
  }

  /** A request of the thread is on its way to the worker of that cache. */
  began(thread: string, cache: ChainCache, path: Int32Array): void {
    this.#away.delete(thread);
    const left = this.#leftIn(cache);
    const before = left.get(thread);
    left.delete(thread);
    if (before === undefined || before[before.length - 1] === path[before.length - 1]) return;
    left.set(`${thread} ${this.#ways++}`, before);
  }

  ended(thread: string, away: Away): void {
    this.#away.set(thread, away);
    this.#leftIn(away.cache).set(thread, away.path);
  }

  #order(cache: ChainCache, missing: number): void {
    // What was chosen before need not be the last to return now.
    for (const path of this.#leaving.get(cache) ?? []) cache.stand(path, 'common');
    const left = this.#leftIn(cache);
    const ranked: { thread: string; path: Int32Array; returnsUs: number }[] = [];
    for (const [thread, path] of left) {
      const away = this.#away.get(thread);
      const returnsUs = away?.cache === cache ? away.returnsUs() : Number.POSITIVE_INFINITY;
      ranked.push({ thread, path, returnsUs });
    }
    ranked.sort((a, b) => b.returnsUs - a.returnsUs);
    const leaving: Int32Array[] = [];
    let room = 0;
    for (const { thread, path } of ranked) {
      if (room >= missing) break;
      const blocks = cache.stand(path, 'first');
      room += blocks;
      if (blocks > 0) leaving.push(path);
      // Its blocks may be numbers of another session soon.
      else left.delete(thread);
    }
    this.#leaving.set(cache, leaving);
  }

  #leftIn(cache: ChainCache): Map<string, Int32Array> {
    return must(this.#left.get(cache), 'each cache was there from the begin');
  }
}
