/**
 * Ids that tell where what they name is kept: each begins with the key of its chain, so that nothing has
 * to remember which response, item or conversation lies in which file.
 *
 *   resp_ + key of the chain (24 hexadecimal digits) + 24 of its own
 *   conv_ + key of the chain
 *   msg_, fc_, rs_ … + what follows `resp_` + _ + place        (items, see wire/responses-items)
 */
import { randomBytes } from 'node:crypto';

const KEY_BYTES = 12;

/** Of a chain that begins now. */
export function newChainKey(): string {
  return randomBytes(KEY_BYTES).toString('hex');
}

/** Of a response that is the next in its chain. */
export function newResponseId(chainKey: string): string {
  return `resp_${chainKey}${randomBytes(KEY_BYTES).toString('hex')}`;
}

export function conversationId(chainKey: string): string {
  return `conv_${chainKey}`;
}

/** The chain that an id of any kind lies in; undefined where the id was not made here. */
export function chainKeyOf(id: string): string | undefined {
  return ID.exec(id)?.[1];
}

const ID = /^[a-z]{2,8}_([\da-f]{24})(?:[\da-f]{24}(?:_[\da-z]{1,16})?)?$/;

/** The response that an item came with, by the item's id; undefined where that tells of none. */
export function responseOfItem(id: string): string | undefined {
  const match = ITEM.exec(id);
  return match === null ? undefined : `resp_${match[1]}`;
}

const ITEM = /^[a-z]{2,8}_([\da-f]{48})_[\da-z]{1,16}$/;
