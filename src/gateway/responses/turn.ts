/**
 * One request of the Responses API, read together with what is kept of before: what it continues is put
 * in front of its input, references become the items they name, and it gets the id of its response.
 *
 *   previous_response_id ─► its history ┐
 *   conversation         ─► its items   ├─► input of the whole conversation ─► the wire reads it
 *   input, references    ─► own items   ┘
 *
 * Instructions of earlier responses are not carried over: they are no items.
 */
import { GatewayError } from '../../model/error.ts';
import type { TenantId } from '../../model/ids.ts';
import { type Json, optionalBoolean, optionalString, string, wrong } from '../../wire/fields.ts';
import { type Item, inputItems } from '../../wire/responses-items.ts';
import { type Chain, noSuchPrevious } from './chain.ts';
import {
  chainKeyOf,
  conversationId,
  newChainKey,
  newResponseId,
  responseOfItem,
} from './response-ids.ts';

/** Whoever keeps chains: the store, or a connection. */
export interface Chains {
  /** Undefined where there is none (any more), or it is another tenant's. */
  find(tenant: TenantId, chainKey: string): Promise<Chain | undefined>;
}

export interface Turn {
  tenant: TenantId;
  /** Of its response, in the chain. */
  id: string;
  chainKey: string;
  /** What the wire is to read. */
  body: Json;
  /** Items in it that the client did not send. */
  earlier: number;
  /** Those that are its own. */
  input: Item[];
  previous: string | undefined;
  /** Whether what it goes on from can be asked for later. */
  previousIsStored: boolean;
  inConversation: boolean;
  /** Whether its response can be asked for later. */
  isStored: boolean;
  inBackground: boolean;
  streams: boolean;
  /** A request that only prepares the next one asks for no answer. */
  generates: boolean;
  /** The thread that it goes on with; undefined where it begins one, or leaves another's. */
  thread: string | undefined;
}

export interface TurnSettings {
  tenant: TenantId;
  /** Undefined where nothing is stored. */
  store: Chains | undefined;
  /** What else may be gone on from. */
  latest: Chains | undefined;
}

/** Throws a `GatewayError` that names the field. */
export async function readTurn(sent: Json, settings: TurnSettings): Promise<Turn> {
  const { tenant } = settings;
  const stores = settings.store !== undefined;
  const { previous_response_id, conversation, store, background, generate, ...body } = sent;
  const isStored = (optionalBoolean(store, 'store') ?? true) && stores;
  const inBackground = optionalBoolean(background, 'background') ?? false;
  if (inBackground && !isStored) {
    throw wrong('background', stores ? 'needs store: true' : 'needs responses to be stored here');
  }
  const past = await readPast(previous_response_id, conversation, settings);
  const id = newResponseId(past.chainKey);
  let count = 0;
  const newId = (prefix: string) => `${prefix}${id.slice('resp_'.length)}_i${count++}`;
  const input = await resolved(inputItems(body.input, newId), settings);
  const { history, ...rest } = past;
  return {
    ...rest,
    ...{ tenant, id, input, isStored, inBackground },
    streams: optionalBoolean(body.stream, 'stream') ?? false,
    body: { ...body, input: history.length === 0 ? input : [...history, ...input] },
    earlier: history.length,
    generates: optionalBoolean(generate, 'generate') ?? true,
  };
}

interface Past
  extends Pick<Turn, 'chainKey' | 'previous' | 'previousIsStored' | 'inConversation' | 'thread'> {
  history: Item[];
}

async function readPast(
  previousSent: unknown,
  conversationSent: unknown,
  settings: TurnSettings,
): Promise<Past> {
  const previous = optionalString(previousSent, 'previous_response_id');
  const conversation = conversationIn(conversationSent);
  if (previous !== undefined && conversation !== undefined) {
    throw wrong('conversation', 'cannot be named together with previous_response_id');
  }
  if (previous !== undefined) return continued(previous, settings);
  if (conversation !== undefined) return inConversation(conversation, settings);
  return {
    chainKey: newChainKey(),
    history: [],
    previous: undefined,
    previousIsStored: false,
    inConversation: false,
    thread: undefined,
  };
}

async function continued(previous: string, settings: TurnSettings): Promise<Past> {
  const found = await chainWith(previous, settings, (it) => it.response(previous) !== undefined);
  const record = found?.chain.response(previous);
  if (found === undefined || record === undefined) throw noSuchPrevious(previous);
  const { chain, isStored } = found;
  return {
    chainKey: chainKeyOf(previous) as string,
    history: chain.historyOf(previous),
    previous,
    previousIsStored: isStored,
    inConversation: false,
    // Who goes on beside another one is a thread of its own.
    thread: chain.isContinued(previous) ? undefined : record.thread,
  };
}

async function inConversation(id: string, settings: TurnSettings): Promise<Past> {
  const found = await chainWith(id, settings, (it) => it.conversation !== undefined);
  const chainKey = chainKeyOf(id);
  const isOne = found !== undefined && chainKey !== undefined;
  if (!isOne || conversationId(chainKey) !== id) throw noSuchConversation(id);
  const { chain } = found;
  return {
    chainKey,
    history: chain.conversationItems(),
    previous: undefined,
    previousIsStored: false,
    inConversation: true,
    thread: chain.lastThread(),
  };
}

/** A name, or an object that bears it. */
function conversationIn(sent: unknown): string | undefined {
  if (sent === undefined || sent === null || typeof sent === 'string') return sent ?? undefined;
  return string((sent as Json).id, 'conversation.id');
}

async function resolved(items: Item[], settings: TurnSettings): Promise<Item[]> {
  if (!items.some(({ type }) => type === 'item_reference')) return items;
  const named = new Set<string>();
  return Promise.all(
    items.map(async (item, i) => {
      if (item.type !== 'item_reference') return item;
      const { id } = item;
      // A few words must not stand for a long text a thousand times over.
      if (named.has(id)) throw wrong(`input[${i}].id`, 'refers to an item for the second time');
      named.add(id);
      const from = responseOfItem(id);
      const found = await chainWith(id, settings, (it) => it.item(id, from) !== undefined);
      const kept = found?.chain.item(id, from);
      if (kept !== undefined) return kept;
      throw new GatewayError(
        'not_found',
        `input[${i}] refers to the item ${id.slice(0, 80)}, which is not kept here (any more); send the item itself.`,
        { param: `input[${i}].id` },
      );
    }),
  );
}

/** Of the id's key, stored or not, the chain that has what is looked for. */
async function chainWith(
  id: string,
  { tenant, store, latest }: TurnSettings,
  has: (chain: Chain) => boolean,
): Promise<{ chain: Chain; isStored: boolean } | undefined> {
  const key = chainKeyOf(id);
  if (key === undefined) return undefined;
  for (const kept of [store, latest]) {
    const chain = await kept?.find(tenant, key);
    if (chain !== undefined && has(chain)) return { chain, isStored: kept === store };
  }
  return undefined;
}

export function noSuchConversation(id: string): GatewayError {
  const sentence = `The conversation ${id.slice(0, 80)} is not kept here (any more).`;
  return new GatewayError('not_found', sentence, { param: 'conversation' });
}
