/**
 * The last receipts, each readable by its own tenant. Those of requests that run are kept as they are;
 * a closed one as the JSON it will be read as, so that its size is known and many candidates do not eat
 * the memory.
 */
import type { KvAction, Receipt } from '../model/receipt.ts';
import type { Caller } from './access.ts';

interface Closed {
  tenant: string;
  thread: string | null;
  json: Buffer;
}

/** More say nothing new about one turn. */
const ACTIONS_MAX = 8;

/** What a map's entry, a buffer's head and an id cost, about. */
const ENTRY_BYTES = 300;

export class Receipts {
  readonly #limits: { receiptsMax: number; receiptsBytesMax: number };
  readonly #running = new Map<string, Receipt>();
  /** Oldest first. */
  readonly #closed = new Map<string, Closed>();
  /** Of the closed ones, with what it takes to find them. */
  #bytes = 0;

  constructor(limits: { receiptsMax: number; receiptsBytesMax: number }) {
    this.#limits = limits;
  }

  open(receipt: Receipt): void {
    this.#running.set(receipt.id, receipt);
  }

  /** It will not change any more. */
  close(receipt: Receipt): void {
    this.#running.delete(receipt.id);
    const json = Buffer.from(JSON.stringify(receipt));
    this.#closed.set(receipt.id, { tenant: receipt.tenant, thread: receipt.thread, json });
    this.#bytes += json.length + ENTRY_BYTES;
    this.#makeRoom();
  }

  /** What was done about its KV after its end; of a receipt that is gone nobody asks. */
  acted({ tenant, id }: { tenant: string; id: string }, action: KvAction): void {
    const closed = this.#closed.get(id);
    const receipt = this.#running.get(id) ?? (closed && read(closed));
    if (receipt === undefined || receipt.tenant !== tenant) return;
    if (receipt.kvActions.length >= ACTIONS_MAX) return;
    receipt.kvActions.push(action);
    if (closed === undefined) return;
    this.#bytes -= closed.json.length;
    closed.json = Buffer.from(JSON.stringify(receipt));
    this.#bytes += closed.json.length;
    this.#makeRoom();
  }

  /** Undefined where there is none, and where it is another tenant's. */
  find(caller: Caller, id: string): Receipt | undefined {
    const running = this.#running.get(id);
    if (running !== undefined) return running.tenant === caller.tenant ? running : undefined;
    const closed = this.#closed.get(id);
    return closed?.tenant === caller.tenant ? read(closed) : undefined;
  }

  /** The caller's newest, newest first; of one thread where it is named. */
  list(caller: Caller, { limit, thread }: { limit: number; thread: string | null }): Receipt[] {
    const wanted = (one: { tenant: string; thread: string | null }) =>
      one.tenant === caller.tenant && (thread === null || one.thread === thread);
    const found: Receipt[] = [];
    for (const one of [...this.#running.values()].reverse()) {
      if (found.length === limit) return found;
      if (wanted(one)) found.push(one);
    }
    for (const one of [...this.#closed.values()].reverse()) {
      if (found.length === limit) return found;
      if (wanted(one)) found.push(read(one));
    }
    return found;
  }

  #makeRoom(): void {
    const { receiptsMax, receiptsBytesMax } = this.#limits;
    for (const [id, oldest] of this.#closed) {
      if (this.#closed.size <= receiptsMax && this.#bytes <= receiptsBytesMax) break;
      this.#closed.delete(id);
      this.#bytes -= oldest.json.length + ENTRY_BYTES;
    }
  }
}

function read({ json }: Closed): Receipt {
  return JSON.parse(json.toString()) as Receipt;
}
