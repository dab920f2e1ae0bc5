/** Chains that go to another engine or come from one: locked until they are over. */
import { assert, must } from '../../base/assert.ts';
import type { Handle } from '../../model/step.ts';
import type { Arrival } from './loads.ts';
import type { Block } from './tree.ts';

export type TransferId = string;

export interface Transfer {
  chain: Block[];
  /** Blocks whose bytes are on their way to their places. */
  arrivals: Arrival[];
  /** Blocks of it are gone: nothing can be added. */
  broken: boolean;
}

export class Transfers {
  readonly #open = new Map<TransferId, Transfer>();

  begin(id: TransferId, chain: Block[]): void {
    assert(!this.#open.has(id), 'a transfer begins once');
    this.#open.set(id, { chain, arrivals: [], broken: false });
  }

  get(id: TransferId): Transfer {
    return must(this.#open.get(id), 'a transfer has begun');
  }

  /** Returns what it held, which is its caller's to let go of. */
  end(id: TransferId): Block[] {
    const { chain, arrivals } = this.get(id);
    assert(arrivals.length === 0, 'a transfer ends when all has come');
    this.#open.delete(id);
    return chain;
  }

  /** Blocks are gone: who holds one of them holds nothing from now on. Returns what was held. */
  letGo(doomed: ReadonlySet<Block>): Block[][] {
    const freed: Block[][] = [];
    for (const transfer of this.#open.values()) {
      if (!transfer.chain.some((block) => doomed.has(block))) continue;
      freed.push(transfer.chain);
      transfer.chain = [];
      transfer.broken = true;
    }
    return freed;
  }

  /** Places of blocks that were forgotten on their way. */
  *orphanedPlaces(): Iterable<Handle> {
    for (const { arrivals } of this.#open.values()) {
      for (const { block, handle } of arrivals) if (block.host !== handle) yield handle;
    }
  }
}
