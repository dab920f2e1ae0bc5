/** What a router without KV events believes its workers hold: the prompts it sent there, as an engine would keep them. */
import type { WorkerId } from '../../../model/ids.ts';
import type { Arrival } from '../../../model/kernel-io.ts';
import { chainOf, PromptCache, type PromptChain } from '../../shadow/prompt-cache.ts';

/** A look-up compares with so many prompts of a worker. */
const PROMPTS_MAX = 512;
/** Prompts are kept whole: memory for so many times the distinct blocks. */
const WORDS_PER_BLOCK = 4;

export class Placements {
  readonly #caches = new Map<WorkerId, PromptCache>();
  #last: { request: Arrival; chain: PromptChain } | undefined;

  /** Leading prompt tokens the worker is believed to hold. */
  matchedTokens(request: Arrival, worker: WorkerId): number {
    const blocks = this.#caches.get(worker)?.depth(this.#chain(request)) ?? 0;
    return blocks * request.blockTokens;
  }

  /** Tokens it is believed to hold in all. */
  heldTokens(worker: WorkerId, blockTokens: number): number {
    return (this.#caches.get(worker)?.blocks ?? 0) * blockTokens;
  }

  /** `tokensMax`: the worker's own index has room for so many. */
  placed(request: Arrival, worker: WorkerId, tokensMax: number): void {
    const blocksMax = Math.max(1, Math.floor(tokensMax / request.blockTokens));
    const limits = { blocksMax, promptsMax: PROMPTS_MAX, wordsMax: WORDS_PER_BLOCK * blocksMax };
    let cache = this.#caches.get(worker);
    if (cache === undefined) this.#caches.set(worker, (cache = new PromptCache(limits)));
    else cache.resize(limits);
    cache.hold(this.#chain(request));
  }

  forget(worker: WorkerId): void {
    this.#caches.delete(worker);
  }

  /** A choice asks for each worker, and once more when the request is placed. */
  #chain(request: Arrival): PromptChain {
    if (this.#last?.request !== request) this.#last = { request, chain: chainOf(request.hashes) };
    return this.#last.chain;
  }
}
