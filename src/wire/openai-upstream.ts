/**
 * The other side of the OpenAI wires: what we send to an engine, and its streams read back as parts.
 * Lenient: engines may leave out what we do not need.
 */
import { GatewayError } from '../model/error.ts';
import type { Finish, Part, Usage } from '../model/part.ts';
import type { Chat, Message } from '../model/request.ts';
import { textOf } from '../model/request.ts';

/** `messages`, `tools` and `tool_choice` of a chat completion. */
export function chatFields(chat: Chat): Record<string, unknown> {
  const { toolChoice } = chat;
  return {
    messages: chat.messages.map(messageOf),
    ...(chat.tools.length > 0 && {
      tools: chat.tools.map(({ name, description, parameters }) => ({
        type: 'function',
        function: { name, description, parameters },
      })),
      tool_choice:
        toolChoice.kind === 'named'
          ? { type: 'function', function: { name: toolChoice.name } }
          : toolChoice.kind,
    }),
    ...(chat.thinking !== undefined && {
      chat_template_kwargs: { enable_thinking: chat.thinking },
    }),
  };
}

function messageOf(message: Message): unknown {
  const content = message.content.some((part) => part.kind === 'image')
    ? message.content.map((part) =>
        part.kind === 'text'
          ? { type: 'text', text: part.text }
          : { type: 'image_url', image_url: { url: part.url } },
      )
    : textOf(message.content);
  switch (message.role) {
    case 'system':
    case 'user':
      return { role: message.role, content };
    case 'tool':
      return { role: 'tool', tool_call_id: message.toolCallId, content };
    case 'assistant':
      return {
        role: 'assistant',
        content,
        ...(message.reasoning !== undefined && { reasoning_content: message.reasoning }),
        ...(message.toolCalls.length > 0 && {
          tool_calls: message.toolCalls.map(({ id, name, argumentsJson }) => ({
            id,
            type: 'function',
            function: { name, arguments: argumentsJson },
          })),
        }),
      };
  }
}

interface Chunk {
  choices?: (Choice | null)[] | null;
  usage?: {
    prompt_tokens?: number;
    completion_tokens?: number;
    prompt_tokens_details?: { cached_tokens?: number | null } | null;
  } | null;
  nvext?: { engine_data?: { logits_digests?: string[] } } | null;
  error?: { message?: string } | null;
}

interface Choice {
  text?: string | null;
  delta?: {
    content?: string | null;
    reasoning_content?: string | null;
    /** vLLM's newer name for the same. */
    reasoning?: string | null;
    tool_calls?: (Call | null)[] | null;
  } | null;
  token_ids?: number[] | null;
  finish_reason?: string | null;
  stop_reason?: string | number | null;
}

interface Call {
  id?: string | null;
  function?: { name?: string | null; arguments?: string | null } | null;
}

/** Reads the `data:` lines of one stream; `done` comes with the last of them. */
export class UpstreamReader {
  #finish: Finish | undefined;
  #usage: Usage | undefined;
  #outputTokens = 0;
  #calls = 0;

  read(data: string): Part[] {
    if (data === '[DONE]') return this.#end();
    const chunk = chunkOf(data);
    if (chunk.error) return [this.#broken(chunk.error.message ?? 'it gave no reason')];
    if (chunk.usage) this.#usage = usageOf(chunk.usage);
    const choice = chunk.choices?.[0];
    if (!choice) return [];
    const parts: Part[] = [];
    const reasoning = choice.delta?.reasoning_content ?? choice.delta?.reasoning;
    if (reasoning) parts.push({ kind: 'reasoning', text: reasoning, tokens: this.#count(1) });
    parts.push(...this.#text(choice, chunk.nvext?.engine_data?.logits_digests));
    for (const call of choice.delta?.tool_calls ?? []) parts.push(...this.#call(call));
    const { finish_reason: reason } = choice;
    if (reason === 'abort' || reason === 'error') parts.push(this.#broken('it broke off'));
    else if (reason) this.#finish = finishOf(reason, choice.stop_reason);
    return parts;
  }

  #text(choice: Choice, digests: string[] | undefined): Part[] {
    const ids = choice.token_ids ?? undefined;
    const text = choice.text ?? choice.delta?.content ?? '';
    if (text === '' && (ids === undefined || ids.length === 0)) return [];
    const part: Part = { kind: 'text', text, tokens: this.#count(ids?.length ?? 1) };
    if (ids !== undefined) part.ids = ids;
    if (digests !== undefined) part.engineData = { logitsDigests: digests };
    return [part];
  }

  /** A call begins with its name; arguments belong to the one that began last. */
  #call(call: Call | null): Part[] {
    const parts: Part[] = [];
    const { name, arguments: text } = call?.function ?? {};
    if (name) {
      const index = this.#calls++;
      parts.push({ kind: 'toolCall', index, id: call?.id ?? `call_${index}`, name });
    }
    if (text && this.#calls > 0) {
      const index = this.#calls - 1;
      parts.push({ kind: 'toolArguments', index, text, tokens: this.#count(1) });
    }
    return parts;
  }

  #broken(reason: string): Part {
    this.#finish = undefined;
    const error = new GatewayError('engine_failed', `The engine failed: ${reason}`);
    return { kind: 'error', error };
  }

  #count(tokens: number): number {
    this.#outputTokens += tokens;
    return tokens;
  }

  /** A stream that ends without a finish reason was cut: then there is no `done`. */
  #end(): Part[] {
    if (this.#finish === undefined) return [];
    const usage = this.#usage ?? {
      promptTokens: 0,
      outputTokens: this.#outputTokens,
      cachedTokens: undefined,
    };
    return [{ kind: 'done', finish: this.#finish, usage }];
  }
}

function chunkOf(data: string): Chunk {
  try {
    const chunk: unknown = JSON.parse(data);
    if (typeof chunk === 'object' && chunk !== null && !Array.isArray(chunk)) return chunk;
  } catch {
    // Falls through: no JSON, or none that is an object.
  }
  throw new GatewayError('engine_failed', 'The engine sent an event that is no JSON object.');
}

function usageOf(usage: NonNullable<Chunk['usage']>): Usage {
  return {
    promptTokens: usage.prompt_tokens ?? 0,
    outputTokens: usage.completion_tokens ?? 0,
    cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? undefined,
  };
}

function finishOf(reason: string, stop: string | number | null | undefined): Finish {
  if (reason === 'length') return { kind: 'length' };
  if (reason === 'tool_calls') return { kind: 'toolCalls' };
  return typeof stop === 'string' ? { kind: 'stopSequence', sequence: stop } : { kind: 'stop' };
}
