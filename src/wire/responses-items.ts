/**
 * Items: what a conversation of the Responses API is made of, in requests, in answers, and where both
 * are kept for later turns. A conversation so far is the input items of a response and behind them its
 * output; put in front of the next input they are what the client would have sent itself.
 *
 * Ids of output items follow from the response's id and the item's place, so that a stream, the whole
 * answer and what is kept of either name the same item alike.
 */
import type { ErrorCode } from '../model/error.ts';
import { type Json, list, object, optionalString, string, wrong } from './fields.ts';

/** Any item, of whatever type; clients send types and fields that we only hand back. */
export type Item = Json & { id: string; type: string };

export type ItemStatus = 'in_progress' | 'completed' | 'incomplete';

export type OutputItem =
  | {
      type: 'message';
      id: string;
      status: ItemStatus;
      role: 'assistant';
      content: OutputText[];
    }
  | {
      type: 'reasoning';
      id: string;
      summary: { type: 'summary_text'; text: string }[];
      /** The model's own words, where they do not stand in `summary`. */
      content?: { type: 'reasoning_text'; text: string }[];
      /** The same words sealed, see `responses-reasoning.ts`; where the client asked for them. */
      encrypted_content?: string;
      status: ItemStatus;
    }
  | CallItem;

/** `type` says which further fields there are (`arguments`, `input`, `action`, …). */
export type CallItem = {
  type: string;
  id: string;
  call_id: string;
  status: ItemStatus;
  [field: string]: unknown;
};

export interface OutputText {
  type: 'output_text';
  text: string;
  annotations: [];
  logprobs: unknown[];
}

/** The response object: the answer to a request, and what is read of it later. */
export type ResponseObject = Json & {
  id: string;
  object: 'response';
  status: 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled';
  output: OutputItem[];
  error: { code: ErrorCode | string; message: string } | null;
};

/** What the ids of items begin with, by type; others with `item_`. */
const ID_PREFIXES: Record<string, string> = {
  message: 'msg_',
  reasoning: 'rs_',
  function_call: 'fc_',
  function_call_output: 'fco_',
  custom_tool_call: 'ctc_',
  custom_tool_call_output: 'ctco_',
  local_shell_call: 'lsh_',
  shell_call: 'sh_',
  apply_patch_call: 'apc_',
  tool_search_call: 'tsc_',
  compaction: 'cmp_',
};

/** The id of the item at `index` in the output of response `responseId` (`resp_…`). */
export function outputItemId(type: string, responseId: string, index: number): string {
  return `${ID_PREFIXES[type] ?? 'item_'}${responseId.replace(/^resp_/, '')}_${index}`;
}

/**
 * A request's `input` as items that can be kept, listed and sent again: a string is a user message,
 * content that is a string is one part, and an item without an id gets one from `newId`, which is
 * handed what such ids begin with. All else stays as it came, in its order; references to items
 * (`type: 'item_reference'`) too, with the id they name. Throws a `GatewayError` that names the field.
 */
export function inputItems(input: unknown, newId: (prefix: string) => string): Item[] {
  if (input === undefined || input === null) return [];
  if (typeof input === 'string') {
    return inputItems([{ role: 'user', content: input }], newId);
  }
  if (!Array.isArray(input)) throw wrong('input', 'must be a string or a list of items');
  if (input.length > ITEMS_MAX) throw wrong('input', `may hold at most ${ITEMS_MAX} items`);
  return input.map((value, i): Item => {
    const where = `input[${i}]`;
    const given = object(value, where);
    refuseDeep(given, where, NESTED_MAX);
    const type = itemType(given, where);
    const id =
      type === 'item_reference'
        ? string(given.id, `${where}.id`)
        : optionalString(given.id, `${where}.id`) || newId(ID_PREFIXES[type] ?? 'item_');
    if (type !== 'message') return { ...given, type, id };
    const content = messageContent(given, where);
    return { ...given, type, id, status: given.status ?? 'completed', content };
  });
}

/** Of one request: more than any context holds, and few enough to be read before the model is known. */
const ITEMS_MAX = 200_000;

/** What goes deeper than any item does could not be written into a response or a file. */
function refuseDeep(value: unknown, where: string, levels: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (levels === 0) throw wrong(where, `is nested more than ${NESTED_MAX} levels deep`);
  for (const inner of Object.values(value)) refuseDeep(inner, where, levels - 1);
}

const NESTED_MAX = 100;

/** The API lets `message` be left out, and the ai SDK and others leave out that of references. */
export function itemType(item: Json, where: string): string {
  const type = optionalString(item.type, `${where}.type`);
  if (type !== undefined) return type;
  return item.role === undefined && item.id !== undefined && item.content === undefined
    ? 'item_reference'
    : 'message';
}

function messageContent({ role, content }: Json, where: string): unknown[] {
  if (typeof content !== 'string') return list(content, `${where}.content`);
  if (role !== 'assistant') return [{ type: 'input_text', text: content }];
  return [{ type: 'output_text', text: content, annotations: [], logprobs: [] }];
}
