/**
 * Answers as Anthropic's Messages API frames them. Every event a client was measured to need:
 * message_start with usage, block start/delta/stop, message_delta with usage, message_stop, each with
 * its `event:` line.
 */
import { unreachable } from '../base/assert.ts';
import type { ErrorCode, GatewayError } from '../model/error.ts';
import type { Finish, Part, Usage } from '../model/part.ts';
import type { Answer } from './answer.ts';
import { packReasoning } from './responses-reasoning.ts';
import { sse } from './sse.ts';
import { ToolInput, toolInput } from './tool-input.ts';
import type { Ask, Framer, Opening } from './wire.ts';

/** What the Messages wire keeps of a request for the answers to it. */
export interface MessagesAsk {
  /** Thinking is not shown: it travels in its signature, so that it can come back. */
  sealsThinking: boolean;
  /** The answer says which edits of the context were made: none. */
  edits: boolean;
}

export class AnthropicFramer implements Framer {
  readonly #opening: Opening;
  readonly #of: MessagesAsk;
  #index = -1;
  #open: 'text' | 'thinking' | 'tool_use' | undefined;
  #calledTools = false;
  /** Thinking of the open block that was not shown. */
  #sealed = '';
  #input = new ToolInput();

  constructor({ messages }: Ask, opening: Opening) {
    this.#opening = opening;
    this.#of = messages ?? { sealsThinking: false, edits: false };
  }

  open(): string {
    const { id, model, promptTokens } = this.#opening;
    const usage = { promptTokens: promptTokens ?? 0, outputTokens: 0, cachedTokens: 0 };
    const message = {
      ...{ id, type: 'message', role: 'assistant', model, content: [] },
      ...NOT_STOPPED,
      usage: anthropicUsage(usage),
    };
    return event('message_start', { message }) + event('ping', {});
  }

