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
  choices?: {
    text?: string;
    delta?: {
      content?: string | null;
      reasoning_content?: string | null;
      tool_calls?: {
        index?: number;
        id?: string;
        function?: { name?: string; arguments?: string };
      }[];
    };
    token_ids?: number[] | null;
    finish_reason?: string | null;
    stop_reason?: string | number | null;
  }[];
  usage?: {
    prompt_tokens?: number;
    completion_tokens?: number;
    prompt_tokens_details?: { cached_tokens?: number } | null;
  } | null;
  nvext?: { engine_data?: { logits_digests?: string[] } };
  error?: { message?: string; code?: unknown };
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
    if (chunk.error !== undefined) {
      const message = chunk.error.message ?? 'it gave no reason';
      return [
        {
          kind: 'error',
          error: new GatewayError('engine_failed', `The engine failed: ${message}`),
        },
      ];
    }
    if (chunk.usage) this.#usage = usageOf(chunk.usage);
    const choice = chunk.choices?.[0];
    if (choice === undefined) return [];
    if (choice.finish_reason) this.#finish = finishOf(choice.finish_reason, choice.stop_reason);
    const parts: Part[] = [];
    const ids = choice.token_ids ?? undefined;
    const text = choice.text ?? choice.delta?.content ?? '';
    const digests = chunk.nvext?.engine_data?.logits_digests;
    if (text !== '' || (ids !== undefined && ids.length > 0)) {
      const tokens = this.#count(ids?.length ?? 1);
      parts.push({
        kind: 'text',
        text,
        tokens,
        ...(ids !== undefined && { ids }),
        ...(digests !== undefined && { engineData: { logitsDigests: digests } }),
      });
    }
    const reasoning = choice.delta?.reasoning_content;
    if (reasoning) parts.push({ kind: 'reasoning', text: reasoning, tokens: this.#count(1) });
    for (const call of choice.delta?.tool_calls ?? []) {
      if (call.function?.name) {
        const index = this.#calls++;
        parts.push({
          kind: 'toolCall',
          index,
          id: call.id ?? `call_${index}`,
          name: call.function.name,
        });
      }
      const argumentsText = call.function?.arguments;
      if (argumentsText) {
        const index = this.#calls - 1;
        parts.push({ kind: 'toolArguments', index, text: argumentsText, tokens: this.#count(1) });
      }
    }
    return parts;
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
    return JSON.parse(data) as Chunk;
  } catch {
    throw new GatewayError('engine_failed', 'The engine sent an event that is not JSON.');
  }
}

function usageOf(usage: NonNullable<Chunk['usage']>): Usage {
  return {
    promptTokens: usage.prompt_tokens ?? 0,
    outputTokens: usage.completion_tokens ?? 0,
    cachedTokens: usage.prompt_tokens_details?.cached_tokens,
  };
}

function finishOf(reason: string, stop: string | number | null | undefined): Finish {
  if (reason === 'length') return { kind: 'length' };
  if (reason === 'tool_calls') return { kind: 'toolCalls' };
  return typeof stop === 'string' ? { kind: 'stopSequence', sequence: stop } : { kind: 'stop' };
}
