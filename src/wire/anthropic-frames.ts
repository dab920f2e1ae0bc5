/**
 * Answers as Anthropic's Messages API frames them. Every event a client was measured to need:
 * message_start with usage, block start/delta/stop, message_delta with usage, message_stop, each with
 * its `event:` line.
 */
import { unreachable } from '../base/assert.ts';
import type { ErrorCode, GatewayError } from '../model/error.ts';
import type { Finish, Part, Usage } from '../model/part.ts';
import type { Answer } from './answer.ts';
import { sse } from './sse.ts';
import type { Ask, Framer, Opening } from './wire.ts';

export class AnthropicFramer implements Framer {
  readonly #opening: Opening;
  #index = -1;
  #open: 'text' | 'thinking' | 'tool_use' | undefined;
  #calledTools = false;

  constructor(opening: Opening) {
    this.#opening = opening;
  }

  open(): string {
    const { id, model, promptTokens } = this.#opening;
    const message = {
      id,
      type: 'message',
      role: 'assistant',
      model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: anthropicUsage({ promptTokens: promptTokens ?? 0, outputTokens: 0, cachedTokens: 0 }),
    };
    return event('message_start', { message }) + event('ping', {});
  }

  part(part: Part, extras?: Record<string, unknown>): string {
    switch (part.kind) {
      case 'text':
        if (part.text === '') return '';
        return this.#delta(
          'text',
          { type: 'text', text: '' },
          { type: 'text_delta', text: part.text },
        );
      case 'reasoning':
        if (part.text === '') return '';
        return this.#delta(
          'thinking',
          { type: 'thinking', thinking: '', signature: '' },
          { type: 'thinking_delta', thinking: part.text },
        );
      case 'toolCall':
        this.#calledTools = true;
        return (
          this.#close() +
          this.#start('tool_use', { type: 'tool_use', id: part.id, name: part.name, input: {} })
        );
      case 'toolArguments':
        return this.#blockDelta({ type: 'input_json_delta', partial_json: part.text });
      case 'ended':
        return ''; // This API knows one answer only.
      case 'done': {
        const delta = stopOf(part.finish, this.#calledTools);
        const usage = anthropicUsage(part.usage);
        const nvext = extras === undefined ? {} : { nvext: extras };
        return (
          this.#close() +
          event('message_delta', { delta, usage, ...nvext }) +
          event('message_stop', {})
        );
      }
      case 'error':
        return sse(JSON.stringify(anthropicError(part.error)), 'error');
      default:
        return unreachable(part);
    }
  }

  keepAlive(): string {
    return event('ping', {});
  }

  #delta(kind: 'text' | 'thinking', block: object, delta: object): string {
    const begin = this.#open === kind ? '' : this.#close() + this.#start(kind, block);
    return begin + this.#blockDelta(delta);
  }

  #start(kind: 'text' | 'thinking' | 'tool_use', block: object): string {
    this.#open = kind;
    this.#index++;
    return event('content_block_start', { index: this.#index, content_block: block });
  }

  #blockDelta(delta: object): string {
    return event('content_block_delta', { index: this.#index, delta });
  }

  #close(): string {
    if (this.#open === undefined) return '';
    // A thinking block ends with a signature; ours proves nothing, clients only send it back.
    const signature =
      this.#open === 'thinking'
        ? this.#blockDelta({ type: 'signature_delta', signature: UNSIGNED })
        : '';
    this.#open = undefined;
    return signature + event('content_block_stop', { index: this.#index });
  }
}

const UNSIGNED = 'stator';

export function anthropicWhole(_ask: Ask, opening: Opening, answer: Answer): unknown {
  const content = answer.blocks.map((block) => {
    switch (block.kind) {
      case 'text':
        return { type: 'text', text: block.text };
      case 'reasoning':
        return { type: 'thinking', thinking: block.text, signature: UNSIGNED };
      case 'toolCall':
        return {
          type: 'tool_use',
          id: block.id,
          name: block.name,
          input: parsedInput(block.argumentsJson),
        };
      default:
        return unreachable(block);
    }
  });
  const calledTools = answer.blocks.some((block) => block.kind === 'toolCall');
  return {
    id: opening.id,
    type: 'message',
    role: 'assistant',
    model: opening.model,
    content,
    ...stopOf(answer.finish, calledTools),
    usage: anthropicUsage(answer.usage),
    ...(answer.extras !== undefined && { nvext: answer.extras }),
  };
}

export function anthropicError(error: GatewayError): unknown {
  return { type: 'error', error: { type: ERROR_TYPES[error.code], message: error.message } };
}

const ERROR_TYPES: Record<ErrorCode, string> = {
  invalid_json: 'invalid_request_error',
  invalid_request: 'invalid_request_error',
  context_length_exceeded: 'invalid_request_error',
  unauthorized: 'authentication_error',
  forbidden: 'permission_error',
  not_found: 'not_found_error',
  model_not_found: 'not_found_error',
  method_not_allowed: 'invalid_request_error',
  request_timeout: 'timeout_error',
  body_too_large: 'request_too_large',
  client_closed: 'api_error',
  internal: 'api_error',
  engine_failed: 'api_error',
  engine_lost: 'api_error',
  no_worker: 'overloaded_error',
  queue_full: 'overloaded_error',
  shutting_down: 'overloaded_error',
  engine_timeout: 'timeout_error',
};

/** `input_tokens` are those that were computed; what came from cache is counted beside. */
function anthropicUsage(usage: Usage): unknown {
  const cached = usage.cachedTokens ?? 0;
  return {
    input_tokens: usage.promptTokens - cached,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cached,
    output_tokens: usage.outputTokens,
  };
}

function stopOf(
  finish: Finish,
  calledTools: boolean,
): { stop_reason: string; stop_sequence: string | null } {
  switch (finish.kind) {
    case 'length':
      return { stop_reason: 'max_tokens', stop_sequence: null };
    case 'stopSequence':
      return { stop_reason: 'stop_sequence', stop_sequence: finish.sequence };
    case 'toolCalls':
      return { stop_reason: 'tool_use', stop_sequence: null };
    case 'stop':
      return { stop_reason: calledTools ? 'tool_use' : 'end_turn', stop_sequence: null };
    default:
      return unreachable(finish);
  }
}

function parsedInput(json: string): unknown {
  if (json === '') return {};
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Falls through: the API has no field for arguments that are no JSON.
  }
  return { arguments: json };
}

function event(type: string, body: object): string {
  return sse(JSON.stringify({ type, ...body }), type);
}
