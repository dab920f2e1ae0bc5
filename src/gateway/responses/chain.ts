/**
 * A chain: responses of which each continues another, as a tree, or a conversation with the responses
 * that were asked for in it. Forks share what is before them, and all of it lies in one file.
 *
 *   resp 1 ─ resp 2 ─ resp 3          history of 3: input 1, output 1, input 2, output 2, input 3, output 3
 *                 └─ resp 3′          the same up to output 2
 */
import { unreachable } from '../../base/assert.ts';
import { GatewayError } from '../../model/error.ts';
import type { Item } from '../../wire/responses-items.ts';
import type { ChainRecord, ConversationRecord, ResponseRecord } from './chain-record.ts';

export class Chain {
  /** What counts, in the order in which it came. */
  readonly #log: ChainRecord[] = [];
  /** Where in the log a response lies, by its id. */
  readonly #places = new Map<string, number>();
  /** Responses that others continue. */
  readonly #continued = new Set<string>();
  /** Of the conversation, by id, in their order: `number` counts all that were ever in it. */
  readonly #items = new Map<string, { number: number; item: Item }>();
  #said = 0;
  /** Of a response in the conversation: what had been said before it, as a count. */
  readonly #before = new Map<string, number>();
  #conversation: ConversationRecord | undefined;

  constructor(records: readonly ChainRecord[]) {
    for (const record of records) this.add(record);
  }

  add(record: ChainRecord): void {
    switch (record.kind) {
      case 'response':
        return this.#addResponse(record);
      case 'conversation':
        this.#conversation = record;
        return;
      case 'items':
        for (const item of record.items) this.#say(item);
        this.#log.push(record);
        return;
      case 'gone':
        return this.#remove(record.id);
      default:
        return unreachable(record);
    }
  }

  get conversation(): ConversationRecord | undefined {
    return this.#conversation;
  }

  /** Whether nothing is left that anybody could ask for. */
  get isEmpty(): boolean {
    return this.#conversation === undefined && this.#places.size === 0;
  }

  /** Whether a response, or an item of the conversation, is there to be deleted. */
  has(id: string): boolean {
    return this.#places.has(id) || this.#items.has(id);
  }

  response(id: string): ResponseRecord | undefined {
    const place = this.#places.get(id);
    return place === undefined ? undefined : (this.#log[place] as ResponseRecord);
  }

  /** Whether another response goes on from it already. */
  isContinued(id: string): boolean {
    return this.#continued.has(id);
  }

  /** The thread of the last response whose request had one. */
  lastThread(): string | undefined {
    const told = this.#log.filter((record) => record.kind === 'response');
    return told.findLast(({ thread }) => thread !== undefined)?.thread;
  }

  conversationItems(): Item[] {
    return Array.from(this.#items.values(), ({ item }) => item);
  }

  /** Of a response where one is named, and of the conversation. */
  item(id: string, responseId: string | undefined): Item | undefined {
    const record = responseId === undefined ? undefined : this.response(responseId);
    const own = record && itemsOf(record).find((item) => item.id === id);
    return own ?? this.#items.get(id)?.item;
  }

  /**
   * All that was said up to the end of a response, its output included. Throws
   * `previous_response_not_found` where it, or one that it continues, is kept no more.
   */
  historyOf(id: string): Item[] {
    const record = this.response(id);
    if (record === undefined) throw noSuchPrevious(id);
    return [...this.contextOf(record), ...itemsOf(record)];
  }

  /** All that was said before a response's own input. Throws as `historyOf` does. */
  contextOf({ response, previous, inConversation }: ResponseRecord): Item[] {
    if (inConversation) {
      const before = this.#before.get(response.id) ?? 0;
      const said = [...this.#items.values()].filter(({ number }) => number < before);
      return said.map(({ item }) => item);
    }
    const turns: Item[][] = [];
    for (let at = previous; at !== undefined; ) {
      const earlier = this.response(at);
      if (earlier === undefined) throw noSuchPrevious(at, response.id);
      turns.push(itemsOf(earlier));
      if (earlier.inConversation) turns.push(this.contextOf(earlier));
      at = earlier.inConversation ? undefined : earlier.previous;
    }
    return turns.reverse().flat();
  }

  /** Of which the same chain can be made, without the words of what was deleted or replaced. */
  records(): ChainRecord[] {
    const records: ChainRecord[] = this.#conversation === undefined ? [] : [this.#conversation];
    for (const record of this.#log) {
      if (record.kind !== 'items') {
        records.push(record);
        continue;
      }
      const items = record.items.filter((item) => this.#items.get(item.id)?.item === item);
      if (items.length > 0) records.push({ kind: 'items', items });
    }
    return records;
  }

  #addResponse(record: ResponseRecord): void {
    const { id } = record.response;
    if (record.previous !== undefined) this.#continued.add(record.previous);
    const place = this.#places.get(id);
    if (place !== undefined) this.#log[place] = NOTHING;
    this.#places.set(id, this.#log.push(record) - 1);
    if (!record.inConversation) return;
    this.#before.set(id, this.#said);
    for (const item of itemsOf(record)) this.#say(item);
  }

  /** Under an id that is there already it stands in the other's place. */
  #say(item: Item): void {
    const number = this.#items.get(item.id)?.number ?? this.#said++;
    this.#items.set(item.id, { number, item });
  }

  /** A response that is gone leaves the conversation what was said in it; an item leaves it as well. */
  #remove(id: string): void {
    const place = this.#places.get(id);
    if (place !== undefined) {
      const record = this.#log[place] as ResponseRecord;
      this.#places.delete(id);
      this.#before.delete(id);
      const items = record.inConversation ? itemsOf(record) : [];
      this.#log[place] = { kind: 'items', items };
      return;
    }
    if (!this.#items.delete(id)) return;
    // Told again, because the response it came with may still hold it.
    this.#log.push({ kind: 'gone', id });
  }
}

const NOTHING: ChainRecord = { kind: 'items', items: [] };

/** What it took and what it gave. */
export function itemsOf({ input, response }: ResponseRecord): Item[] {
  return [...input, ...(response.output as Item[])];
}

/** `from`: the response that was asked for, where it is one further back that is missing. */
export function noSuchPrevious(id: string, from?: string): GatewayError {
  const which = from === undefined ? '' : `, which ${from} goes back to,`;
  return new GatewayError(
    'previous_response_not_found',
    `The response ${id.slice(0, 80)}${which} is not kept here (any more); send the whole conversation as input.`,
    { param: 'previous_response_id' },
  );
}
