/**
 * A streamed response: every event that some client was measured to need, in order, each with its
 * `event:` line and its number.
 *
 *   created · in_progress · item* · completed | incomplete | error · failed · [DONE]
 *
 *   item: output_item.added ─ message    content_part.added · output_text.delta* · .done · part.done ─┐
 *                           ├ reasoning  the same of reasoning_text, or of reasoning_summary_…        ┤
 *                           └ call       function_call_arguments or custom_tool_call_input .delta*    ┤
 *                                                                             output_item.done ◄──────┘
 */
import { unreachable } from '../base/assert.ts';
import type { GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import { type AnswerBlock, addToBlocks } from './answer.ts';
import { errorFields } from './responses-error.ts';
import { NumberedEvents, OpenItem } from './responses-item-frames.ts';
import type { ItemStatus, OutputItem, ResponseObject } from './responses-items.ts';
import { endedResponse, itemIdOf, shownBlocks, unansweredResponse } from './responses-object.ts';
import { sse } from './sse.ts';
import type { Ask, Framer, Opening } from './wire.ts';

export class ResponsesFramer implements Framer {
  readonly #ask: Ask;
  readonly #opening: Opening;
  readonly #events = new NumberedEvents();
  #blocks: AnswerBlock[] = [];
  /** Items that are complete, for a stream that ends before its answer does. */
  readonly #done: OutputItem[] = [];
  /** Frames of the item that the last block is. */
  #open: OpenItem | undefined;
  #response: ResponseObject | undefined;

  constructor(ask: Ask, opening: Opening) {
    this.#ask = ask;
    this.#opening = opening;
  }

  /** As the last event told it; undefined until then. */
  get response(): ResponseObject | undefined {
    return this.#response;
  }

  open(): string {
    return this.#status('response.created') + this.#status('response.in_progress');
  }

  part(part: Part, extras?: Record<string, unknown>): string {
    switch (part.kind) {
      case 'text':
      case 'reasoning':
      case 'toolCall':
      case 'toolArguments':
        return (part.choice ?? 0) === 0 ? this.#told(part) : '';
      case 'ended':
        return ''; // This API knows one answer only.
      case 'done':
        return this.#end(part, extras);
      case 'error':
        return this.#failed(part.error);
      default:
        return unreachable(part);
    }
  }

  /** Measured: comments do not stop Codex's timer, any event does. */
  keepAlive(): string {
    return this.#status('response.in_progress');
  }

  #told(
    part: Extract<Part, { kind: 'text' | 'reasoning' | 'toolCall' | 'toolArguments' }>,
  ): string {
    const before = this.#blocks.length;
    addToBlocks(this.#blocks, part);
    const begins = this.#blocks.length > before ? this.#next('completed') : '';
    if (part.kind === 'toolCall' || this.#open === undefined) return begins;
    return begins + this.#open.delta(part.text, part.kind === 'text' ? part.logprobs : undefined);
  }

  /** Closes the item before the last block, and opens that block's. */
  #next(status: ItemStatus): string {
    const closed = this.#close(status);
    const index = this.#blocks.length - 1;
    const block = this.#blocks[index];
    const id = itemIdOf(this.#ask, this.#opening, block, index);
    this.#open = new OpenItem(this.#ask, block, { id, index, events: this.#events });
    return closed + this.#open.added();
  }

  #close(status: ItemStatus): string {
    if (this.#open === undefined) return '';
    const { item, frames } = this.#open.close(status);
    this.#open = undefined;
    this.#done.push(item);
    return frames;
  }

  #end(
    { finish, usage }: Extract<Part, { kind: 'done' }>,
    extras: Record<string, unknown> | undefined,
  ): string {
    const before = this.#blocks.length;
    this.#blocks = shownBlocks(this.#blocks, finish);
    const last = this.#blocks.length > before ? this.#next('completed') : '';
    const closed = this.#close(finish.kind === 'length' ? 'incomplete' : 'completed');
    const answer = { blocks: this.#blocks, logprobs: [], finish, others: [], usage, extras };
    const response = endedResponse(this.#ask, this.#opening, answer);
    this.#response = response;
    return (
      last +
      closed +
      this.#events.event(`response.${response.status}`, { response }) +
      sse('[DONE]')
    );
  }

  /** An item that was not whole is not told of: clients keep those that are, and go on from there. */
  #failed(error: GatewayError): string {
    const state = { status: 'failed' as const, output: this.#done, error };
    const response = unansweredResponse(this.#ask, this.#opening, state);
    this.#response = response;
    return (
      this.#events.event('error', errorFields(error)) +
      this.#events.event('response.failed', { response }) +
      sse('[DONE]')
    );
  }

  #status(event: string): string {
    const state = { status: 'in_progress' as const, output: this.#done };
    return this.#events.event(event, {
      response: unansweredResponse(this.#ask, this.#opening, state),
    });
  }
}
