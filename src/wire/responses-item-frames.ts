/** The frames of one item of a streamed response. */
import type { TokenLogprob } from '../model/part.ts';
import type { AnswerBlock } from './answer.ts';
import type { Json } from './fields.ts';
import { CustomInput } from './responses-custom-input.ts';
import type { ItemStatus, OutputItem } from './responses-items.ts';
import { askOf, outputItem, responsesLogprobs, textPart } from './responses-object.ts';
import { sse } from './sse.ts';
import type { Ask } from './wire.ts';

/** Events of one stream, numbered from 0. */
export class NumberedEvents {
  #next = 0;

  event(type: string, fields: Json): string {
    return sse(JSON.stringify({ type, sequence_number: this.next(), ...fields }), type);
  }

  /** For an event that is written elsewhere. */
  next(): number {
    return this.#next++;
  }
}

/** The frames of one item, from its first to its last. */
export class OpenItem {
  readonly #ask: Ask;
  /** Grows while the item is told. */
  readonly #block: AnswerBlock;
  readonly #id: string;
  readonly #index: number;
  readonly #events: NumberedEvents;
  readonly #input: CustomInput | undefined;
  readonly #kind: ItemKind;
  /** Around the number of a delta; undefined where its kind has none. */
  readonly #deltaHead: string | undefined;
  readonly #deltaPlace: string;

  constructor(
    ask: Ask,
    block: AnswerBlock,
    { id, index, events }: { id: string; index: number; events: NumberedEvents },
  ) {
    this.#ask = ask;
    this.#block = block;
    this.#id = id;
    this.#index = index;
    this.#events = events;
    this.#kind = kindOf(ask, block);
    this.#input = this.#kind === 'custom' ? new CustomInput() : undefined;
    const type = `${KINDS[this.#kind].event}.delta`;
    this.#deltaHead =
      this.#kind === 'client'
        ? undefined
        : `event: ${type}\ndata: {"type":"${type}","sequence_number":`;
    this.#deltaPlace = `,${JSON.stringify(this.#place()).slice(1, -1)},"delta":`;
  }

  added(): string {
    const told: AnswerBlock = { ...this.#block, ...EMPTY[this.#block.kind] };
    const item = this.#item(told, 'in_progress');
    // What has parts begins without any: they are told of on their own.
    const empty = item.type === 'message' ? { ...item, content: [] } : item;
    const added = this.#events.event('response.output_item.added', {
      output_index: this.#index,
      item: empty,
    });
    return added + this.#part('added', '');
  }

  delta(text: string, logprobs: readonly TokenLogprob[] | undefined): string {
    const told = this.#input === undefined ? text : this.#input.push(text);
    const isSampled = this.#kind === 'text' && (logprobs?.length ?? 0) > 0;
    return told === '' && !isSampled ? '' : this.#delta(told, logprobs);
  }

  close(status: ItemStatus): { item: OutputItem; frames: string } {
    const rest = this.#input?.end() ?? '';
    const item = this.#item(this.#block, status);
    const frames =
      (rest === '' ? '' : this.#delta(rest, undefined)) +
      this.#told(item) +
      this.#part('done', this.#block.kind === 'toolCall' ? '' : this.#block.text) +
      this.#events.event('response.output_item.done', { output_index: this.#index, item });
    return { item, frames };
  }

  #item(block: AnswerBlock, status: ItemStatus): OutputItem {
    return outputItem(this.#ask, block, { id: this.#id, status });
  }

  /** Most of a stream is this: written around what does not change from one to the next. */
  #delta(delta: string, logprobs: readonly TokenLogprob[] | undefined): string {
    if (this.#deltaHead === undefined) return '';
    const sampled = logprobs === undefined ? '[]' : JSON.stringify(responsesLogprobs(logprobs));
    const likely = this.#kind === 'text' ? `,"logprobs":${sampled}` : '';
    const said = JSON.stringify(delta);
    return `${this.#deltaHead}${this.#events.next()}${this.#deltaPlace}${said}${likely}}\n\n`;
  }

  /** All that the deltas told, at once. */
  #told(item: OutputItem): string {
    const { event } = KINDS[this.#kind];
    if (event === undefined) return '';
    const place = this.#place();
    if (this.#block.kind === 'text') {
      const { text, logprobs } = textPart(this.#block);
      return this.#events.event(`${event}.done`, { ...place, text, logprobs });
    }
    if (this.#block.kind === 'reasoning') {
      return this.#events.event(`${event}.done`, { ...place, text: this.#block.text });
    }
    const { arguments: said, input, name } = item as Json;
    const whole = this.#kind === 'custom' ? { input } : { arguments: said, name };
    return this.#events.event(`${event}.done`, { ...place, ...whole });
  }

  #part(when: 'added' | 'done', text: string): string {
    const { part } = KINDS[this.#kind];
    if (part === undefined) return '';
    const { logprobs = [] } = this.#block.kind === 'text' && when === 'done' ? this.#block : {};
    const told =
      this.#kind === 'text'
        ? textPart({ kind: 'text', text, logprobs })
        : { type: part.type, text };
    return this.#events.event(`response.${part.event}.${when}`, { ...this.#place(), part: told });
  }

  #place(): Json {
    const { index } = KINDS[this.#kind];
    const place = { item_id: this.#id, output_index: this.#index };
    return index === undefined ? place : { ...place, [index]: 0 };
  }
}

type ItemKind = 'text' | 'reasoning' | 'summary' | 'function' | 'custom' | 'client';

interface KindFrames {
  /** What the deltas and their sum go by; undefined: only whole. */
  event: string | undefined;
  /** Which of its parts an event is about: there is one. */
  index?: 'content_index' | 'summary_index';
  part?: { event: string; type: string };
}

const KINDS: Record<ItemKind, KindFrames> = {
  text: {
    event: 'response.output_text',
    index: 'content_index',
    part: { event: 'content_part', type: 'output_text' },
  },
  reasoning: {
    event: 'response.reasoning_text',
    index: 'content_index',
    part: { event: 'content_part', type: 'reasoning_text' },
  },
  summary: {
    event: 'response.reasoning_summary_text',
    index: 'summary_index',
    part: { event: 'reasoning_summary_part', type: 'summary_text' },
  },
  function: { event: 'response.function_call_arguments' },
  custom: { event: 'response.custom_tool_call_input' },
  client: { event: undefined },
};

const EMPTY: Record<AnswerBlock['kind'], object> = {
  text: { text: '', logprobs: [] },
  reasoning: { text: '' },
  toolCall: { argumentsJson: '' },
};

function kindOf(ask: Ask, block: AnswerBlock): ItemKind {
  if (block.kind === 'text') return 'text';
  const { reasoningAs, faces } = askOf(ask);
  if (block.kind === 'reasoning') return reasoningAs === 'summary' ? 'summary' : 'reasoning';
  const { kind } = faces.find(block.name);
  return kind === 'function' || kind === 'custom' ? kind : 'client';
}
