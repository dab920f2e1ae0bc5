/**
 * The response object, in each of its states, and the items of an answer. Streams and whole answers
 * are made of the same functions, so that what a client assembles is what it would have been given.
 */
import { must, unreachable } from '../base/assert.ts';
import type { GatewayError } from '../model/error.ts';
import type { Finish, Likely, TokenLogprob, Usage } from '../model/part.ts';
import type { Answer, AnswerBlock } from './answer.ts';
import type { ResponsesAsk } from './responses-ask.ts';
import { clientCallFields, clientCallType } from './responses-client-tools.ts';
import { customInput } from './responses-custom-input.ts';
import { failureOf } from './responses-error.ts';
import {
  type CallItem,
  type ItemStatus,
  type OutputItem,
  outputItemId,
  type ResponseObject,
} from './responses-items.ts';
import { packReasoning } from './responses-reasoning.ts';
import type { Ask, Opening } from './wire.ts';

/** Before its answer is whole, and where it never will be. */
export type Unanswered =
  | { status: 'queued' | 'in_progress' | 'cancelled'; output: OutputItem[] }
  | { status: 'failed'; output: OutputItem[]; error: GatewayError };

export function unansweredResponse(ask: Ask, opening: Opening, state: Unanswered): ResponseObject {
  const { status, output } = state;
  return {
    ...headOf(opening),
    status,
    completed_at: null,
    error: state.status === 'failed' ? failureOf(state.error) : null,
    incomplete_details: null,
    output,
    usage: null,
    ...askOf(ask).echo,
  };
}

/** With the answer, complete or as long as it was allowed to be. */
export function endedResponse(ask: Ask, opening: Opening, answer: Answer): ResponseObject {
  const { note, echo } = askOf(ask);
  const isCut = answer.finish.kind === 'length';
  const nvext = { ...answer.extras, ...(note !== undefined && { note }) };
  return {
    ...headOf(opening),
    status: isCut ? 'incomplete' : 'completed',
    completed_at: isCut ? null : (opening.nowS?.() ?? opening.createdS),
    error: null,
    incomplete_details: isCut ? { reason: 'max_output_tokens' } : null,
    output: outputItems(ask, opening, answer),
    usage: usageOf(answer.usage),
    ...echo,
    ...(Object.keys(nvext).length > 0 && { nvext }),
  };
}

function headOf({ id, createdS, model }: Opening) {
  return { id, object: 'response' as const, created_at: createdS, model };
}

export function askOf(ask: Ask): ResponsesAsk {
  return must(ask.responses, 'the Responses wire read this request');
}

/** The items of a whole answer. */
export function outputItems(
  ask: Ask,
  opening: Opening,
  { blocks, finish }: Pick<Answer, 'blocks' | 'finish'>,
): OutputItem[] {
  const shown = shownBlocks(blocks, finish);
  return shown.map((block, index) => {
    const isCut = finish.kind === 'length' && index === shown.length - 1;
    return outputItem(ask, block, {
      id: itemIdOf(ask, opening, block, index),
      status: isCut ? 'incomplete' : 'completed',
    });
  });
}

/**
 * An answer that is neither text nor call ends with an empty text: agents that find no message ask
 * again and again (measured on `@openai/agents`).
 */
export function shownBlocks(blocks: AnswerBlock[], finish: Finish): AnswerBlock[] {
  const isOver = finish.kind === 'length' || blocks.some(({ kind }) => kind !== 'reasoning');
  return isOver ? blocks : [...blocks, { kind: 'text', text: '' }];
}

export function itemIdOf(ask: Ask, { id }: Opening, block: AnswerBlock, index: number): string {
  return outputItemId(itemTypeOf(ask, block), id, index);
}

/** One item, as far as its block was told. */
export function outputItem(
  ask: Ask,
  block: AnswerBlock,
  { id, status }: { id: string; status: ItemStatus },
): OutputItem {
  switch (block.kind) {
    case 'text':
      return { type: 'message', id, status, role: 'assistant', content: [textPart(block)] };
    case 'reasoning':
      return reasoningItem(ask, block.text, { id, status });
    case 'toolCall':
      return callItem(ask, block, { id, status });
    default:
      return unreachable(block);
  }
}

export function textPart({ text, logprobs = [] }: Extract<AnswerBlock, { kind: 'text' }>) {
  return {
    type: 'output_text' as const,
    text,
    annotations: [] as [],
    logprobs: responsesLogprobs(logprobs),
  };
}

function reasoningItem(
  ask: Ask,
  text: string,
  { id, status }: { id: string; status: ItemStatus },
): OutputItem {
  const { reasoningAs, packsReasoning } = askOf(ask);
  const isTold = text !== '';
  const told =
    reasoningAs === 'summary'
      ? { summary: isTold ? [{ type: 'summary_text' as const, text }] : [] }
      : { summary: [], content: isTold ? [{ type: 'reasoning_text' as const, text }] : [] };
  const packed = packsReasoning && isTold ? { encrypted_content: packReasoning(text) } : {};
  return { type: 'reasoning', id, ...told, ...packed, status };
}

type Call = Extract<AnswerBlock, { kind: 'toolCall' }>;

/** In the shape and under the name that the client knows. */
function callItem(
  ask: Ask,
  { id: callId, name: flat, argumentsJson }: Call,
  { id, status }: { id: string; status: ItemStatus },
): CallItem {
  const { kind, name, namespace } = askOf(ask).faces.find(flat);
  const ids = { id, call_id: callId, status };
  const named = { name, ...(namespace !== undefined && { namespace }) };
  switch (kind) {
    case 'function':
      return { type: 'function_call', ...ids, ...named, arguments: argumentsJson };
    case 'custom':
      return { type: 'custom_tool_call', ...ids, ...named, input: customInput(argumentsJson) };
    default:
      return { type: clientCallType(kind), ...ids, ...clientCallFields(kind, argumentsJson) };
  }
}

function itemTypeOf(ask: Ask, block: AnswerBlock): string {
  if (block.kind === 'text') return 'message';
  if (block.kind === 'reasoning') return 'reasoning';
  const { kind } = askOf(ask).faces.find(block.name);
  if (kind === 'function') return 'function_call';
  return kind === 'custom' ? 'custom_tool_call' : clientCallType(kind);
}

export function responsesLogprobs(logprobs: readonly TokenLogprob[]): unknown[] {
  const told = ({ text, bytes, logprob }: Likely) => ({ token: text, bytes, logprob });
  return logprobs.map(({ top, ...token }) => ({ ...told(token), top_logprobs: top.map(told) }));
}

/** The API has no word for not knowing: then nothing was cached, and nothing was reasoning. */
export function usageOf({ promptTokens, outputTokens, cachedTokens, reasoningTokens }: Usage) {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedTokens ?? 0 },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: reasoningTokens ?? 0 },
    total_tokens: promptTokens + outputTokens,
  };
}
