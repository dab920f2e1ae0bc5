/**
 * A stream of Messages read back as parts. Blocks come one after the other: text, thinking, and calls
 * whose input comes as pieces of JSON. Blocks of other kinds, which only their vendor's tools make, say
 * nothing here. `ping` is a sign of life.
 */
import { GatewayError } from '../model/error.ts';
import type { Finish, Part, Usage } from '../model/part.ts';
import type { Block } from './anthropic-upstream.ts';
import { streamedError } from './upstream-error.ts';
import { eventObject, type Loose, looseCount, looseObject, looseText } from './upstream-json.ts';

interface OpenCall {
  index: number;
  /** Whether any of its input came. */
  hasInput: boolean;
}

export class AnthropicReader {
  /** Hears of each call what was thought before it in this answer, signed. */
  readonly #heard: (callId: string, thoughts: readonly Block[]) => void;
  readonly #thoughts: Block[] = [];
  #calls = 0;
  #open: OpenCall | undefined;
  #finish: Finish | undefined;
  #input: Loose = {};
  #outputTokens: number | undefined;
  #told = 0;

  constructor(heard: (callId: string, thoughts: readonly Block[]) => void) {
    this.#heard = heard;
  }

  /** `data` of an event; it says of which kind it is itself. */
  read(data: string): Part[] {
    const event = eventObject(data);
    switch (event.type) {
      case 'message_start':
        this.#counts(looseObject(looseObject(event.message).usage));
        return [];
      case 'content_block_start':
        return this.#begun(looseObject(event.content_block));
      case 'content_block_delta':
        return this.#more(looseObject(event.delta));
      case 'content_block_stop':
        return this.#blockOver();
      case 'message_delta':
        this.#finish = finishOf(looseObject(event.delta)) ?? this.#finish;
        this.#counts(looseObject(event.usage));
        return [];
      case 'message_stop':
        return this.#finish === undefined
          ? []
          : [{ kind: 'done', finish: this.#finish, usage: this.#usage() }];
      case 'error':
        return [{ kind: 'error', error: errorOf(event) }];
      default:
        return [];
    }
  }

  #begun(block: Loose): Part[] {
    if (block.type === 'redacted_thinking') this.#thoughts.push({ ...block });
    if (block.type === 'thinking') {
      this.#thoughts.push({ type: 'thinking', thinking: '', signature: '' });
      return this.#thought(looseText(block.thinking));
    }
    if (block.type === 'text') return this.#text(looseText(block.text));
    if (block.type !== 'tool_use') return [];
    const index = this.#calls++;
    const id = looseText(block.id) || `call_${index}`;
    this.#open = { index, hasInput: false };
    if (this.#thoughts.length > 0) this.#heard(id, [...this.#thoughts]);
    return [{ kind: 'toolCall', index, id, name: looseText(block.name) }];
  }

  #more(delta: Loose): Part[] {
    switch (delta.type) {
      case 'text_delta':
        return this.#text(looseText(delta.text));
      case 'thinking_delta':
        return this.#thought(looseText(delta.thinking));
      case 'signature_delta': {
        const last = this.#thoughts.at(-1);
        if (last !== undefined) last.signature = `${last.signature}${looseText(delta.signature)}`;
        return [];
      }
      case 'input_json_delta':
        return this.#argued(looseText(delta.partial_json));
      default:
        return [];
    }
  }

  #text(text: string): Part[] {
    return text === '' ? [] : [{ kind: 'text', text, tokens: this.#count() }];
  }

  #thought(text: string): Part[] {
    const last = this.#thoughts.at(-1);
    if (text === '' || last === undefined) return [];
    last.thinking = `${last.thinking}${text}`;
    return [{ kind: 'reasoning', text, tokens: this.#count() }];
  }

  #argued(text: string): Part[] {
    if (text === '' || this.#open === undefined) return [];
    this.#open.hasInput = true;
    return [{ kind: 'toolArguments', index: this.#open.index, text, tokens: this.#count() }];
  }

  /** A call without arguments has no piece of them. */
  #blockOver(): Part[] {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined || open.hasInput) return [];
    return [{ kind: 'toolArguments', index: open.index, text: '{}', tokens: 0 }];
  }

  /** Later counts are of the whole answer, and may leave out what was told before. */
  #counts(usage: Loose): void {
    const known = Object.entries(usage).filter(([, value]) => looseCount(value) !== undefined);
    this.#input = { ...this.#input, ...Object.fromEntries(known) };
    this.#outputTokens = looseCount(usage.output_tokens) ?? this.#outputTokens;
  }

  #usage(): Usage {
    const count = (name: string) => looseCount(this.#input[name]) ?? 0;
    const cachedTokens = count('cache_read_input_tokens');
    const written = count('cache_creation_input_tokens');
    return {
      promptTokens: count('input_tokens') + written + cachedTokens,
      outputTokens: this.#outputTokens ?? this.#told,
      cachedTokens,
    };
  }

  #count(): number {
    this.#told++;
    return 1;
  }
}

function finishOf({ stop_reason: reason, stop_sequence: sequence }: Loose): Finish | undefined {
  switch (reason) {
    case undefined:
    case null:
      return undefined;
    case 'max_tokens':
    case 'model_context_window_exceeded':
      return { kind: 'length' };
    case 'tool_use':
      return { kind: 'toolCalls' };
    case 'stop_sequence':
      return { kind: 'stopSequence', sequence: looseText(sequence) };
    default:
      return { kind: 'stop' };
  }
}

function errorOf(event: Loose): GatewayError {
  const { type } = looseObject(event.error);
  const error = streamedError(event);
  const isBusy = type === 'overloaded_error' || type === 'rate_limit_error';
  return isBusy ? new GatewayError('queue_full', `The engine is busy: ${error.message}`) : error;
}
