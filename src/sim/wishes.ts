/**
 * Carries out what the kernel wishes of the KV in modelled engines, as workers do it: what is to be kept
 * leaves last until its time is over, what is let go first; demoted KV goes down at once, and what is
 * fetched takes its time on the way up.
 */
import { Lru } from '../base/lru.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Fact, KeepOrder } from '../model/kernel-io.ts';
import type { KvAnswer } from '../model/kv-control.ts';
import type { BlockSpace } from './block-space.ts';
import type { ChainCache } from './chain-cache.ts';
import type { ModelledEngine } from './modelled-engine.ts';

/** Of prompts that are forgotten no wish is carried out. */
const PROMPTS_MAX = 8192;

export interface WishesParts {
  space: BlockSpace;
  blockTokens: number;
  /** Whose cache and engine; its changes are published when they are done. */
  at: (worker: WorkerId) => { cache: ChainCache; engine: ModelledEngine<unknown> };
  nowUs: () => number;
  after: (us: number, run: () => void) => void;
  changed: (worker: WorkerId) => void;
  tell: (fact: Fact) => void;
}

export class Wishes {
  readonly #parts: WishesParts;
  /** Prompts that were sent, by thread and last block. */
  readonly #sent = new Lru<string, Int32Array>(PROMPTS_MAX);

  /** The last wish about each. */
  readonly #last = new WeakMap<Int32Array, number>();

  constructor(parts: WishesParts) {
    this.#parts = parts;
  }

  sent(thread: string, path: Int32Array): void {
    if (path.length === 0) return;
    this.#sent.set(`${thread} ${this.#parts.space.hash(path[path.length - 1])}`, path);
  }

  carryOut(order: KeepOrder): void {
    const { at, nowUs, changed } = this.#parts;
    const own = this.#pathOf(order);
    const { cache, engine } = at(order.worker);
    if (own === undefined) return this.#answer(order, 'missing', 0);
    this.#last.set(own, order.move);
    const { wish } = order;
    if (wish === 'retain') {
      const blocks = cache.stand(own, 'last');
      // Whoever used it since has made it like all others, or something else was wished.
      this.#parts.after(order.ttlUs ?? 0, () => {
        if (this.#last.get(own) === order.move) cache.stand(own, 'common');
      });
      this.#answer(order, blocks > 0 ? 'accepted' : 'missing', blocks);
    } else if (wish === 'release') {
      const blocks = cache.stand(own, 'first');
      this.#answer(order, blocks > 0 ? 'accepted' : 'deferred', blocks);
    } else if (wish === 'demote') {
      const answer = cache.hasHost ? 'accepted' : 'rejected';
      this.#answer(order, answer, cache.demote(own));
    } else {
      const blocks = cache.fetchable(own);
      if (blocks === 0) return this.#answer(order, 'deferred', 0);
      const readyUs = engine.fetches(nowUs(), blocks);
      this.#parts.after(readyUs - nowUs(), () => {
        const fetched = cache.fetch(nowUs(), own);
        this.#answer(order, fetched > 0 ? 'accepted' : 'deferred', fetched);
        changed(order.worker);
      });
    }
    changed(order.worker);
  }

  /** Numbers of blocks are another session's once nobody has them; their hashes tell. */
  #pathOf({ thread, hashes }: KeepOrder): Int32Array | undefined {
    const last = hashes.at(-1);
    const path = last === undefined ? undefined : this.#sent.peek(`${thread} ${last}`);
    if (path === undefined) return undefined;
    return this.#parts.space.hash(path[path.length - 1]) === last ? path : undefined;
  }

  #answer({ move }: KeepOrder, answer: KvAnswer, blocks: number): void {
    const { tell, blockTokens } = this.#parts;
    tell({ kind: 'kept', move, answer, tokens: blocks * blockTokens, tookUs: 0 });
  }
}