  part(part: Part, extras?: Record<string, unknown>): string {
    switch (part.kind) {
      case 'text':
        if (part.text === '') return '';
        return this.#delta(
          'text',
          { type: 'text', text: '', citations: null },
          { type: 'text_delta', text: part.text },
        );
      case 'reasoning':
        return part.text === '' ? '' : this.#thinking(part.text);
      case 'toolCall':
        this.#calledTools = true;
        return this.#close() + this.#start('tool_use', toolUse(part, {}));
      case 'toolArguments':
        return this.#inputDelta(this.#input.push(part.text));
      case 'ended':
        return ''; // This API knows one answer only.
      case 'done': {
        const delta = stopOf(part.finish, this.#calledTools);
        const usage = anthropicUsage(part.usage);
        const more = { ...editsOf(this.#of), ...(extras !== undefined && { nvext: extras }) };
        return (
          this.#close() +
          event('message_delta', { delta, usage, ...more }) +
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

  #thinking(text: string): string {
    const block = { type: 'thinking', thinking: '', signature: '' };
    if (!this.#of.sealsThinking) {
      return this.#delta('thinking', block, { type: 'thinking_delta', thinking: text });
    }
    this.#sealed += text;
    return this.#open === 'thinking' ? '' : this.#close() + this.#start('thinking', block);
  }

  #inputDelta(json: string): string {
    return json === '' ? '' : this.#blockDelta({ type: 'input_json_delta', partial_json: json });
  }

  #close(): string {
    if (this.#open === undefined) return '';
    let last = '';
    if (this.#open === 'thinking') {
      const signature = signatureOf(this.#sealed, this.#of);
      last = this.#blockDelta({ type: 'signature_delta', signature });
    } else if (this.#open === 'tool_use') {
      last = this.#inputDelta(this.#input.end());
    }
    this.#sealed = '';
    this.#input = new ToolInput();
    this.#open = undefined;
    return last + event('content_block_stop', { index: this.#index });
  }
}

const UNSIGNED = 'stator';

const NOT_STOPPED = { container: null, stop_details: null, stop_reason: null, stop_sequence: null };

/** Thinking that is shown comes back as it is: then its signature proves nothing, and need not. */
function signatureOf(thinking: string, { sealsThinking }: MessagesAsk): string {
  return sealsThinking ? packReasoning(thinking) : UNSIGNED;
}

export function anthropicWhole({ messages }: Ask, opening: Opening, answer: Answer): unknown {
  const of = messages ?? { sealsThinking: false, edits: false };
  const content = answer.blocks.map((block) => {
    switch (block.kind) {
      case 'text':
        return { type: 'text', text: block.text, citations: null };
      case 'reasoning': {
        const signature = signatureOf(block.text, of);
        return { type: 'thinking', thinking: of.sealsThinking ? '' : block.text, signature };
      }
      case 'toolCall':
        return toolUse(block, toolInput(block.argumentsJson));
      default:
        return unreachable(block);
    }
  });
  const calledTools = answer.blocks.some((block) => block.kind === 'toolCall');
  return {
    ...{ id: opening.id, type: 'message', role: 'assistant', model: opening.model, content },
    ...stopOf(answer.finish, calledTools),
    usage: anthropicUsage(answer.usage),
    ...editsOf(of),
    ...(answer.extras !== undefined && { nvext: answer.extras }),
  };
}

function toolUse({ id, name }: { id: string; name: string }, input: unknown): object {
  return { type: 'tool_use', id, name, input, caller: { type: 'direct' } };
}

function editsOf({ edits }: MessagesAsk): object {
  return edits ? { context_management: { applied_edits: [] } } : {};
}

/** The field by which a client has the server hold its conversation (`message-threads-2026-08-12`). */
export const THREAD = 'thread';

/** Read by Anthropic's SDKs: their tool runner then sends whole conversations. */
const NO_THREADS = { error_code: 'thread_unsupported_request', unsupported: [THREAD] };

export function anthropicError(error: GatewayError): unknown {
  const type = ERROR_TYPES[error.code];
  const details = error.param === THREAD ? { details: NO_THREADS } : {};
  return { type: 'error', error: { type, message: error.message, ...details } };
}

const ERROR_TYPES: Record<ErrorCode, string> = {
  invalid_json: 'invalid_request_error',
  invalid_request: 'invalid_request_error',
  context_length_exceeded: 'invalid_request_error',
  runaway_tool_calls: 'invalid_request_error',
  token_budget_exceeded: 'invalid_request_error',
  unauthorized: 'authentication_error',
  forbidden: 'permission_error',
  not_found: 'not_found_error',
  model_not_found: 'not_found_error',
  previous_response_not_found: 'not_found_error',
  method_not_allowed: 'invalid_request_error',
  request_timeout: 'timeout_error',
  body_too_large: 'request_too_large',
  client_closed: 'api_error',
  internal: 'api_error',
  engine_failed: 'api_error',
  engine_denied: 'api_error',
  engine_lost: 'api_error',
  no_worker: 'overloaded_error',
  queue_full: 'overloaded_error',
  no_sockets: 'not_found_error',
  shutting_down: 'overloaded_error',
  not_stored: 'api_error',
  engine_timeout: 'timeout_error',
};

/**
 * `input_tokens` are those that were computed; what came from cache is counted beside. What is computed
 * is kept without being asked, so that nothing is counted as written on purpose.
 */
function anthropicUsage(usage: Usage): unknown {
  const cached = usage.cachedTokens ?? 0;
  const { reasoningTokens } = usage;
  return {
    input_tokens: usage.promptTokens - cached,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cached,
    cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
    output_tokens: usage.outputTokens,
    output_tokens_details:
      reasoningTokens === undefined ? null : { thinking_tokens: reasoningTokens },
    server_tool_use: null,
    service_tier: 'standard',
  };
}

type Stopped = typeof NOT_STOPPED | { stop_reason: string; stop_sequence: string | null };

function stopOf(finish: Finish, calledTools: boolean): Stopped {
  const stopped = (stop_reason: string) => ({ ...NOT_STOPPED, stop_reason });
  switch (finish.kind) {
    case 'length':
      return stopped('max_tokens');
    case 'stopSequence':
      return { ...stopped('stop_sequence'), stop_sequence: finish.sequence };
    case 'toolCalls':
      return stopped('tool_use');
    case 'stop':
      return stopped(calledTools ? 'tool_use' : 'end_turn');
    default:
      return unreachable(finish);
  }
}

function event(type: string, body: object): string {
  return sse(JSON.stringify({ type, ...body }), type);
}
