/**
 * Conversations: what was said, kept under a name, for responses that are asked for in it.
 *
 *   POST /v1/conversations                 GET, POST, DELETE /v1/conversations/{id}
 *   GET, POST /v1/conversations/{id}/items GET, DELETE /v1/conversations/{id}/items/{item}
 */
import { type Call, replyJson } from '../../http/call.ts';
import { jsonBody } from '../../http/json-body.ts';
import type { Route } from '../../http/router.ts';
import { GatewayError } from '../../model/error.ts';
import type { TenantId } from '../../model/ids.ts';
import type { Clock } from '../../ports.ts';
import { type Json, object, optionalList, optionalObject, wrong } from '../../wire/fields.ts';
import { type Item, inputItems } from '../../wire/responses-items.ts';
import type { Access } from '../access.ts';
import { pageOf } from '../paging.ts';
import type { Chain } from './chain.ts';
import type { ChainRecord, ConversationRecord } from './chain-record.ts';
import { chainKeyOf, conversationId, newChainKey, newResponseId } from './response-ids.ts';
import type { ResponseStore } from './response-store.ts';
import { noSuchConversation } from './turn.ts';

export interface ConversationParts {
  access: Access;
  store: ResponseStore;
  clock: Clock;
}

const BASE = '/v1/conversations/';
/** In one request. */
const ITEMS_MAX = 20;
const METADATA_MAX = 16;

interface Named {
  tenant: TenantId;
  id: string;
  chainKey: string;
  chain: Chain;
  conversation: ConversationRecord;
  /** `items`, or nothing. */
  part: string | undefined;
  item: string | undefined;
}

export class Conversations {
  readonly #parts: ConversationParts;

  constructor(parts: ConversationParts) {
    this.#parts = parts;
  }

  routes(): Map<string, Route> {
    return new Map<string, Route>([
      ['POST /v1/conversations', (call) => this.#create(call)],
      [`GET ${BASE}*`, (call) => this.#get(call)],
      [`POST ${BASE}*`, (call) => this.#post(call)],
      [`DELETE ${BASE}*`, (call) => this.#delete(call)],
    ]);
  }

  async #create(call: Call): Promise<void> {
    const { access, clock } = this.#parts;
    const { tenant } = access.caller(call);
    const body = object(await jsonBody(call), 'the body');
    const chainKey = newChainKey();
    const items = itemsIn(body, chainKey);
    const conversation: ConversationRecord = {
      kind: 'conversation',
      createdS: Math.floor(clock.wallMs() / 1000),
      metadata: metadataIn(body),
    };
    const said = items.length === 0 ? [] : [{ kind: 'items' as const, items }];
    await this.#keep(tenant, chainKey, [conversation, ...said]);
    replyJson(call.reply, 200, conversationObject(chainKey, conversation));
  }

  async #get(call: Call): Promise<void> {
    const { chainKey, chain, conversation, part, item } = await this.#named(call);
    if (part === undefined) {
      return replyJson(call.reply, 200, conversationObject(chainKey, conversation));
    }
    const items = chain.conversationItems();
    if (item === undefined) return replyJson(call.reply, 200, pageOf(items, call.query));
    const found = items.find(({ id }) => id === item);
    if (found === undefined) throw noSuchItem(item);
    replyJson(call.reply, 200, found);
  }

  /** New metadata, or more items. */
  async #post(call: Call): Promise<void> {
    const { tenant, chainKey, conversation, part, item } = await this.#named(call);
    if (item !== undefined) throw nothingAt(call);
    const body = object(await jsonBody(call), 'the body');
    if (part === undefined) {
      const changed = { ...conversation, metadata: metadataIn(body) };
      await this.#keep(tenant, chainKey, [changed]);
      return replyJson(call.reply, 200, conversationObject(chainKey, changed));
    }
    const items = itemsIn(body, chainKey);
    if (items.length === 0) throw wrong('items', 'must hold at least one item');
    await this.#keep(tenant, chainKey, [{ kind: 'items', items }]);
    const query = new URLSearchParams({ order: 'asc', limit: String(ITEMS_MAX) });
    replyJson(call.reply, 200, pageOf(items, query));
  }

  async #delete(call: Call): Promise<void> {
    const { tenant, id, chainKey, conversation, part, item } = await this.#named(call);
    const { store } = this.#parts;
    if (part === undefined) {
      await store.removeChain(tenant, chainKey);
      return replyJson(call.reply, 200, { id, object: 'conversation.deleted', deleted: true });
    }
    if (item === undefined) throw nothingAt(call);
    if (!(await store.remove(tenant, chainKey, item))) throw noSuchItem(item);
    replyJson(call.reply, 200, conversationObject(chainKey, conversation));
  }

  /** Nothing else is asked for here: what is not kept was not done. */
  async #keep(tenant: TenantId, chainKey: string, records: readonly ChainRecord[]): Promise<void> {
    if (await this.#parts.store.add(tenant, chainKey, records)) return;
    throw new GatewayError(
      'not_stored',
      "This could not be stored, for a reason that is in the gateway's log; send the items as input.",
    );
  }

  async #named(call: Call): Promise<Named> {
    const { access, store } = this.#parts;
    const { tenant } = access.caller(call);
    const [id, part, item, more] = call.path.slice(BASE.length).split('/');
    if (more !== undefined || (part !== undefined && part !== 'items')) throw nothingAt(call);
    const chainKey = chainKeyOf(id);
    if (chainKey === undefined || conversationId(chainKey) !== id) throw noSuchConversation(id);
    const chain = await store.find(tenant, chainKey);
    const conversation = chain?.conversation;
    if (chain === undefined || conversation === undefined) throw noSuchConversation(id);
    return { tenant, id, chainKey, chain, conversation, part, item };
  }
}

function conversationObject(chainKey: string, { createdS, metadata }: ConversationRecord) {
  const id = conversationId(chainKey);
  return { id, object: 'conversation', created_at: createdS, metadata };
}

function itemsIn(body: Json, chainKey: string): Item[] {
  const sent = optionalList(body.items, 'items');
  if (sent.length > ITEMS_MAX) throw wrong('items', `may hold at most ${ITEMS_MAX} items`);
  // Named like what a response brings, so that they can be referred to.
  const place = newResponseId(chainKey).slice('resp_'.length);
  let count = 0;
  const items = inputItems(sent, (prefix) => `${prefix}${place}_c${count++}`);
  const reference = items.findIndex(({ type }) => type === 'item_reference');
  if (reference >= 0) throw wrong(`items[${reference}]`, 'must be an item, not a reference to one');
  return items;
}

function metadataIn(body: Json): Record<string, unknown> {
  const metadata = optionalObject(body.metadata, 'metadata') ?? {};
  if (Object.keys(metadata).length > METADATA_MAX) {
    throw wrong('metadata', `may hold at most ${METADATA_MAX} pairs`);
  }
  return metadata;
}

function noSuchItem(id: string): GatewayError {
  return new GatewayError('not_found', `The item ${id.slice(0, 80)} is not in this conversation.`);
}

function nothingAt({ path }: Call): GatewayError {
  return new GatewayError('not_found', `There is nothing at ${path.slice(0, 200)}.`);
}
