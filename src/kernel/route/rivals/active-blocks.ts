/** Blocks of the requests a worker has now, each counted once however many requests share it. */
import type { RequestId } from '../../../model/ids.ts';
import type { PromptChain } from '../../shadow/prompt-cache.ts';

export class ActiveBlocks {
  readonly #users = new Map<number, number>();
  readonly #requests = new Map<RequestId, { chain: PromptChain; tail: number }>();
  /** Blocks that are no request's full prompt blocks: partial ones, which nobody shares. */
  #tails = 0;

  /** Were the request added. */
  with(chain: PromptChain, tail: number): number {
    return this.#users.size + this.#tails + chain.length - this.#shared(chain) + tail;
  }

  add(request: RequestId, chain: PromptChain, tail: number): void {
    this.#requests.set(request, { chain, tail });
    this.#tails += tail;
    for (const block of chain) this.#users.set(block, (this.#users.get(block) ?? 0) + 1);
  }

  remove(request: RequestId): void {
    const active = this.#requests.get(request);
    if (active === undefined) return;
    this.#requests.delete(request);
    this.#tails -= active.tail;
    for (const block of active.chain) {
      const users = this.#users.get(block) ?? 0;
      if (users > 1) this.#users.set(block, users - 1);
      else this.#users.delete(block);
    }
  }

  /** Hashes are chained, so what is shared is a beginning. */
  #shared(chain: PromptChain): number {
    let [shared, most] = [0, chain.length];
    while (shared < most) {
      const middle = (shared + most + 1) >> 1;
      if (this.#users.has(chain[middle - 1])) shared = middle;
      else most = middle - 1;
    }
    return shared;
  }
}
