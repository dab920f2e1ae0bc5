/** The last receipts, each readable by its own tenant. */
import { Lru } from '../base/lru.ts';
import type { Receipt } from '../model/receipt.ts';
import type { Caller } from './access.ts';

export class Receipts {
  readonly #kept: Lru<string, Receipt>;

  constructor(receiptsMax: number) {
    this.#kept = new Lru(receiptsMax);
  }

  keep(receipt: Receipt): void {
    this.#kept.set(receipt.id, receipt);
  }

  /** Undefined where there is none, and where it is another tenant's. */
  find(caller: Caller, id: string): Receipt | undefined {
    const receipt = this.#kept.peek(id);
    return receipt?.tenant === caller.tenant ? receipt : undefined;
  }
}
